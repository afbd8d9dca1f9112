"""The token of a request, and whether it is meant for us: decided from its own bytes, before any signature is checked.

Pure. A token is ours if it begins with `dw_`, or is a JWT whose `iss` the app accepts; any other may be ours where the app has introspection
and no live session comes with the request. What is not ours belongs to the application.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from msgspec import Struct

from gateway.oidc.id_token import read_unverified

OWN_PREFIX: Final = "dw_"
LONGEST: Final = 16 * 1024
_SCHEME: Final = re.compile(rb"bearer(?:[ \t]+|\Z)", re.IGNORECASE)
_TOKEN: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")  # b64token (RFC 6750 section 2.1)


class BearerToken(Struct, frozen=True, eq=False):
    """`certain`: it is ours, whatever comes with it; otherwise it is opaque, and ours where there is no live session.

    `digest` is the SHA-256 of the token, `issuer` its `iss` as far as it was read, None where it has none.
    `malformed`: it stands beside other credentials.
    """

    text: str
    digest: bytes
    issuer: str | None
    certain: bool
    malformed: bool

    def __repr__(self) -> str:
        return f"BearerToken({self.digest[:4].hex()})"  # no token in tracebacks (C-48)


def presented_in(values: Sequence[bytes], issuers: Collection[str], *, opaque: bool) -> BearerToken | None:
    """The token in the values of all Authorization fields; None where none is ours.

    `issuers`: each `iss` that the app accepts; `opaque`: whether it has introspection.
    """
    found: BearerToken | None = None
    for value in values:
        scheme = _SCHEME.match(value)
        if scheme is None:
            continue
        rest = value[scheme.end() :].strip(b" \t")
        token = _TOKEN.match(rest)
        if token is None:
            continue
        # SECURITY: of two credentials one would be judged here, and the application could read the other (D-36).
        one = recognised(token[0], issuers, opaque=opaque, malformed=len(values) > 1 or token.end() != len(rest))
        if one is not None and (found is None or one.certain):
            found = one
    return found


def recognised(
    raw: bytes, issuers: Collection[str], *, opaque: bool = False, malformed: bool = False
) -> BearerToken | None:
    """The token, where it is or may be ours."""
    text = raw.decode("ascii", "replace")
    issuer = None
    if not text.startswith(OWN_PREFIX):
        # SECURITY: what a stranger makes up costs one bounded decoding, and a signature only where an issuer of this app is named (D-31).
        issuer = _issuer_of(text)
        if issuer not in issuers:
            return BearerToken(text, _digest(raw), None, False, malformed) if opaque and issuer is None else None
    return BearerToken(text, _digest(raw), issuer, True, malformed)


def in_query(pairs: Iterable[tuple[str, str]], issuers: Collection[str]) -> bool:
    """Whether a query has a token of ours as RFC 6750 section 2.3 has it, which ends in logs and histories."""
    return any(
        name == "access_token" and recognised(value.encode("utf-8", "replace"), issuers) is not None
        for name, value in pairs
    )


def _issuer_of(text: str) -> str | None:
    """The unverified `iss` of a JWT; None for anything else."""
    if text.count(".") != 2 or len(text) > LONGEST:
        return None
    issuer = read_unverified(text).get("iss")
    return issuer if isinstance(issuer, str) else None


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
