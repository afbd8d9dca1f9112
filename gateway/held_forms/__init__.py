"""A form that was sent into an ended session, kept until the same person has signed in again.

    form       what can be kept, and sent again byte for byte
    store      where it is kept: sealed in Redis, bounded in number, time and size
    holding    keeps it when the data plane refuses it

The invariant: only the browser that sent a form, signed in as the same person, sees it and sends it; it is sent at most once, to the address
that it was for, and passes the gate like any other request. `web.held_form` shows it.
"""
