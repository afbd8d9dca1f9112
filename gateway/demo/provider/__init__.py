"""A small OpenID Provider with a real login page, for the demo and for the tests.

Honest in what it does: Authorization Code Flow with PKCE (S256, required), single use of codes, rotation of refresh
tokens, RFC 9207 `iss`, single sign-on with a cookie of its own, RP-initiated and back-channel logout. Everything is kept
in memory and no person proves who they are: never use it for anything but demonstrations.

    server          starts it, and knows the paths
    realm           its state and its answers: the seams of the tests' misbehaving provider
    front_channel   browsers: the authorization request, the login page
    back_channel    clients: tokens, userinfo, revocation
    sign_out        RP-initiated and back-channel logout
    requests        which authorization request is answered, and after which question
    tokens          what codes, refresh and access tokens stand for
    clients         who is registered, and how they prove it
    signer, vault, pages
"""

from gateway.demo.provider.clients import DemoClient
from gateway.demo.provider.server import DemoProvider

__all__ = ["DemoClient", "DemoProvider"]
