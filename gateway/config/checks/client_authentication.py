"""How the gateway authenticates at each provider: settings that need or exclude each other, keys that cannot sign, and what a profile allows.

Pure. A setting that the method does not use is a finding: it would be read and change nothing.
"""

from collections.abc import Iterator
from typing import Final

from gateway.config.addresses import TENANT
from gateway.config.client_keys import FAPI_ALGORITHMS, ClientKey, parse_client_key
from gateway.config.providers import key_of, providers_of
from gateway.config.reading.problems import Finding
from gateway.config.schema import Config, ProviderKeys

_BY_SECRET: Final = ("client_secret_basic", "client_secret_basic_raw", "client_secret_post")
_BY_KEY: Final = ("private_key_jwt",)
_BY_CERTIFICATE: Final = ("tls_client_auth", "self_signed_tls_client_auth")
_FAPI_METHODS: Final = (*_BY_KEY, *_BY_CERTIFICATE)
_KEYS: Final = (
    "allowed: file:PATH of a private key, RSA of 2048 bits or more, EC (P-256, P-384, P-521) or Ed25519, as PEM or JWK"
)


def findings(config: Config) -> Iterator[Finding]:
    """Everything that contradicts itself in the client authentication of a provider."""
    for name, settings in providers_of(config).items():
        place = key_of(name)
        yield from _secret(place, settings)
        yield from _keys(place, settings)
        yield from _assertion(place, settings)
        yield from _request_object(place, settings)
        yield from _certificate(place, settings)
        if settings.profile == "fapi2":
            yield from _fapi(place, settings)


def _reads(place: str, *names: str) -> tuple[str, ...]:
    return ("openid.enabled", *(f"{place}.{name}" for name in ("client_authentication", *names)))


