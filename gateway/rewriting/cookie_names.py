"""Recognises cookies of the upstream by name, in a client's `Cookie` fields.

Pure. A pair counts as one of these cookies if an upstream could read it so: in another case, percent-encoded, quoted, with other punctuation, or
after a comma (RFC 2965 separated cookies by commas, too).
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

_ALIKE: Final = bytes(byte if chr(byte).isascii() and chr(byte).isalnum() else 0x5F for byte in range(256))


class CookieNames:
    """A set of cookie names; `exact` holds them as the upstream writes them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.exact: Final = frozenset(name.encode() for name in names)
        alike = b"|".join(re.escape(_fold(name)) for name in self.exact)
        self._somewhere = re.compile(rb"(?:\A|[,;])[\s\"'=$]*(?:%b)[\s\"']*=" % _spread(alike)) if alike else None

    def __bool__(self) -> bool:
        return bool(self.exact)

    def resembles(self, pair: bytes) -> bool:
        """Whether an upstream could read one of these cookies in this pair."""
        if self._somewhere is None:
            return False
        # SECURITY: a planted `%53ESS=x` or `a=1,SESS=x` is the session cookie SESS to some applications (C-37).
        return self._somewhere.search(unquote_to_bytes(pair).lower()) is not None

    def without(self, values: Sequence[bytes]) -> list[bytes]:
        """`Cookie` values without these cookies, and without values that are then empty."""
        kept = [b"; ".join(pair for pair in pairs_of(value) if not self.resembles(pair)) for value in values]
        return [value for value in kept if value]


def pairs_of(value: bytes) -> list[bytes]:
    """The pairs of a `Cookie` value, each stripped, without empty ones."""
    return [stripped for pair in value.split(b";") if (stripped := pair.strip(b" \t"))]


def _fold(name: bytes) -> bytes:
    return name.lower().translate(_ALIKE)


def _spread(alike: bytes) -> bytes:
    """In a pattern of folded names, an underscore stands for any punctuation."""
    return alike.replace(b"_", rb"[^a-z0-9,;=\s\"']")
