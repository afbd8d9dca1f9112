"""What one worker wrote about a session for an upstream, left in Redis for the others: the signature in it is what costs most of a request.

Sealed, and bound to the very record it was written from: a session that changed, or another one, finds nothing of it. It proves nobody's
session: whoever reads it has opened that record in the same moment. It lives as long as what is in it is good, and losing it costs a signature.
"""

from datetime import timedelta
from typing import Final

from gateway.redis_client.limits import MAX_SHARED
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession

_MILLISECOND: Final = timedelta(milliseconds=1)


class SharedLines:
    """`prefix` as for SessionStore; the keys are `<prefix>a:<hash of token>`. Without a `reader` nothing is shared."""

    def __init__(self, ring: KeyRing, prefix: str, reader: RecordReader | None) -> None:
        self._ring = ring.purpose("identity lines")
        self._prefix = shared_prefix(prefix)
        self._reader = reader

    def take(self, live: LiveSession, label: bytes) -> bytes | None:
        """What was found with the record of a session that was just read; once. `label` says for what it must have been written."""
        sealed, live.shared = live.shared, b""
        try:
            return self._ring.open_in(sealed, _context(live, label))
        except ValueError:
            return None

    def leave(self, live: LiveSession, label: bytes, lines: bytes, good_for: timedelta) -> None:
        """For whoever reads this record next; once for each reading: memory does not hold for long what that takes."""
        if self._reader is None or not live.record_id:
            return
        sealed = self._ring.seal_in(lines, _context(live, label))
        live.record_id = b""
        if len(sealed) <= MAX_SHARED:
            self._reader.write((self._prefix + live.key).encode(), sealed, good_for // _MILLISECOND)


def shared_prefix(prefix: str) -> str:
    return f"{prefix}a:"


def _context(live: LiveSession, label: bytes) -> bytes:
    # SECURITY: a record that is written anew has another id: lines of who somebody was before do not open for them (C-08, C-31).
    return b"%b%b%b" % (live.record_id, live.key.encode(), label)
