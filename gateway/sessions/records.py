"""What a session looks like in Redis: a sealed record that says in the open only for which host and app it is, and by which key it was sealed.

No I/O. The invariant: what opens was sealed by a key of this ring, for this very key in Redis, host, app and format.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.counters import Histogram
from gateway.redis_client.client import Operations, unavailable, values_of
from gateway.redis_client.limits import MAX_RECORD
from gateway.redis_client.pipelined_reader import RecordReader, Replies, record_of
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import SEAL_BYTES, KeyRing, joined
from gateway.sessions.session import VERSION, Session, decode, encode

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


_BATCH: Final = 100

# SECURITY: a plain SET would bring back a session that was ended since it was read, or lengthen its life (C-44, C-46).
_SWAP: Final = (
    "if redis.call('GETRANGE', KEYS[1], 0, ARGV[3]) ~= ARGV[1] then return 0 end"
    " redis.call('SET', KEYS[1], ARGV[2], 'XX', 'KEEPTTL') return 1"
)


async def reseal(redis: Redis, prefix: str, records: Records, indexes: Indexes, keys: Sequence[str]) -> int:
    """Seal these records with the first key where they are not; how many were. A few round trips for many. Raises StoreUnavailable."""
    count = 0
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        pipe = redis.pipeline(transaction=False)
        for key in some:
            pipe.getrange(prefix + key, 0, MAX_RECORD)
        read = zip(some, await _done(pipe), strict=True)
        opened = [
            (key, record, session)
            for key, record in read
            if (session := records.open(key, record)) is not None and records.place_of_key(record) != 0
        ]
        # The index first: its old name is lost with the old key, and a session that no index knows cannot be ended from afar.
        await indexes.enter(redis, [(key, session) for key, _, session in opened])
        pipe = redis.pipeline(transaction=False)
        for key, record, _ in opened:
            pipe.eval(_SWAP, 1, prefix + key, record, records.seal_again(key, record), str(MAX_RECORD))
        count += sum(await _done(pipe))
    return count


async def _done(pipe: Pipeline) -> list[Any]:
    """The replies. Raises StoreUnavailable when a command was refused."""
    replies: list[Any] = await pipe.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
    return replies


async def swap(redis: Redis, name: str, before: bytes, record: bytes) -> bool:
    """Put `record` in the place of `before`, if that is still there. One key only, so that it runs on any cluster."""
    swapped: Awaitable[Any] = redis.eval(_SWAP, 1, name, before, record, str(MAX_RECORD))
    return bool(await swapped)


_log = logging.getLogger("doorward.sessions")
_MILLISECOND: Final = timedelta(milliseconds=1)
_OVER: Final = timedelta(0)


SessionRef = tuple[str, str, str]  # key, host, app


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


class Unanswered:
    """No plain answer: `fetch` must say."""


UNSAID: Final = Unanswered()
#: What was found; None: no session, for whoever asks; StoreUnavailable: nobody can say.
Found = Stored | StoreUnavailable | Unanswered | None


class Fetching:
    """`prefix` is what record keys begin with, `beside` the keys of what is shared; `now`, `believed` and `reader` as for SessionStore."""

    def __init__(
        self,
        redis: Redis,
        records: Records,
        prefix: str,
        beside: str,
        durations: Histogram,
        now: Callable[[], datetime],
        believed: Callable[[Session], bool],
        reader: RecordReader | None,
    ) -> None:
        self._redis = redis
        self._records = records
        self._prefix = prefix
        self._beside = beside
        self._durations = durations
        self._operations = Operations(durations)
        self._now = now
        self._believed = believed
        self._reader = reader

    async def fetch(self, key: str, host: str, app: str, *, tokens: bool = True) -> Stored | None:
        """The session by way of the library; with all that is in its record, or without its tokens. Raises StoreUnavailable."""
        record, left = await self._operations.run(self._read(self._prefix + key))
        return self._judge(key, host, app, record, left, b"", tokens=tokens)

    def ask(self, which: SessionRef, hear: Callable[[Found], None]) -> None:
        """Have the session, without its tokens, told to `hear`, now or later, who must not raise."""
        key, reader = which[0], self._reader
        told = partial(self._told, which, hear)
        if reader is None or not reader.read((self._prefix + key).encode(), (self._beside + key).encode(), told):
            hear(UNSAID)

    def _told(self, which: SessionRef, hear: Callable[[Found], None], replies: Replies, seconds: float) -> None:
        self._durations.observe(seconds)
        found: Found = UNSAID
        if isinstance(replies, StoreUnavailable):
            found = replies
        elif (answer := record_of(replies)) is not None:
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
        record, left = values_of(await pipe.execute(raise_on_error=False))
        return record, left
