"""OpenID Connect, the relying party's side: the Authorization Code Flow with PKCE (OpenID Connect Core 1.0, RFC 9700).

    authorization            the authorization request and its response (pure)
    authorization_client     how the request goes to the provider: in the URL, or pushed (RFC 9126)
    request_object           authorization requests that we sign (RFC 9101)
    tokens                   the token endpoint, userinfo and revocation: Claims for a code
    refresh                  new tokens for a refresh token, and new Claims
    id_token                 the checks of an ID Token (pure)
    access_token             the checks of an access token that a program presents (pure)
    introspection            what the provider says of an opaque one (RFC 7662)
    userinfo                 userinfo, and how its claims join those of the ID Token (pure)
    missing_claims           claims that the documents lack, and the log of the mapped ones
    logout                   logout at the provider, and logout tokens from it
    registered_claims        the claims that every token is checked for (pure)
    signatures               keys, algorithms and the verification of signatures (pure)
    token_response           the response of the token endpoint (pure)
    strict_json              JSON objects, parsed strictly (pure)
    metadata                 the provider's metadata, and its checks (pure)
    provider                 one provider: metadata and keys, kept fresh
    providers                all configured providers
    recorded_calls           calls that are written down, for a login test
    calls                    the only way to a provider's endpoints
    dpop                     proofs of the key that an access token is bound to
    client_signature         JWTs that we sign as a client
    client_certificate       TLS to a provider, with a client certificate
    client_authentication    how we authenticate to the token endpoint

One trip, in types that cannot be skipped::

    LoginAttempt -> AuthorizationCode -> Claims          (-> Identity -> Session, elsewhere)
     authorization   authorization       tokens, id_token
"""
