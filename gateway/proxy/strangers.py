"""Fields by which a stranger could claim to be somebody, or to come from somewhere.

Other gateways, balancers and web servers tell applications these things, and one that was behind them before may still believe it. So none of
them arrives from just anybody. Who somebody is, only this gateway says: those end here, whoever sends them (an app's `headers` may set one
anew). Where somebody comes from, and with which certificate, a trusted proxy may say as well.

Pure. Names are as `normalise_name` gives them: lower case, everything but letters and digits a `-`. facts/security.md C-30, C-31, C-34;
deploy/guides/http.md has the same lists for operators.
"""

from typing import Final

# SECURITY: CGI programs read `Proxy` as the proxy for their own requests (httpoxy); nobody sends it in earnest (C-30).
_NEVER: Final = (b"proxy",)

#: Who somebody is.
_PERSONS: Final = (
    b"remote-user", b"remote-name", b"remote-email", b"remote-groups", b"remote-ident", b"auth-type", b"auth-user", b"logon-user",
    b"x-remote-user", b"x-remote-name", b"x-remote-email", b"x-remote-group", b"x-remote-groups",
    b"x-authenticated-user", b"x-authenticated-userid", b"x-authenticated-email", b"x-authenticated-groups", b"x-authenticated-scope",
    b"x-consumer-id", b"x-consumer-custom-id", b"x-consumer-username", b"x-consumer-groups", b"x-credential-identifier", b"x-anonymous-consumer",
    b"x-goog-iap-jwt-assertion", b"x-ms-client-principal", b"x-forwarded-access-token", b"x-forwarded-id-token",
)  # fmt: skip
_PERSONS_PREFIXES: Final = (
    b"x-webauth-", b"x-goog-authenticated-user-", b"x-amzn-oidc-", b"x-ms-client-principal-", b"x-ms-token-", b"cf-access-", b"x-pomerium-",
    b"x-authentik-", b"x-vouch-", b"tailscale-user-", b"oidc-", b"x-remote-extra-", b"x-iisnode-",
)  # fmt: skip

#: Where somebody comes from, by which scheme and host, with which certificate.
_PLACES: Final = (
    b"true-client-ip", b"client-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-originating-ip", b"x-remote-ip", b"x-remote-addr",
    b"remote-addr", b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-pseudo-ipv4", b"fastly-client-ip", b"fly-client-ip",
    b"do-connecting-ip", b"x-appengine-user-ip", b"x-azure-clientip", b"x-azure-socketip", b"x-nf-client-connection-ip",
    b"x-proxyuser-ip", b"x-original-forwarded-for", b"x-forwarded", b"forwarded-for", b"x-scheme", b"x-url-scheme", b"x-original-proto",
    b"front-end-https", b"x-host", b"x-http-host-override", b"client-cert", b"client-cert-chain", b"x-arr-clientcert", b"x-arr-ssl",
)  # fmt: skip
_PLACES_PREFIXES: Final = (b"x-envoy-", b"x-client-cert", b"x-ssl-", b"ssl-client-", b"x-tls-client-", b"x-mtls-")


def is_about_a_person(alike: bytes) -> bool:
    """Whether the field never travels, whoever sends it."""
    return alike in _NEVER or alike in _PERSONS or alike.startswith(_PERSONS_PREFIXES)


def is_about_a_place(alike: bytes) -> bool:
    """Whether the field travels on a trusted proxy's word only."""
    return alike in _PLACES or alike.startswith(_PLACES_PREFIXES)
