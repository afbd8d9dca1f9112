"""The directory: the upstream API that knows people. Who has an account there, and who gets one.

account      Account, the Directory protocol, and when two e-mail addresses are the same
person       who signed in, as a directory is told; placeholders filled in
nexudus      the Directory over the Nexudus API: which of several records is the person's
nexudus_*    its parts: authorised calls, the service token, reading what came back
scim         the Directory over SCIM 2.0
http_*       the Directory over an API that the configuration describes
answer       a complete answer of any of them
calls        one call to any of them: patience, bounds, error words; writes that are held
budget       what all workers together may ask of an API · breaker: when one worker stops asking
account_links  which account belongs to which person, and when they were seen
creation     one account a person: the lock, the notes for the next holder
provisioner  find or create, once; the link, suspension, fields kept up to date; the events
planning     what would be done for one person; who is registered and does not come
rechecking   what a token refresh asks
opening      how these are put together for a configuration
"""
