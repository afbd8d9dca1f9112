"""Bearer tokens: programs that say who asks by an access token of a provider in place of a session (RFC 6750).

    presented     the token of a request, and whether it is meant for us (pure)
    issuers       the providers whose tokens an app accepts
    ended         the marks of people whose tokens were ended, in Redis
    verification  a token becomes a LiveSession: signature or introspection, claims, registration
    factory       all of it, from the configuration
    tokens        the tokens that a worker has verified, until they expire

The invariant: a token is an identity only where the app's `bearer` accepts its issuer, its audience names the app and its signature, or the
provider's introspection endpoint, says so now; nothing here creates, links or changes an account. What is not ours is passed to the
application and is never an identity. A LiveSession of a token is in no record of Redis: its key begins with `bearer:`.
"""
