"""A provider's metadata, and the checks of its discovery document.

Pure. The invariant: nothing of a document is used unless its `issuer` is the configured authority, and every endpoint
is a plain https URL. OpenID Connect Discovery 1.0 sections 3 and 4, RFC 8414, RFC 9207.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from gateway.config.addresses import TENANT, issuers_of
from gateway.config.client_keys import FAPI_ALGORITHMS
from gateway.config.schema import ProviderKeys
from gateway.oidc.signatures import ALGORITHMS
from gateway.oidc.strict_json import parse_object

_LONGEST_URL: Final = 2048
_BOUND_TOKENS: Final = "tls_client_certificate_bound_access_tokens"
_DPOP_ALGORITHMS: Final = ("ES256", "EdDSA", "Ed25519", "ES384", "ES512")
#: The endpoints that authenticate the client, or take a token that may be bound to its certificate.
_CALLED_AS_CLIENT: Final = (
    "token_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "pushed_authorization_request_endpoint",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """`issuer` may hold {tenantid}, for each of `tenants`. `id_token_alg` signs ID Tokens and logout tokens, `userinfo_algs` userinfo.

    `dpop_alg` signs our DPoP proofs. `client_assertion_algs`, `request_object_algs`, `claims_supported`: None where the document has none.
    `pushed_authorization_request_endpoint`: None where requests are not pushed. `unused`: what of it is left out, in words for the log.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    revocation_endpoint: str | None = None
    introspection_endpoint: str | None = None
    id_token_alg: str = "RS256"  # noqa: S105 - a name
    userinfo_algs: tuple[str, ...] = ("RS256",)
    client_assertion_algs: tuple[str, ...] | None = None
    dpop_alg: str = "ES256"
    iss_parameter_supported: bool = False
    claims_supported: tuple[str, ...] | None = None
    pushed_authorization_request_endpoint: str | None = None
    request_object_algs: tuple[str, ...] | None = None
    tenants: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def issuers(self) -> tuple[str, ...]:
        """Each `iss` that its responses and tokens may have."""
        return issuers_of(self.issuer, self.tenants)

    def issuer_for(self, claims: Mapping[str, Any]) -> str | None:
        """The `iss` that a token with these claims must have; None: it is from a tenant that is not allowed."""
        if TENANT not in self.issuer:
            return self.issuer
        # SECURITY: the issuer of a token is that of its own tenant, which must be allowed by name.
        tenant = claims.get("tid")
        return self.issuer.replace(TENANT, str(tenant)) if tenant in self.tenants else None


def discovery_url(authority_url: str) -> str:
    """The URL of the discovery document (section 4)."""
    return authority_url.rstrip("/") + "/.well-known/openid-configuration"


def parse_metadata(raw: bytes, settings: ProviderKeys, *, allow_insecure_http: bool = False) -> ProviderMetadata:
    """The metadata in a discovery document. Raises ValueError, whose text names the fault.

    Its issuer must be the configured one; where none is, `authority_url`, and a slash at its end makes no difference (both forms have the
    same discovery URL). It is used as the provider spells it.
    """
    document = _with_mtls_aliases(parse_object(raw), settings)
    issuer = document.get("issuer")
    # SECURITY: a document that names another issuer could make its tokens ours.
    if not isinstance(issuer, str) or issuer not in (
        settings.issuers if settings.issuer is None else (settings.issuer,)
    ):
        raise ValueError(_wrong_issuer(issuer, settings))
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise ValueError("it lists PKCE methods, and S256 is not among them")
    _require_response(document, settings)
    trust = _Trust(settings.authority_url, allow_insecure_http)
    fapi = settings.profile == "fapi2"
    able = FAPI_ALGORITHMS if fapi else ALGORITHMS
    alg = _id_token_algorithm(
        _names(document, "id_token_signing_alg_values_supported"), settings.id_token_signed_response_alg, able
    )
    for_userinfo = _names(document, "userinfo_signing_alg_values_supported") or (alg,)
    trust.require_tls_for_certificate(document, settings)
    revocation_endpoint, unused = trust.used_endpoint(document, "revocation_endpoint")
    introspection_endpoint, ignored = trust.used_endpoint(document, "introspection_endpoint")
    return ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=trust.endpoint(document, "authorization_endpoint"),
        token_endpoint=trust.endpoint(document, "token_endpoint"),
        jwks_uri=trust.endpoint(document, "jwks_uri"),
        userinfo_endpoint=trust.optional_endpoint(document, "userinfo_endpoint"),
        end_session_endpoint=trust.optional_endpoint(document, "end_session_endpoint"),
        revocation_endpoint=revocation_endpoint,
        introspection_endpoint=introspection_endpoint,
        id_token_alg=alg,
        userinfo_algs=tuple(alg for alg in able if alg in for_userinfo),
        client_assertion_algs=_names(document, "token_endpoint_auth_signing_alg_values_supported"),
        dpop_alg=_dpop_algorithm(document, settings),
        # SECURITY: the profile requires `iss` in every authorization response, whatever the document says of it.
        iss_parameter_supported=fapi or document.get("authorization_response_iss_parameter_supported") is True,
        claims_supported=_claims_supported(document),
        pushed_authorization_request_endpoint=_pushed_request_endpoint(document, settings, trust),
        request_object_algs=_request_object_algorithms(document, settings),
        tenants=settings.allowed_tenants,
        unused=tuple(fault for fault in (unused, ignored) if fault),
    )