def _secret(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    how, key = settings.client_authentication, f"{place}.client_secret"
    if settings.client_secret is None and how in _BY_SECRET:
        allowed = "allowed: the secret, as ${NAME} or file:PATH"
        yield Finding(key=key, what=f"is missing for {how}", allowed=allowed, reads=_reads(place))
    if settings.client_secret is not None and how not in _BY_SECRET:
        allowed = f"allowed: nothing, or {place}.client_authentication: {', '.join(_BY_SECRET)}"
        yield Finding(key=key, what=f"is not used with {how}", allowed=allowed, reads=_reads(place))


def _keys(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    how, key, texts = settings.client_authentication, f"{place}.client_private_key", settings.client_private_keys
    reads = _reads(place, "client_key_id", "profile", "request_object_signing_alg")
    signs = settings.request_object_signing_alg is not None
    if (how in _BY_KEY or signs) and not texts:
        who = how if how in _BY_KEY else "request_object_signing_alg"
        yield Finding(key=key, what=f"is missing for {who}", allowed=_KEYS, reads=reads)
    if how not in _BY_KEY and not signs and texts:
        allowed = f"allowed: nothing, or {place}.client_authentication: {', '.join(_BY_KEY)}, or {place}.request_object_signing_alg"
        yield Finding(key=key, what=f"is not used with {how}", allowed=allowed, reads=reads)
        return
    if len(settings.client_key_id) > len(texts):
        what = "has more ids than there are keys in client_private_key"
        yield Finding(key=f"{place}.client_key_id", what=what, allowed="allowed: one for each key, in their order")
    kids: set[str] = set()
    for index, text in enumerate(texts):
        called = f"{key}[{index}]" if isinstance(settings.client_private_key, tuple) else key
        parsed = _parsed(settings, index, text)
        if isinstance(parsed, str):
            yield Finding(key=called, what=parsed, allowed=_KEYS, reads=reads)
        elif parsed.kid in kids:
            what = "has the kid of another one"
            yield Finding(key=called, what=what, allowed="allowed: each key once, with a kid of its own", reads=reads)
        else:
            kids.add(parsed.kid)


def _parsed(settings: ProviderKeys, index: int, text: str) -> ClientKey | str:
    """The key, or why it cannot be used."""
    ids = settings.client_key_id
    try:
        return parse_client_key(text, kid=ids[index] if index < len(ids) else None, fapi=settings.profile == "fapi2")
    except ValueError as error:
        return str(error)


def _assertion(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    """The settings of the assertion itself."""
    how, alg = settings.client_authentication, settings.token_endpoint_auth_signing_alg
    reads = _reads(place, "client_private_key", "profile")
    used = how == "private_key_jwt"
    given = {"token_endpoint_auth_signing_alg": alg, "client_assertion_audience": settings.client_assertion_audience}
    for name, value in given.items():
        if value is not None and not used:
            allowed = f"allowed: nothing, or {place}.client_authentication: private_key_jwt"
            yield Finding(key=f"{place}.{name}", what=f"is not used with {how}", allowed=allowed, reads=reads)
    if used and settings.assertion_audience == "issuer" and TENANT in (settings.issuer or ""):
        what = f"is issuer, and the issuer has {TENANT}, which is no audience"
        allowed = "allowed: token_endpoint"
        yield Finding(key=f"{place}.client_assertion_audience", what=what, allowed=allowed, reads=(f"{place}.issuer",))
    if used and alg is not None:
        yield from _algorithm(f"{place}.token_endpoint_auth_signing_alg", alg, settings, reads)


def _request_object(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    """The setting of signed authorization requests."""
    alg, key = settings.request_object_signing_alg, f"{place}.request_object_signing_alg"
    if alg is None:
        return
    if TENANT in (settings.issuer or ""):
        what = f"is given, and the issuer has {TENANT}, which is no audience"
        yield Finding(key=key, what=what, allowed="allowed: nothing", reads=(f"{place}.issuer",))
    yield from _algorithm(key, alg, settings, (f"{place}.client_private_key", f"{place}.profile"))


def _algorithm(key: str, alg: str, settings: ProviderKeys, reads: tuple[str, ...]) -> Iterator[Finding]:
    """An algorithm that is not one of the first key's."""
    texts = settings.client_private_keys
    first = _parsed(settings, 0, texts[0]) if texts else None
    if isinstance(first, ClientKey) and alg not in first.algorithms:
        what = f"is {alg}, and the first key signs {', '.join(first.algorithms)}"
        yield Finding(key=key, what=what, allowed=f"allowed: {', '.join(first.algorithms)}", reads=reads)


def _certificate(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    how, key, tls = settings.client_authentication, f"{place}.client_tls", settings.client_tls
    if (tls.certificate is None) != (tls.key is None):
        yield Finding(key=key, what="needs both certificate and key", allowed="allowed: both, or neither")
    elif tls.files is None:
        allowed = "allowed: certificate and key, PEM files"
        if how in _BY_CERTIFICATE:
            yield Finding(key=key, what=f"is missing for {how}", allowed=allowed, reads=_reads(place))
        bound = "tls_client_certificate_bound_access_tokens"
        if settings.tls_client_certificate_bound_access_tokens:
            what = f"is missing, and {bound} is on"
            yield Finding(key=key, what=what, allowed=allowed, reads=(f"{place}.{bound}",))


def _fapi(place: str, settings: ProviderKeys) -> Iterator[Finding]:
    """What FAPI 2.0 Security Profile leaves of the choices (sections 5.3.3 and 5.4)."""
    reads = (f"{place}.profile",)
    choices = {
        # SECURITY: with the profile, a secret that both sides know authenticates no client.
        "client_authentication": (settings.client_authentication, _FAPI_METHODS),
        "client_assertion_audience": (settings.client_assertion_audience, ("issuer",)),
        "pushed_authorization_requests": (settings.pushed_authorization_requests, ("when_required", "always")),
        "id_token_signed_response_alg": (settings.id_token_signed_response_alg, FAPI_ALGORITHMS),
    }
    for name, (value, allowed) in choices.items():
        if value is not None and value not in allowed:
            what = f"is {value}, which profile fapi2 does not allow"
            yield Finding(key=f"{place}.{name}", what=what, allowed=f"allowed: {', '.join(allowed)}", reads=reads)
    if not settings.uses_dpop and not settings.tls_client_certificate_bound_access_tokens:
        # SECURITY: with the profile, a token that leaks is worth nothing in other hands.
        what = "is off, and profile fapi2 wants tokens that are bound"
        on = "allowed: on, or tls_client_certificate_bound_access_tokens"
        yield Finding(key=f"{place}.dpop_bound_access_tokens", what=what, allowed=on, reads=reads)
