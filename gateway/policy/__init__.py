"""What a request may do: pure decisions about a method, a target, header fields and, where a rule asks for it, a body.

`paths` makes the one canonical form of a target and the forms a lenient upstream could read it as; `routes` compiles the configuration's
`METHODS PATH-GLOB`; `methods` knows how a request asks to be taken for another method; `rules` says who may go where; `bodies` reads
queries, forms and JSON in the one way they can be read; `passwords` shuts the password doors that `packs/*.yaml` and the configuration list.

What opens needs every reading of a request, what restricts needs one. Pure: nothing waits, no clock, no randomness, no network.
"""