def _with_mtls_aliases(document: dict[str, Any], settings: ProviderKeys) -> dict[str, Any]:
    """The document with the endpoints that ask for a client certificate in place of those that do not (RFC 8705 section 5)."""
    # SECURITY: a provider that does not bind tokens would give ones that are good in other hands.
    if settings.tls_client_certificate_bound_access_tokens and document.get(_BOUND_TOKENS) is not True:
        raise ValueError(f"its {_BOUND_TOKENS} is not true, and the setting of that name is on")
    aliases = document.get("mtls_endpoint_aliases")
    if settings.client_tls.files is None or aliases in (None, ""):
        return document
    if not isinstance(aliases, dict):
        raise ValueError("its mtls_endpoint_aliases is no object")
    # SECURITY: the page where people sign in and the keys of tokens are never taken from there.
    return document | {name: aliases[name] for name in _CALLED_AS_CLIENT if aliases.get(name) not in (None, "")}


def _wrong_issuer(issuer: object, settings: ProviderKeys) -> str:
    if settings.issuer is not None:
        return "its issuer is not the configured issuer"
    named = "".join(c for c in str(issuer)[:200] if c.isascii() and c.isprintable())
    return f"its issuer is not the configured authority_url, but {named!r}: set `issuer` where that is the right one"


def _id_token_algorithm(announced: Sequence[str] | None, configured: str | None, allowed: Sequence[str]) -> str:
    """The one algorithm of ID Tokens: the configured one, RS256 (the default of OpenID Connect Registration 1.0 section 2), or the only one."""
    listed = ("RS256",) if announced is None else announced
    able = tuple(alg for alg in allowed if alg in listed)
    if configured is not None:
        if announced is not None and configured not in able:
            raise ValueError(
                f"it does not sign ID Tokens with {configured} (id_token_signed_response_alg); it lists {', '.join(announced)}"
            )
        return configured
    if "RS256" in able:
        return "RS256"
    if not able:
        raise ValueError(f"it signs ID Tokens with none of {', '.join(allowed)}")
    if len(able) > 1:
        raise ValueError(
            f"it signs ID Tokens with one of {', '.join(able)}: id_token_signed_response_alg must name the one of this client"
        )
    return able[0]


def _require_response(document: Mapping[str, Any], settings: ProviderKeys) -> None:
    """Raises ValueError where the document rules out the response that we ask for: a code, by `response_mode`."""
    types, modes = _names(document, "response_types_supported"), _names(document, "response_modes_supported")
    if types is not None and "code" not in types:
        raise ValueError(f"it has no Authorization Code Flow; its response_types_supported lists {', '.join(types)}")
    if settings.response_mode != "query" and modes is not None and settings.response_mode not in modes:
        raise ValueError(f"it does not answer by {settings.response_mode} (response_mode); it lists {', '.join(modes)}")


def _pushed_request_endpoint(document: Mapping[str, Any], settings: ProviderKeys, trust: "_Trust") -> str | None:
    """Where authorization requests are pushed (RFC 9126 section 5); None: they are not."""
    wish, required = settings.pushed_authorization_requests, _flag(document, "require_pushed_authorization_requests")
    if required and wish == "never":
        raise ValueError(
            "it requires pushed authorization requests, and pushed_authorization_requests is never; allowed: when_required, always"
        )
    fapi = settings.profile == "fapi2"
    if not (required or fapi or wish == "always"):
        return None
    endpoint = trust.optional_endpoint(document, "pushed_authorization_request_endpoint")
    if endpoint is None:
        who = "it" if required else "profile fapi2" if fapi else "pushed_authorization_requests: always"
        raise ValueError(f"it has no pushed_authorization_request_endpoint, and {who} requires pushed requests")
    return endpoint


