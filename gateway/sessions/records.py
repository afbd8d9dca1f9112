"""A session's record in Redis: the host, the app and the ID of the sealing key in the open, the rest sealed.

The invariant: a record that opens was sealed by a key of this ring, for this very key in Redis, host, app and format.
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
from gateway.redis_client.client import Operations, raise_refused, values_of
from gateway.redis_client.limits import MAX_RECORD
from gateway.redis_client.pipelined_reader import RecordReader, Replies, record_of
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import SEAL_BYTES, KeyRing, joined
from gateway.sessions.session import VERSION, Session, decode, encode

HEAD: Final = 1024  # bytes that certainly hold the open part
_MAGIC: Final = b"DW%d" % VERSION
_VERSION: Final = joined((str(VERSION),))  # how every context begins


class Opened(NamedTuple):
    """`old_key`: another key than the ring's first one sealed it. `record_id` differs for every record that is ever sealed."""

    session: Session
    old_key: bool
    record_id: bytes


class Records:
    """`prefix` is what record keys begin with in Redis."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("session")
        self._prefix = prefix
        self._bindings: dict[tuple[str, str], _Binding] = {}  # by host and app, of which there are a few

    def seal(self, key: str, session: Session) -> bytes:
        """The record of a session, sealed with the ring's first key. Raises ValueError when it is too large."""
        binding = _binding(session.key_host, session.app)
        return binding.head + self._ring.seal_in(encode(session), self._context(key, binding))

    def open(self, key: str, record: object) -> Session | None:
        """The session in a record; None for bytes that were not sealed by this ring, for this key."""
        if not isinstance(record, bytes) or not record.startswith(_MAGIC):
            return None
        try:
            host, app, _ = _parts(record)
        except ValueError:
            return None
        opened = self._open(key, _binding(host, app), record, tokens=True)
        return None if opened is None else opened.session

    def open_for(self, key: str, host: str, app: str, record: object, *, tokens: bool = True) -> Opened | None:
        """The session in a record of this host and app; None as `open`. `tokens=False` leaves the tokens out."""
        binding = self._bindings.get((host, app))
        if binding is None:
            binding = self._bindings[host, app] = _binding(host, app)
        return self._open(key, binding, record, tokens=tokens)

    def _open(self, key: str, binding: "_Binding", record: object, *, tokens: bool) -> Opened | None:
        if not isinstance(record, bytes) or not record.startswith(binding.head) or len(record) > MAX_RECORD:
            return None
        sealed = record[len(binding.head) :]
        try:
            plain = self._ring.open_in(sealed, self._context(key, binding))
            return Opened(decode(plain, tokens=tokens), not self._ring.is_first(sealed), sealed[:SEAL_BYTES])
        except ValueError:
            return None

    def seal_again(self, key: str, record: bytes) -> bytes:
        """A record with the same content, byte for byte, of any release, sealed with the ring's first key.

        Raises ValueError when no key opens it.
        """
        host, app, sealed = _parts(record)
        binding = _binding(host, app)
        context = self._context(key, binding)
        return binding.head + self._ring.seal_in(self._ring.open_in(sealed, context), context)

    def place_of_key(self, record: object) -> int | None:
        """The place in the ring of the key whose ID is in a record, or in its first HEAD bytes: 0 for the first, None for none."""
        if not isinstance(record, bytes) or not record.startswith(_MAGIC):
            return None
        try:
            return self._ring.place_of(_parts(record)[2])
        except ValueError:
            return None

    def _context(self, key: str, binding: "_Binding") -> bytes:
        # SECURITY: a record copied under another key, host, app or format does not open (C-08, C-43).
        name = (self._prefix + key).encode()
        return b"%b%b%b%b" % (_VERSION, len(name).to_bytes(4, "big"), name, binding.tail)


class _Binding(NamedTuple):
    """A host with its app: the beginning of its records, and the end of the context that they are sealed in."""

    head: bytes
    tail: bytes


def _binding(host: str, app: str) -> _Binding:
    names = b"".join(len(text).to_bytes(2, "big") + text for text in (host.encode(), app.encode()))
    return _Binding(_MAGIC + names, joined((host, app)))


def _parts(record: bytes) -> tuple[str, str, bytes]:
    """Host, app, and the sealed part. Raises ValueError."""
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
    """Seal records with the first key where another one sealed them; how many. A few round trips for each hundred.

    Raises StoreUnavailable.
    """
    count = 0
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        pipe = redis.pipeline(transaction=False)
        for key in some:
            pipe.getrange(prefix + key, 0, MAX_RECORD)
        read = zip(some, await _execute(pipe), strict=True)
        opened = [
            (key, record, session)
            for key, record in read
            if (session := records.open(key, record)) is not None and records.place_of_key(record) != 0
        ]
        # The index first: its old name is lost with the old key, and a session without an index cannot be ended by a logout token.
        await indexes.enter(redis, [(key, session) for key, _, session in opened])
        pipe = redis.pipeline(transaction=False)
        for key, record, _ in opened:
            pipe.eval(_SWAP, 1, prefix + key, record, records.seal_again(key, record), str(MAX_RECORD))
        count += sum(await _execute(pipe))
    return count


