"""OpenID Connect, the relying party's side: the Authorization Code Flow with PKCE (OpenID Connect Core 1.0, RFC 9700).

One trip, in types that cannot be skipped::

    LoginAttempt -> AuthorizationCode -> Claims          (-> Identity -> Session, elsewhere)
     authorization   authorization       tokens, id_token

`provider` knows the provider's metadata and keys and keeps them fresh; `calls` is the only way to its endpoints;
`client_authentication` says who we are. `strict_json`, `metadata`, `signatures`, `registered_claims`, `authorization`,
`id_token` and `userinfo` are pure. `logout` is both ways of signing out.
"""
