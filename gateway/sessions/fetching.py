"""How a session comes out of Redis: its record and what is left of its time, judged for the host and app that ask."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct
from redis.asyncio import Redis

from gateway.errors import StoreUnavailable
from gateway.sessions.client import Operations, checked
from gateway.sessions.reader import RecordReader, Replies, plain
from gateway.sessions.records import MAX_RECORD, Records
from gateway.sessions.session import Session

_log = logging.getLogger("doorward.sessions")
_MILLISECOND: Final = timedelta(milliseconds=1)
_OVER: Final = timedelta(0)


Which = tuple[str, str, str]  # key, host, app


class Stored(Struct, frozen=True, gc=False):
    """A session as Redis has it: `ttl` until it ends unless it is touched, `remaining` until it ends in any case.

    `old_key`: another key than the ring's first one sealed it. `record` is what it was read from, for `SessionStore.rewrite`, and
    `record_id` tells it from all others. `shared` is what a worker left beside it, sealed.
    """

    session: Session
    ttl: timedelta
    remaining: timedelta
    old_key: bool = False
    record: bytes = b""
    record_id: bytes = b""
    shared: bytes = b""

    def __repr__(self) -> str:
        return f"Stored({self.session!r}, ttl={self.ttl})"


class Unsaid:
    """No plain answer: `fetch` must say."""


UNSAID: Final = Unsaid()
#: What was found; None: no session, for whoever asks; StoreUnavailable: nobody can say.
Found = Stored | StoreUnavailable | Unsaid | None


class Fetching:
    """`prefix` is what record keys begin with, `beside` the keys of what is shared; `now`, `believed` and `reader` as for SessionStore."""

    def __init__(
        self,
        redis: Redis,
        records: Records,
        prefix: str,
        beside: str,
        operations: Operations,
        now: Callable[[], datetime],
        believed: Callable[[Session], bool],
        reader: RecordReader | None,
    ) -> None:
        self._redis = redis
        self._records = records
        self._prefix = prefix
        self._beside = beside
        self._operations = operations
        self._now = now
        self._believed = believed
        self._reader = reader

    async def fetch(self, key: str, host: str, app: str, *, tokens: bool = True) -> Stored | None:
        """The session by way of the library; with all that is in its record, or without its tokens. Raises StoreUnavailable."""
        record, left = await self._operations.run(self._read(self._prefix + key))
        return self._judge(key, host, app, record, left, b"", tokens=tokens)

    def ask(self, which: Which, hear: Callable[[Found], None]) -> None:
        """Have the session, without its tokens, told to `hear`, now or later, who must not raise."""
        key, reader = which[0], self._reader
        told = partial(self._told, which, hear)
        if reader is None or not reader.ask((self._prefix + key).encode(), (self._beside + key).encode(), told):
            hear(UNSAID)

    def _told(self, which: Which, hear: Callable[[Found], None], replies: Replies, seconds: float) -> None:
        self._operations.durations.observe(seconds)
        found: Found = UNSAID
        if isinstance(replies, StoreUnavailable):
            found = replies
        elif (answer := plain(replies)) is not None:
            try:
                found = self._judge(*which, *answer, tokens=False)
            except Exception:
                _log.exception("a session could not be judged")
        hear(found)

    def _judge(
        self, key: str, host: str, app: str, record: object, left: int, shared: bytes, *, tokens: bool
    ) -> Stored | None:
        # SECURITY: a session counts only under the host and app that issued it (C-09).
        opened = self._records.open_for(key, host, app, record, tokens=tokens)
        if opened is None:
            return None
        session = opened.session
        if not self._believed(session):
            return None
        remaining = session.remaining(self._now())
        # `left` is negative for a record without a TTL: Redis would keep it for ever, so it is not ours.
        ttl = min(left * _MILLISECOND, session.idle, remaining)
        # A session was opened from it: `record` is bytes.
        if ttl <= _OVER or not isinstance(record, bytes):
            return None
        return Stored(session, ttl, remaining, opened.old_key, record if tokens else b"", opened.record_id, shared)

    async def _read(self, name: str) -> tuple[object, int]:
        """A record and its TTL in milliseconds, as the library reads them: what goes wrong, it names."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.getrange(name, 0, MAX_RECORD)  # bounded: a foreign value may be of any size (C-43)
        pipe.pttl(name)
        record, left = checked(await pipe.execute(raise_on_error=False))
        return record, left
