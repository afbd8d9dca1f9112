"""A person as the provider describes them, and as an upstream sees them. Pure.

A session stores an `Identity`; both forms for upstreams are made from it.

    claims      Claims of the provider, and the Identity that is made from them
    headers     the identity header lines
    assertion   the signed assertion (RFC 7519, ES256)
"""
