"""What the userinfo endpoint says, and how it joins the ID Token.

Pure. The invariant: userinfo adds to what the ID Token says about the same subject, and never overrules it.
OpenID Connect Core 1.0 section 5.3.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from joserfc.jwk import Key

from gateway.errors import IdTokenInvalid, SignInFailed
from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.registered_claims import require_audience, require_issuer, require_times
from gateway.oidc.signatures import JwtInvalid, verified_claims


def validate_userinfo(said: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
    """Raises SignInFailed."""
    # SECURITY: a token swapped for another person's would bring that person's e-mail address with it.
    if said.get("sub") != subject:
        raise SignInFailed("userinfo_subject")
    return said


def validate_userinfo_jwt(
    token: str,
    *,
    keys: Sequence[Key],
    metadata: ProviderMetadata,
    client_id: str,
    now: datetime,
    skew: timedelta,
) -> dict[str, Any]:
    """A signed answer: by the provider, for us (section 5.3.2). Raises IdTokenInvalid."""
    try:
        _, said = verified_claims(token, keys, metadata.id_token_algs)
        require_issuer(said, metadata.issuer)
        require_audience(said, client_id, authorized_party=False)
        if "exp" in said:
            require_times({"iat": 1, **said}, now, skew)
    except JwtInvalid as error:
        raise IdTokenInvalid(error.reason, f"userinfo: {error.detail or error.reason}") from error
    return said


def merge_claims(id_claims: Mapping[str, Any], said: Mapping[str, Any], email: str) -> dict[str, Any]:
    """`email`: the name of the claim that holds the address."""
    merged = {**said, **id_claims}
    # SECURITY: "verified" belongs to the address that it came with, not to the one of the other document.
    if email in id_claims and "email_verified" not in id_claims and said.get(email) != id_claims[email]:
        merged.pop("email_verified", None)
    return merged
