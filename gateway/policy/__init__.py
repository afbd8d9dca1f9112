"""What a request may do: pure decisions about a method, a target, header fields and, where a rule asks for it, a body.

    paths         the one canonical form of a target, and the forms a lenient upstream could read it as
    routes        the configuration's `METHODS PATH-GLOB`, compiled
    rules         who may go where
    narrowing     what a proxy in front requires beside the rules
    step_up       `max_age` and `acr`
    passwords     the password routes that `packs/*.yaml` and the configuration list
    bodies        queries, forms and JSON, read in the one way they can be read
    forms         the method or path that a body names
    methods       the methods by which an upstream may take a request
    servers       reading models: what a server of each kind makes of a path, a parameter name, a method
    readings      the readings that these models give of one request
    credentials   which Authorization carries a password or its proof

    references    paths that a request names besides its target: Destination, If
    cors          which OPTIONS request is a preflight, and the CORS fields of our own responses
    break_glass   which openings are allowed, and for which addresses they hold

An entry that opens must hold for every reading of a request, one that restricts for any. Pure: nothing waits, no clock, no randomness, no I/O.
"""
