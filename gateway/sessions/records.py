"""What a session looks like in Redis: a sealed record that says in the open only for which host and app it is, and by which key it was sealed.

No I/O. The invariant: what opens was sealed by a key of this ring, for this very key in Redis, host, app and format.
"""

from typing import Final

from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import MAX_ENCODED, VERSION, Session, decode, encode

MAX_RECORD: Final = MAX_ENCODED + 4096
HEAD: Final = 1024  # bytes that surely hold all that is in the open
_MAGIC: Final = b"DW%d" % VERSION


class Records:
    """`prefix` is what record keys begin with in Redis."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("session")
        self._prefix = prefix

    def seal(self, key: str, session: Session) -> bytes:
        """With the ring's first key. Raises ValueError when it is too large."""
        sealed = self._ring.seal(encode(session), self._context(key, session.key_host, session.app))
        host, app = session.key_host.encode(), session.app.encode()
        return b"".join((_MAGIC, len(host).to_bytes(2, "big"), host, len(app).to_bytes(2, "big"), app, sealed))

    def open(self, key: str, record: object) -> Session | None:
        """The session in a record; None for whatever was not sealed here, for this key."""
        if not isinstance(record, bytes) or not record.startswith(_MAGIC) or len(record) > MAX_RECORD:
            return None
        try:
            host, app, sealed = _parts(record)
            return decode(self._ring.open(sealed, self._context(key, host, app)))
        except ValueError:
            return None

    def place_of_key(self, record: object) -> int | None:
        """Which key of the ring sealed it, by what the record says of itself (its first HEAD bytes suffice); 0 is the first."""
        if not isinstance(record, bytes) or not record.startswith(_MAGIC):
            return None
        try:
            return self._ring.place_of(_parts(record)[2])
        except ValueError:
            return None

    def _context(self, key: str, host: str, app: str) -> tuple[str, ...]:
        # SECURITY: a record copied under another key, host, app or format does not open (C-08, C-43).
        return (str(VERSION), self._prefix + key, host, app)


def _parts(record: bytes) -> tuple[str, str, bytes]:
    """Host, app, and what is sealed. Raises ValueError."""
    host, rest = _take(record[len(_MAGIC) :])
    app, sealed = _take(rest)
    return host, app, sealed


def _take(data: bytes) -> tuple[str, bytes]:
    """A length-prefixed text, and what follows it. Raises ValueError."""
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < end:
        raise ValueError("cut short")
    return data[2:end].decode(), data[end:]
