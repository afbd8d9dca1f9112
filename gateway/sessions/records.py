"""What a session looks like in Redis: a sealed record that says in the open only for which host and app it is, and by which key it was sealed.

No I/O. The invariant: what opens was sealed by a key of this ring, for this very key in Redis, host, app and format.
"""

from typing import Final, NamedTuple

from gateway.sessions.keyring import SEAL_BYTES, KeyRing, joined
from gateway.sessions.session import MAX_ENCODED, VERSION, Session, decode, encode

MAX_RECORD: Final = MAX_ENCODED + 4096
MAX_SHARED: Final = 8 * 1024  # bytes of what lies beside a record
HEAD: Final = 1024  # bytes that surely hold all that is in the open
_MAGIC: Final = b"DW%d" % VERSION
_VERSION: Final = joined((str(VERSION),))  # how every context begins


class Opened(NamedTuple):
    """`old_key`: another key than the ring's first one sealed it. `record_id` is another one for everything that is ever sealed."""

    session: Session
    old_key: bool
    record_id: bytes


class Records:
    """`prefix` is what record keys begin with in Redis."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("session")
        self._prefix = prefix
        self._places: dict[tuple[str, str], _Place] = {}  # by host and app that ask, of which there are a few

    def seal(self, key: str, session: Session) -> bytes:
        """With the ring's first key. Raises ValueError when it is too large."""
        place = _place(session.key_host, session.app)
        return place.beginning + self._ring.seal_in(encode(session), self._context(key, place))

    def open(self, key: str, record: object) -> Session | None:
        """The session in a record; None for whatever was not sealed here, for this key."""
        if not isinstance(record, bytes) or not record.startswith(_MAGIC):
            return None
        try:
            host, app, _ = _parts(record)
        except ValueError:
            return None
        opened = self._open(key, _place(host, app), record, tokens=True)
        return None if opened is None else opened.session

    def open_for(self, key: str, host: str, app: str, record: object, *, tokens: bool = True) -> Opened | None:
        """The session in a record of this host and app; None as `open`. Not `tokens`: without them."""
        place = self._places.get((host, app))
        if place is None:
            place = self._places[host, app] = _place(host, app)
        return self._open(key, place, record, tokens=tokens)

    def _open(self, key: str, place: "_Place", record: object, *, tokens: bool) -> Opened | None:
        if not isinstance(record, bytes) or not record.startswith(place.beginning) or len(record) > MAX_RECORD:
            return None
        sealed = record[len(place.beginning) :]
        try:
            plain = self._ring.open_in(sealed, self._context(key, place))
            return Opened(decode(plain, tokens=tokens), not self._ring.is_first(sealed), sealed[:SEAL_BYTES])
        except ValueError:
            return None

    def seal_again(self, key: str, record: bytes) -> bytes:
        """A record with the same content, to the byte, whatever release wrote it, sealed with the ring's first key.

        Raises ValueError for what no key opens.
        """
        host, app, sealed = _parts(record)
        place = _place(host, app)
        context = self._context(key, place)
        return place.beginning + self._ring.seal_in(self._ring.open_in(sealed, context), context)

    def place_of_key(self, record: object) -> int | None:
        """Which key of the ring sealed it, by what the record says of itself (its first HEAD bytes suffice); 0 is the first."""
        if not isinstance(record, bytes) or not record.startswith(_MAGIC):
            return None
        try:
            return self._ring.place_of(_parts(record)[2])
        except ValueError:
            return None

    def _context(self, key: str, place: "_Place") -> bytes:
        # SECURITY: a record copied under another key, host, app or format does not open (C-08, C-43).
        name = (self._prefix + key).encode()
        return b"%b%b%b%b" % (_VERSION, len(name).to_bytes(4, "big"), name, place.end_of_context)


class _Place(NamedTuple):
    """A host with its app: what a record there says in the open, and what its context ends with."""

    beginning: bytes
    end_of_context: bytes


def _place(host: str, app: str) -> _Place:
    names = b"".join(len(text).to_bytes(2, "big") + text for text in (host.encode(), app.encode()))
    return _Place(_MAGIC + names, joined((host, app)))


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
