"""The directory: the upstream API that knows people. Who has an account there, and who gets one.

account            Account, the Directory protocol, and when two e-mail addresses are the same
person             who signed in, as a directory sees it; placeholders filled in
provisioner        find or create, once; the link, suspension, fields kept up to date; the recheck at a token refresh
creation           one account a person: the lock, and what the next holder finds
creation_markers   what the maker of an account leaves in Redis
account_links      which account belongs to which person, and when they were seen
planning           what would be done for one person; who is registered and does not come
factory            how these are put together for a configuration
api                one call to a directory's API
backends           Nexudus, SCIM, and any HTTP API
"""