def _request_object_algorithms(document: Mapping[str, Any], settings: ProviderKeys) -> tuple[str, ...] | None:
    """The algorithms in which request objects may be signed (RFC 9101 section 10.5, OpenID Connect Discovery 1.0 section 3)."""
    alg, listed = settings.request_object_signing_alg, _names(document, "request_object_signing_alg_values_supported")
    if alg is None and _flag(document, "require_signed_request_object"):
        raise ValueError("it requires signed request objects, and request_object_signing_alg is not set")
    if alg is not None and document.get("request_parameter_supported") is False:
        raise ValueError(
            "it takes no request objects (request_parameter_supported), and request_object_signing_alg is set"
        )
    if alg is not None and listed is not None and alg not in listed:
        raise ValueError(
            f"it takes no request objects signed with {alg} (request_object_signing_alg); it lists {', '.join(listed)}"
        )
    return listed


def _flag(document: Mapping[str, Any], member: str) -> bool:
    """A member that is true or false; missing, null and empty are false."""
    value = document.get(member)
    if value in (None, "", False):
        return False
    if value is not True:
        raise ValueError(f"its {member} is neither true nor false")
    return True


def _dpop_algorithm(document: Mapping[str, Any], settings: ProviderKeys) -> str:
    """The first of ours that the document lists (RFC 9449 section 5.1), ES256 where it lists none."""
    ours = tuple(alg for alg in _DPOP_ALGORITHMS if settings.profile != "fapi2" or alg in FAPI_ALGORITHMS)
    listed = _names(document, "dpop_signing_alg_values_supported") if settings.uses_dpop else None
    alg = next((alg for alg in ours if listed is None or alg in listed), None)
    if alg is None:
        raise ValueError(f"it takes DPoP proofs with {', '.join(listed or ())}; ours are signed with {', '.join(ours)}")
    return alg


def _names(document: Mapping[str, Any], member: str) -> tuple[str, ...] | None:
    names = document.get(member)
    if names is None or names == "":
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"its {member} is not a list of names")
    return tuple(names)


def _claims_supported(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """For advice only, so anything else than a list of names is as none."""
    names = document.get("claims_supported")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else None


class _Trust:
    """The URLs that may be called: https; http on loopback names where the authority itself is one; any http only by configuration."""

    def __init__(self, authority_url: str, allow_insecure_http: bool) -> None:
        self._any_http = allow_insecure_http
        self._loopback_http = urlsplit(authority_url).scheme == "http"

    def optional_endpoint(self, document: Mapping[str, Any], member: str) -> str | None:
        """None where it is missing, null or empty, as some providers write what they do not have."""
        return None if document.get(member) in (None, "") else self.endpoint(document, member)

    def used_endpoint(self, document: Mapping[str, Any], member: str) -> tuple[str | None, str]:
        """An optional endpoint that is left out where it is not https; then the second value says so."""
        if document.get(member) in (None, ""):
            return None, ""
        url = _plain_url(document, member)
        return (url, "") if self._is_trusted(urlsplit(url)) else (None, f"its {member} is not https, and is not used")

    def endpoint(self, document: Mapping[str, Any], member: str) -> str:
        url = _plain_url(document, member)
        # SECURITY: file:, gopher: and http over a network are refused before any call.
        if not self._is_trusted(urlsplit(url)):
            raise ValueError(f"its {member} is not https")
        return url

    def require_tls_for_certificate(self, document: Mapping[str, Any], settings: ProviderKeys) -> None:
        # SECURITY: over http no certificate is presented: nothing would say who the client is, and no token would be bound.
        how = settings.client_authentication
        needed: str = how if how in ("tls_client_auth", "self_signed_tls_client_auth") else ""
        needed = _BOUND_TOKENS if settings.tls_client_certificate_bound_access_tokens else needed
        if needed and urlsplit(_plain_url(document, "token_endpoint")).scheme != "https":
            raise ValueError(f"its token_endpoint is not https, which {needed} needs")

    def _is_trusted(self, url: SplitResult) -> bool:
        loopback = self._loopback_http and is_loopback(url.hostname or "")
        return url.scheme == "https" or (url.scheme == "http" and (self._any_http or loopback))


def _plain_url(document: Mapping[str, Any], member: str) -> str:
    url = document.get(member)
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not (url.isascii() and url.isprintable()):
        raise ValueError(f"its {member} is not a URL")
    # SECURITY: userinfo that hides the real host, and blanks, are refused before any call.
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc or "\\" in url or " " in url or parts.fragment:
        raise ValueError(f"its {member} is not a plain URL")
    if parts.port == 0:
        raise ValueError(f"its {member} has no valid port")
    return url


def is_loopback(host: str) -> bool:
    """`localhost`, names below it (RFC 6761 section 6.3) and loopback addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.lower().removesuffix(".")
        return name == "localhost" or name.endswith(".localhost")
