"""Every refusal is an exception, one class for each reason.

A refusal carries what a person reads (`title`, `message`), what a program tests (`status`, `code`) and what only the log has
(`detail`). `gateway.pages.renderer` renders it. A module that uses a library turns the library's exceptions into these. Pure.

    refusal        the base class
    requests       the request itself: syntax, size, host
    access         what a request may do
    bearer         the access tokens of programs
    signing_in     the sign-in: provider and directory
    hand_off       the upstream's own session
    dependencies   Redis and upstreams
    network        why a connection failed, in words
"""
