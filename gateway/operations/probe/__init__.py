"""The proof from outside: every spelling of every password rule, fired at a running gateway.

knocks      which requests to send for each rule
spellings   every spelling of a path that some upstream reads as that path
firing      sends them, some at a time
reading     what an answer says
wire        one connection for each request
"""
