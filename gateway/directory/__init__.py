"""The directory: the upstream API with the accounts of people, where accounts are found and created.

    account             Account, the Directory protocol, and the comparison of e-mail addresses
    person              the person who signed in, as a directory needs them; placeholders filled in
    provisioner         find or create an account; the link, suspension, fields kept up to date; the recheck at a token refresh
    creation            one account a person: the lease, and how the next holder continues
    creation_markers    markers in Redis of an account that is being created
    account_links       the account of each person, and the time of their last sign-in
    planning            dry runs for one person, and accounts whose people do not sign in
    factory             the Provisioner and its parts for a configuration
    api                 one call to a directory's API
    backends            Nexudus, SCIM, and any HTTP API

An error of the directory is never an empty result: it is a `DirectoryUnavailable`.
"""
