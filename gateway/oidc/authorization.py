"""One trip to the provider: the authorization request, and the checks of the response to it.

Pure. The invariant: a code leaves this module only for the attempt whose `state` came back, after its issuer was
compared.
RFC 6749 section 4.1, RFC 7636 (S256, always), RFC 9207, RFC 9700 section 4, OpenID Connect Core 1.0 section 3.1.2.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.util import urlsafe_b64encode

from gateway.config.sections.openid import DEFAULT_PROVIDER, ProviderKeys
from gateway.errors.signing_in import AuthenticationExpired, SignInFailed
from gateway.oidc.dpop import derive_dpop_key, dpop_jkt
from gateway.oidc.metadata import ProviderMetadata

ATTEMPT_LIFETIME: Final = timedelta(minutes=15)

_LONGEST_CODE: Final = 4096
_FUTURE: Final = timedelta(minutes=1)  # the clocks of two gateways differ
#: `error` and `error_description` of Keycloak for a sign-in form that lay too long; its manual asks for a new request at once.
_EXPIRED: Final = ("temporarily_unavailable", "authentication_expired")
_ERROR = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """What one trip to the provider is for.

    `max_age` (seconds) and `acr` are parameters of the authorization request; `step_up_for` is the "METHOD /path" whose rule requires
    them, where it is not `return_to`. `provider` names the provider: no response of another one belongs to this attempt. `begun` is the
    moment in seconds since 1970, to the microsecond, by the clock that all workers share; None: an earlier release began it.
    `ui_locales` are the language tags that began it: of our pages, and of the authorization request. `prompt` is the one that was asked for;
    `begun_again`: it is the second request of a sign-in whose first the provider let expire. `login_test`: the id of the operator's test that
    it belongs to; such a trip ends in no session.
    `replaces`: the key of the session that the browser had then, where its cookie does not come with the response (form_post).
    """

    app: str
    host: str
    return_to: str
    started_at: datetime
    max_age: int | None = None
    acr: tuple[str, ...] = ()
    step_up_for: str | None = None
    provider: str = DEFAULT_PROVIDER
    begun: float | None = None
    ui_locales: tuple[str, ...] = ()
    prompt: str | None = None
    begun_again: bool = False
    replaces: str | None = None
    login_test: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt(AttemptFacts):
    """One trip to the provider, with its secrets. It is kept in `state` and in a cookie of the browser (`gateway.sign_in`).

    `dpop_seed`: 32 secret bytes, which its DPoP key follows from; None: an earlier release began it.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    dpop_seed: bytes | None = field(repr=False, default=None)

    @property
    def id(self) -> str:
        """A public handle of this attempt, by which it is used up."""
        return hashlib.sha256(self.state.encode()).hexdigest()


def attempt_of(
    attempt: AttemptFacts, *, state: str, nonce: str, verifier: str, dpop_seed: bytes | None = None
) -> LoginAttempt:
    """The attempt with these facts and secrets."""
    facts = {each.name: getattr(attempt, each.name) for each in fields(AttemptFacts)}
    return LoginAttempt(**facts, state=state, nonce=nonce, verifier=verifier, dpop_seed=dpop_seed)


def random_text(random: Callable[[int], bytes]) -> str:
    """256 random bits, base64url. `random(n)` gives n random bytes: `secrets.token_bytes`."""
    return urlsafe_b64encode(random(32)).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """A code that came back for `attempt`, from `issuer`. Only `validate_authorization_response` makes one."""

    code: str = field(repr=False)
    attempt: LoginAttempt
    issuer: str


