"""Who a person is, and how an upstream is told. Pure.

claims      Claims as the provider gave them, and the Identity that is made of them
headers     the identity header lines
assertion   the signed assertion (RFC 7519, ES256)
"""
