"""The identity fields that one worker rendered for a session, shared in Redis with the others: their signature is the dearest part of a request.

Sealed, and bound to the very record they were rendered from: they do not open for a session that changed, or for another one. They prove no
session: a worker reads them together with the record. They live as long as the signature is valid; their loss costs one signature.
"""

from datetime import timedelta
from typing import Final

from gateway.redis_client.limits import MAX_SHARED
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession

_MILLISECOND: Final = timedelta(milliseconds=1)


class SharedHeaders:
    """`prefix` as for SessionStore; the keys are `<prefix>a:<hash of token>`. Without a `reader` nothing is shared."""

    def __init__(self, ring: KeyRing, prefix: str, reader: RecordReader | None) -> None:
        self._ring = ring.purpose("identity lines")
        self._prefix = shared_prefix(prefix)
        self._reader = reader

    def take(self, session: LiveSession, label: bytes) -> bytes | None:
        """The fields that were read with a session's record, once; None where there are none that were rendered for `label`."""
        sealed, session.shared = session.shared, b""
        try:
            return self._ring.open_in(sealed, _context(session, label))
        except ValueError:
            return None

    def write(self, session: LiveSession, label: bytes, lines: bytes, good_for: timedelta) -> None:
        """Share rendered fields, once for each read of the record: its ID is dropped afterwards to save memory."""
        if self._reader is None or not session.record_id:
            return
        sealed = self._ring.seal_in(lines, _context(session, label))
        session.record_id = b""
        if len(sealed) <= MAX_SHARED:
            self._reader.write((self._prefix + session.key).encode(), sealed, good_for // _MILLISECOND)


def shared_prefix(prefix: str) -> str:
    return f"{prefix}a:"


def _context(session: LiveSession, label: bytes) -> bytes:
    # SECURITY: a record that is written anew has another ID: fields of a person's earlier identity do not open for it (C-08, C-31).
    return b"%b%b%b" % (session.record_id, session.key.encode(), label)
