"""A Nexudus-like API: state, list conventions, rights, customers, users and the password doors.

Every module is a part of `gateway.demo.nexudus_stub.NexudusStub`; nothing outside the demo and the tests imports them.
"""
