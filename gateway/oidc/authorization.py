"""One trip to the provider: the authorization request, and the checks of the response to it.

Pure. The invariant: a code leaves this module only for the attempt whose `state` came back, after its issuer was
compared.
RFC 6749 section 4.1, RFC 7636 (S256, always), RFC 9207, RFC 9700 section 4, OpenID Connect Core 1.0 section 3.1.2.
"""

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from gateway.config.sections.openid import DEFAULT_PROVIDER, ProviderKeys
from gateway.errors.signing_in import SignInFailed
from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.strict_json import parse_object

ATTEMPT_LIFETIME: Final = timedelta(minutes=15)

_VERSION: Final = 1
_LONGEST_CODE: Final = 4096
_MICROSECONDS: Final = 1_000_000
_FUTURE: Final = timedelta(minutes=1)  # the clocks of two gateways differ
_ERROR = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """One trip to the provider, stored in an encrypted cookie of the browser until it comes back.

    `max_age` (seconds) and `acr` are parameters of the authorization request; `step_up_for` is the "METHOD /path" whose rule requires
    them, where it is not `return_to`. `provider` names the provider: no response of another one belongs to this attempt. `begun` is the
    moment in seconds since 1970, to the microsecond, by the clock that all workers share; None: an earlier release began it.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    app: str
    host: str
    return_to: str
    started_at: datetime
    max_age: int | None = None
    acr: tuple[str, ...] = ()
    step_up_for: str | None = None
    provider: str = DEFAULT_PROVIDER
    begun: float | None = None

    @property
    def id(self) -> str:
        """A public handle of this attempt: it is consumed by this name, and its cookie has it in its name."""
        return hashlib.sha256(self.state.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """A code that came back for `attempt`, from `issuer`. Only `validate_authorization_response` makes one."""

    code: str = field(repr=False)
    attempt: LoginAttempt
    issuer: str


class AttemptSecrets(TypedDict):
    """The random fields of a LoginAttempt: 256 bits each, base64url."""

    state: str
    nonce: str
    verifier: str


def attempt_secrets(random: Callable[[int], bytes]) -> AttemptSecrets:
    """`random(n)` gives n random bytes: `secrets.token_bytes`."""
    state, nonce, verifier = (_text(random(32)) for _ in range(3))
    return {"state": state, "nonce": nonce, "verifier": verifier}


def authorization_url(
    metadata: ProviderMetadata,
    settings: ProviderKeys,
    redirect_uri: str,
    attempt: LoginAttempt,
    prompt: str | None = None,
    login_hint: str | None = None,
) -> str:
    """The authorization request (OpenID Connect Core 1.0 section 3.1.2.1) as a URL."""
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
    if prompt:
        parameters.append(("prompt", prompt))
    if login_hint:
        parameters.append(("login_hint", login_hint))
    if attempt.max_age is not None:
        parameters.append(("max_age", str(attempt.max_age)))
    if attempt.acr:
        parameters.append(("acr_values", " ".join(attempt.acr)))
    return str(add_params_to_uri(metadata.authorization_endpoint, parameters))


def validate_authorization_response(
    params: Sequence[tuple[str, str]], attempt: LoginAttempt, metadata: ProviderMetadata, now: datetime
) -> AuthorizationCode:
    """The code of a callback whose parameters, decoded and in order, are `params`. Raises SignInFailed.

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
    # SECURITY: error and error_description are text of a URL that any site can write.
    name = error if _ERROR.fullmatch(error) else "unreadable"
    description = "".join(c if c.isprintable() else " " for c in values.get("error_description", "")[:200])
    reason = name if name in ("access_denied", "login_required", "interaction_required") else "provider_error"
    return SignInFailed(reason, f"the provider returned {name}: {description!r}", error=name)


# --- the attempt as bytes, for the encrypted cookie -------------------------------------------------------------------


def encode(attempt: LoginAttempt) -> bytes:
    """The attempt as JSON."""
    values: dict[str, Any] = {
        "v": _VERSION,
        "s": attempt.state,
        "n": attempt.nonce,
        "c": attempt.verifier,
        "a": attempt.app,
        "h": attempt.host,
        "r": attempt.return_to,
        "t": int(attempt.started_at.timestamp()),
    }
    if attempt.max_age is not None:
        values["m"] = attempt.max_age
    if attempt.acr:
        values["l"] = list(attempt.acr)
    if attempt.provider != DEFAULT_PROVIDER:
        values["p"] = attempt.provider
    if attempt.step_up_for is not None:
        values["f"] = attempt.step_up_for
    if attempt.begun is not None:
        values["b"] = int(attempt.begun * _MICROSECONDS)
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()


def decode(raw: bytes) -> LoginAttempt:
    """The inverse of `encode`. Raises ValueError for bytes that it did not write."""
    values = parse_object(raw)
    texts = [values.get(name) for name in ("s", "n", "c", "a", "h", "r")] + [values.get("p", DEFAULT_PROVIDER)]
    started_at, max_age, acr, step_up_for = values.get("t"), values.get("m"), values.get("l", []), values.get("f")
    begun = values.get("b")
    if (
        values.get("v") != _VERSION
        or not all(isinstance(text, str) for text in texts)
        or not all(_TOKEN.fullmatch(str(text)) for text in texts[:3])
        or not _is_count(started_at)
        or not (max_age is None or _is_count(max_age))
        or not (begun is None or _is_count(begun, 2**35 * _MICROSECONDS))
        or not (step_up_for is None or isinstance(step_up_for, str))
        or not (isinstance(acr, list) and all(isinstance(value, str) for value in acr))
    ):
        raise ValueError("not a login attempt")
    state, nonce, verifier, app, host, return_to, provider = map(str, texts)
    return LoginAttempt(
        state=state,
        nonce=nonce,
        verifier=verifier,
        app=app,
        host=host,
        return_to=return_to,
        started_at=datetime.fromtimestamp(int(started_at or 0), UTC),
        max_age=max_age,
        acr=tuple(acr),
        step_up_for=step_up_for,
        provider=provider,
        begun=None if begun is None else begun / _MICROSECONDS,
    )


def _is_count(value: object, below: int = 2**35) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
