"""A token endpoint's response, for a code and for a refresh token alike.

Pure. The invariant: every token is bounded and can travel in a header; every error name is a known one.
RFC 6749 sections 5.1 and 5.2.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.errors.signing_in import ProviderFault, SignInFailed
from gateway.oidc.calls import ProviderResponse

_LONGEST_TOKEN: Final = 64 * 1024
_ERRORS: Final = frozenset(
    (
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        # RFC 9449 sections 5 and 8.
        "invalid_dpop_proof",
        "use_dpop_nonce",
        # Errors of OpenID Connect Core 1.0 section 3.1.2.6, which some providers send here too: the person must sign in again.
        "interaction_required",
        "login_required",
        "consent_required",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenResponse:
    """`expires_in` in seconds, of the access token; None: the response has none. `dpop_key`: the private JWK that it is bound to."""

    id_token: str | None = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    dpop_key: str | None = field(repr=False, default=None)


def parse_token_response(
    response: ProviderResponse, refusal_of: Callable[[str], SignInFailed | None], dpop_key: str | None = None
) -> TokenResponse:
    """The tokens. Raises ProviderFault for anything but a token response, and the refusal that `refusal_of` gives for an error name, if any.

    `dpop_key`: the key whose proof the request had.
    """
    if response.status in (400, 401):
        raise _token_error(response.json().get("error"), refusal_of)
    if response.status != 200:
        raise ProviderFault(f"token: status {response.status}")
    body = response.json()
    if "error" in body:
        raise _token_error(body["error"], refusal_of)
    token_type, wanted = body.get("token_type"), "Bearer" if dpop_key is None else "DPoP"
    # SECURITY: a Bearer token in answer to a proof is bound to nothing, and good in any hands (A-98; RFC 9449 section 5).
    if not isinstance(token_type, str) or token_type.lower() != wanted.lower():
        raise ProviderFault(f"token: the token type is not {wanted}")
    id_token, refresh_token = body.get("id_token"), body.get("refresh_token")
    return TokenResponse(
        id_token=id_token if isinstance(id_token, str) else None,
        access_token=_opaque(body.get("access_token"), "access_token"),
        refresh_token=None if refresh_token in (None, "") else _opaque(refresh_token, "refresh_token"),
        expires_in=lifetime(body.get("expires_in")),
        dpop_key=dpop_key,
    )


def _token_error(error: object, refusal_of: Callable[[str], SignInFailed | None]) -> SignInFailed | ProviderFault:
    name = error if isinstance(error, str) and error in _ERRORS else "of an unknown name"
    return refusal_of(name) or ProviderFault(f"token: error {name}")


def _opaque(value: object, name: str) -> str:
    """A token of the characters that RFC 6749 appendix A allows, which are visible ASCII and the blank; bounded."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TOKEN:
        raise ProviderFault(f"token: no {name}")
    if not (value.isascii() and value.isprintable()):
        raise ProviderFault(f"token: the {name} is not a token")
    return value


def lifetime(value: object) -> int | None:
    """`expires_in` in seconds; some providers write the number as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 10 else None
