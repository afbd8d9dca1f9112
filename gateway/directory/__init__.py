"""The directory: the upstream API that knows people. Who has an account there, and who gets one.

account      Account, the Directory protocol, and when two e-mail addresses are the same
nexudus      the Directory over the Nexudus API: which of several records is the person's
nexudus_*    its parts: the calls (patience, bounds, error words), the service token, reading what came back
provisioner  find or create, once: the lock, the notes for the next holder, the events
"""