def authorization_parameters(
    metadata: ProviderMetadata,
    settings: ProviderKeys,
    redirect_uri: str,
    attempt: LoginAttempt,
    prompt: str | None = None,
    login_hint: str | None = None,
) -> list[tuple[str, str]]:
    """The parameters of an authorization request (OpenID Connect Core 1.0 section 3.1.2.1)."""
    parameters = [
        ("response_type", "code"),
        ("client_id", settings.client_id),
        ("redirect_uri", redirect_uri),
        ("scope", " ".join(dict.fromkeys(("openid", *settings.scopes)))),
        ("state", attempt.state),
        ("nonce", attempt.nonce),
        ("code_challenge", create_s256_code_challenge(attempt.verifier)),
        ("code_challenge_method", "S256"),
    ]
    if settings.response_mode != "query":  # the default of the code flow
        parameters.append(("response_mode", settings.response_mode))
    if prompt:
        parameters.append(("prompt", prompt))
    if login_hint:
        parameters.append(("login_hint", login_hint))
    if attempt.max_age is not None:
        parameters.append(("max_age", str(attempt.max_age)))
    if attempt.acr:
        parameters.append(("acr_values", " ".join(attempt.acr)))
    if attempt.ui_locales:
        parameters.append(("ui_locales", " ".join(attempt.ui_locales)))
    # SECURITY: the code is bound to the key too, so that a stolen one is worth nothing with another key (A-98; RFC 9449 section 10).
    if settings.uses_dpop and attempt.dpop_seed is not None:
        parameters.append(("dpop_jkt", dpop_jkt(derive_dpop_key(attempt.dpop_seed, metadata.dpop_alg))))
    parameters += settings.extra_authorization_parameters.items()
    return parameters


def authorization_url(endpoint: str, parameters: Sequence[tuple[str, str]]) -> str:
    """The URL that has a browser send these parameters to the authorization endpoint."""
    return str(add_params_to_uri(endpoint, parameters))


def validate_authorization_response(
    params: Sequence[tuple[str, str]], attempt: LoginAttempt, metadata: ProviderMetadata, now: datetime
) -> AuthorizationCode:
    """The code of a callback whose parameters, decoded and in order, are `params`. Raises SignInFailed, and AuthenticationExpired of its kind.

    Other parameters (`session_state`, tokens of other flows) are ignored.
    """
    values = dict(params)
    # SECURITY: of a parameter given twice, two parsers take different ones.
    if len(values) != len(params):
        raise SignInFailed("repeated_parameter")
    # SECURITY: a response to a request that this browser did not make is the login of another person.
    if not hmac.compare_digest(values.get("state", "").encode("utf-8", "replace"), attempt.state.encode()):
        raise SignInFailed("state_mismatch")
    if not -_FUTURE <= now - attempt.started_at <= ATTEMPT_LIFETIME:
        raise SignInFailed("attempt_expired")
    # SECURITY: another provider's response must not be sent to ours, nor its code to another's.
    issuer = values.get("iss")
    if (issuer is None and metadata.iss_parameter_supported) or issuer not in (None, *metadata.issuers):
        raise SignInFailed("issuer_mismatch")
    code, error = values.get("code"), values.get("error")
    if error is not None:
        raise SignInFailed("repeated_parameter") if code is not None else _refused(error, values)
    if not code or len(code) > _LONGEST_CODE or not (code.isascii() and code.isprintable()):
        raise SignInFailed("code_missing")
    return AuthorizationCode(code=code, attempt=attempt, issuer=metadata.issuer)


def _refused(error: str, values: dict[str, str]) -> SignInFailed:
    """An error response (RFC 6749 section 4.1.2.1). Its text goes to the log, cleaned; only a plain error name reaches pages and events."""
    name, description = readable_error(error, values.get("error_description"))
    reason = name if name in ("access_denied", "login_required", "interaction_required") else "provider_error"
    kind = AuthenticationExpired if (name, description) == _EXPIRED else SignInFailed
    return kind(reason, f"the provider returned {name}: {description!r}", error=name)


def readable_error(error: object, description: object) -> tuple[str, str]:
    """The name of an OAuth error, and its description, bounded and of printable characters, for the log."""
    # SECURITY: error and error_description are text of a URL that any site can write.
    name = error if isinstance(error, str) and _ERROR.fullmatch(error) else "unreadable"
    words = description[:200] if isinstance(description, str) else ""
    return name, "".join(c if c.isprintable() else " " for c in words)
