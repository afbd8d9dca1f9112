"""A provider's metadata, and the checks of its discovery document.

Pure. The invariant: nothing of a document is used unless its `issuer` is the configured authority, and every endpoint
is a plain https URL. OpenID Connect Discovery 1.0 sections 3 and 4, RFC 8414, RFC 9207.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.oidc.signatures import ALGORITHMS
from gateway.oidc.strict_json import parse_object

_LONGEST_URL: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """`id_token_algs`: the algorithms of the provider that we allow. `client_assertion_algs`: None where the document has none."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    revocation_endpoint: str | None = None
    id_token_algs: tuple[str, ...] = ("RS256",)
    client_assertion_algs: tuple[str, ...] | None = None
    iss_parameter_supported: bool = False


def discovery_url(authority_url: str) -> str:
    """The URL of the discovery document (section 4)."""
    return authority_url.rstrip("/") + "/.well-known/openid-configuration"


def parse_metadata(raw: bytes, authority_url: str, *, allow_insecure_http: bool = False) -> ProviderMetadata:
    """The metadata in a discovery document. Raises ValueError, whose text names the fault.

    A slash at the end of `authority_url` makes no difference (both forms have the same discovery URL); the issuer is
    used as the provider spells it.
    """
    document = parse_object(raw)
    issuer = document.get("issuer")
    # SECURITY: a document that names another issuer could make its tokens ours.
    if not isinstance(issuer, str) or issuer.removesuffix("/") != authority_url.removesuffix("/"):
        raise ValueError("its issuer is not the configured authority_url")
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise ValueError("it lists PKCE methods, and S256 is not among them")
    trust = _Trust(authority_url, allow_insecure_http)
    return ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=trust.endpoint(document, "authorization_endpoint"),
        token_endpoint=trust.endpoint(document, "token_endpoint"),
        jwks_uri=trust.endpoint(document, "jwks_uri"),
        userinfo_endpoint=trust.optional_endpoint(document, "userinfo_endpoint"),
        end_session_endpoint=trust.optional_endpoint(document, "end_session_endpoint"),
        revocation_endpoint=trust.optional_endpoint(document, "revocation_endpoint"),
        id_token_algs=_algorithms(document),
        client_assertion_algs=_names(document, "token_endpoint_auth_signing_alg_values_supported"),
        iss_parameter_supported=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _algorithms(document: Mapping[str, Any]) -> tuple[str, ...]:
    announced = _names(document, "id_token_signing_alg_values_supported")
    allowed = ("RS256",) if announced is None else tuple(alg for alg in ALGORITHMS if alg in announced)
    if not allowed:
        raise ValueError(f"it signs ID Tokens with none of {', '.join(ALGORITHMS)}")
    return allowed


def _names(document: Mapping[str, Any], member: str) -> tuple[str, ...] | None:
    names = document.get(member)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"its {member} is not a list of names")
    return tuple(names)


class _Trust:
    """The URLs that may be called: https; http on loopback names where the authority itself is one; any http only by configuration."""

    def __init__(self, authority_url: str, allow_insecure_http: bool) -> None:
        self._any_http = allow_insecure_http
        self._loopback_http = urlsplit(authority_url).scheme == "http"

    def optional_endpoint(self, document: Mapping[str, Any], member: str) -> str | None:
        return None if document.get(member) is None else self.endpoint(document, member)

    def endpoint(self, document: Mapping[str, Any], member: str) -> str:
        url = document.get(member)
        if not isinstance(url, str) or len(url) > _LONGEST_URL or not (url.isascii() and url.isprintable()):
            raise ValueError(f"its {member} is not a URL")
        # SECURITY: file:, gopher:, userinfo that hides the real host, blanks: refused before any call.
        parts = urlsplit(url)
        if not parts.hostname or "@" in parts.netloc or "\\" in url or " " in url or parts.fragment:
            raise ValueError(f"its {member} is not a plain URL")
        if parts.port == 0:
            raise ValueError(f"its {member} has no valid port")
        loopback_http = self._loopback_http and is_loopback(parts.hostname)
        if parts.scheme != "https" and not (parts.scheme == "http" and (self._any_http or loopback_http)):
            raise ValueError(f"its {member} is not https")
        return url


def is_loopback(host: str) -> bool:
    """`localhost`, names below it (RFC 6761 section 6.3) and loopback addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.lower().removesuffix(".")
        return name == "localhost" or name.endswith(".localhost")