async def _execute(pipe: Pipeline) -> list[Any]:
    """The replies. Raises StoreUnavailable when a command was refused."""
    replies: list[Any] = await pipe.execute(raise_on_error=False)
    raise_refused(replies)
    return replies


async def swap(redis: Redis, name: str, before: bytes, record: bytes) -> bool:
    """Put `record` in the place of `before`, if that is still there. The script has one key, so it runs on any cluster."""
    swapped: Awaitable[Any] = redis.eval(_SWAP, 1, name, before, record, str(MAX_RECORD))
    return bool(await swapped)


_log = logging.getLogger("doorward.sessions")
_MILLISECOND: Final = timedelta(milliseconds=1)
_OVER: Final = timedelta(0)


SessionRef = tuple[str, str, str]  # key, host, app


class Stored(Struct, frozen=True, gc=False):
    """A session as Redis has it: `ttl` until it ends unless it is touched, `remaining` until it ends in any case.

    `old_key`: another key than the ring's first one sealed it. `record` are the bytes that it was read from, for `SessionStore.rewrite`,
    and `record_id` identifies them. `shared` are the identity fields that a worker shared, sealed.
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
    """The pipelined reader has no result: read with `fetch`."""


UNANSWERED: Final = Unanswered()
#: A session; None: there is none for this host and app; StoreUnavailable: Redis could not be read.
Found = Stored | StoreUnavailable | Unanswered | None


class SessionReader:
    """Reads sessions. Record keys begin with `prefix`, keys of shared identity fields with `shared_prefix`; `now`, `accepts` and `reader` as
    for SessionStore."""

    def __init__(
        self,
        redis: Redis,
        records: Records,
        prefix: str,
        shared_prefix: str,
        durations: Histogram,
        now: Callable[[], datetime],
        accepts: Callable[[Session], bool],
        reader: RecordReader | None,
    ) -> None:
        self._redis = redis
        self._records = records
        self._prefix = prefix
        self._shared_prefix = shared_prefix
        self._durations = durations
        self._operations = Operations(redis, "session_read")
        self._now = now
        self._accepts = accepts
        self._reader = reader

    async def fetch(self, key: str, host: str, app: str, *, tokens: bool = True) -> Stored | None:
        """The session, read with the library. `tokens=False` leaves the tokens out. Raises StoreUnavailable."""
        record, left = await self._operations.run(self._read_record(self._prefix + key))
        return self._validate(key, host, app, record, left, b"", tokens=tokens)

    def read(self, session_ref: SessionRef, on_result: Callable[[Found], None]) -> None:
        """Read the session, without its tokens, with the pipelined reader. `on_result` is called now or later, and must not raise."""
        key, reader = session_ref[0], self._reader
        on_replies = partial(self._on_replies, session_ref, on_result)
        if reader is None or not reader.read(
            (self._prefix + key).encode(), (self._shared_prefix + key).encode(), on_replies
        ):
            on_result(UNANSWERED)

    def _on_replies(
        self, session_ref: SessionRef, on_result: Callable[[Found], None], replies: Replies, seconds: float
    ) -> None:
        self._durations.observe(seconds)
        found: Found = UNANSWERED
        if isinstance(replies, StoreUnavailable):
            found = replies
        elif (answer := record_of(replies)) is not None:
            try:
                found = self._validate(*session_ref, *answer, tokens=False)
            except Exception:
                _log.exception("a session's record could not be read")
        on_result(found)

    def _validate(
        self, key: str, host: str, app: str, record: object, left: int, shared: bytes, *, tokens: bool
    ) -> Stored | None:
        # SECURITY: a session counts only under the host and app that issued it (C-09).
        opened = self._records.open_for(key, host, app, record, tokens=tokens)
        if opened is None:
            return None
        session = opened.session
        if not self._accepts(session):
            return None
        remaining = session.remaining(self._now())
        # `left` is negative for a record without a TTL: Redis would keep it for ever, so it is not ours.
        ttl = min(left * _MILLISECOND, session.idle, remaining)
        # A session was opened from it: `record` is bytes.
        if ttl <= _OVER or not isinstance(record, bytes):
            return None
        return Stored(session, ttl, remaining, opened.old_key, record if tokens else b"", opened.record_id, shared)

    async def _read_record(self, name: str) -> tuple[object, int]:
        """A record and its TTL in milliseconds, read with the library. Raises StoreUnavailable, RedisError."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.getrange(name, 0, MAX_RECORD)  # bounded: a foreign value may be of any size (C-43)
        pipe.pttl(name)
        record, left = values_of(await pipe.execute(raise_on_error=False))
        return record, left
