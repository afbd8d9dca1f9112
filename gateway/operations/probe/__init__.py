"""Tests a running gateway from outside: sends every spelling of every password rule and access rule.

    requests        the requests for each rule
    spellings       spellings of a path that some upstream has been seen to read as that path
    row_spellings   spellings that the rows of `policy.servers` read as a path
    front           refusals of a proxy in front of the gateway
    runner          sends the requests, 16 at a time
    targets         what a probe of a configuration sends, and where
    verdicts        the verdict on a response
    report          the report in a sentence and as JSON, and the last one that Redis keeps
    wire            one connection for each request

A refusal counts only when it is certainly a Doorward's; any other response means that the request passed.
"""
