"""Tests a running gateway from outside: sends every spelling of every password rule.

    requests    the requests for each rule
    spellings   every spelling of a path that some upstream reads as that path
    runner      sends the requests, 16 at a time
    verdicts    the verdict on a response
    wire        one connection for each request

A refusal counts only when it is certainly a Doorward's; any other response means that the request passed.
"""
