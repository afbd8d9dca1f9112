"""Binds the upstream's session cookies to one session of ours.

Pure. A sealed value is the upstream's value, a dot, and 22 characters of a keyed hash over the session, the cookie's name and the value. The
invariant: a session cookie reaches the upstream only in requests of the session under which the upstream set it.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.rewriting.cookie_names import CookieNames, pairs_of
from gateway.sessions.keyring import KeyRing, joined

_MARK_LENGTH: Final = 22  # 128 bits, base64url


class SealedCookies(NamedTuple):
    """`values`: `Cookie` values for the upstream. `session`: the upstream's session cookies among them, `name=value`."""

    values: list[bytes]
    session: list[bytes]


class Seals:
    """The seals of one app. `names` are its upstream's session cookies."""

    def __init__(self, ring: KeyRing, app: str, names: Sequence[str]) -> None:
        self._keys = ring.purpose("hand-off cookie").raw
        self._app = app
        self.names: Final = CookieNames(names)

    def seal(self, sid: str, name: bytes, value: bytes) -> bytes:
        """The value with its seal, for the session `sid`."""
        return value + b"." + self._mark(self._keys[0], sid, name, value)

    def open(self, sid: str, name: bytes, sealed: bytes) -> bytes | None:
        """The upstream's value; None for a value that was not sealed for this session."""
        value, dot, mark = sealed[: -_MARK_LENGTH - 1], sealed[-_MARK_LENGTH - 1 :][:1], sealed[-_MARK_LENGTH:]
        if dot != b"." or not value:
            return None
        # SECURITY: a cookie of another person's session, or a planted one, does not open (C-37, C-44).
        good = any(hmac.compare_digest(self._mark(key, sid, name, value), mark) for key in self._keys)
        return value if good else None

    def keep(self, sid: str, values: Sequence[bytes]) -> SealedCookies:
        """`Cookie` values for the upstream: session cookies of this session opened, all others of these names left out."""
        kept: list[bytes] = []
        session: list[bytes] = []
        for value in values:
            pairs = []
            for pair in pairs_of(value):
                name, _, content = pair.partition(b"=")
                if name not in self.names.exact:
                    if not self.names.resembles(pair):
                        pairs.append(pair)
                elif (opened := self.open(sid, name, content)) is not None:
                    pairs.append(name + b"=" + opened)
                    session.append(pairs[-1])
            if pairs:
                kept.append(b"; ".join(pairs))
        return SealedCookies(kept, session)

    def _mark(self, key: bytes, sid: str, name: bytes, value: bytes) -> bytes:
        what = joined((self._app, sid)) + len(name).to_bytes(4, "big") + name + value
        digest = hmac.digest(key, what, hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=")
