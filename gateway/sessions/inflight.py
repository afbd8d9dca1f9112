"""Sessions on their way from Redis into a worker's memory: asked for once by all who ask at once, never believed when it was announced meanwhile
that they changed.

Nothing here waits: whoever asks is told later. A request's session is usually read without a Task.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.sessions.live import LiveSession, live_from
from gateway.sessions.records import Found, SessionRef, Stored, Unanswered
from gateway.sessions.renewal_hook import RenewalHook
from gateway.sessions.store import SessionStore

#: Hears of a session, None where there is none; or of the reason why nobody can say.
Hear = Callable[[LiveSession | None, Refusal | None], None]


class InflightRead:
    """One reading of a record. `hearers` are told of it: each with whether the attendant is to be asked first.

    `shared`: whoever asks now may wait for it. `spoiled`: the record was announced as changed since the reading began. `begun` on the worker's
    monotonic clock, `attempts` how often Redis was asked.
    """

    __slots__ = ("attempts", "begun", "hearers", "shared", "spoiled", "which")

    def __init__(self, which: SessionRef, hear: Hear, *, attended: bool, shared: bool) -> None:
        self.which = which
        self.hearers = [(hear, attended)]
        self.shared = shared
        self.spoiled = False
        self.begun = 0.0
        self.attempts = 0


class InflightReads:
    """Those under way, by key."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[InflightRead]] = {}

    def shared(self, which: SessionRef) -> InflightRead | None:
        """The reading that whoever asks now may wait for."""
        for reading in self._under_way.get(which[0], ()):
            if reading.shared and reading.which == which:
                return reading
        return None

    def mark(self, reading: InflightRead) -> None:
        """It begins."""
        key = reading.which[0]
        others = self._under_way.get(key)
        if others is None:
            self._under_way[key] = [reading]
        else:
            others.append(reading)

    def over(self, reading: InflightRead) -> None:
        key = reading.which[0]
        readings = self._under_way[key]
        readings.remove(reading)
        if not readings:
            del self._under_way[key]

    def spoil(self, key: str) -> None:
        """A record changed."""
        _spoil(self._under_way.get(key, ()))

    def spoil_all(self) -> None:
        """Any record may have changed."""
        for readings in self._under_way.values():
            _spoil(readings)


def _spoil(readings: Iterable[InflightRead]) -> None:
    """Whoever asks from here on starts a reading of their own."""
    for reading in readings:
        reading.spoiled = True
        reading.shared = False


_log = logging.getLogger("doorward.sessions")
_ATTEMPTS: Final = 3
_PATIENCE: Final = 5.0  # seconds that a request waits for the attendant


class SessionLoader:
    """`clock` is monotonic; `trusted` says whether changes are heard.

    `arrived(which, live, spoiled)` is told of each session that was read, and of each that is not there, before who asked for it.
    """

    def __init__(
        self,
        store: SessionStore,
        attendant: RenewalHook,
        clock: Callable[[], float],
        trusted: Callable[[], bool],
        arrived: Callable[[SessionRef, LiveSession | None, bool], None],
    ) -> None:
        self._store = store
        self._attendant = attendant
        self._clock = clock
        self._trusted = trusted
        self._arrived = arrived
        self._readings = InflightReads()
        self._tasks: set[asyncio.Task[None]] = set()
        self.spoil = self._readings.spoil
        self.spoil_all = self._readings.spoil_all

    def ask(self, which: SessionRef, hear: Hear, *, attended: bool = True) -> None:
        """Have the session told to `hear`, later.

        `attended`: where the attendant has begun something worth waiting for, as it is afterwards.
        """
        trusted = self._trusted()
        # SECURITY: unheard changes spoil no reading, so nobody may share one that began before a sign-out (C-44).
        shared = self._readings.shared(which) if trusted else None
        if shared is not None:
            shared.hearers.append((hear, attended))
            return
        reading = InflightRead(which, hear, attended=attended, shared=trusted)
        # SECURITY: the mark comes before the GET: an announcement may overtake its reply (C-44).
        self._readings.mark(reading)
        self._begin(reading)

    def _begin(self, reading: InflightRead) -> None:
        reading.spoiled = False
        reading.attempts += 1
        reading.begun = self._clock()
        self._store.ask(reading.which, partial(self._found, reading))

    async def _fetch(self, reading: InflightRead) -> None:
        try:
            found: Found = await self._store.fetch(*reading.which, tokens=False)
        except StoreUnavailable as error:
            found = error
        except asyncio.CancelledError:
            self._over(reading, None, StoreUnavailable("the worker ends"))
            raise
        except Exception:
            _log.exception("a session could not be read")
            self._over(reading, None, Refusal("defect"))
            return
        self._found(reading, found)

    def _found(self, reading: InflightRead, found: Found) -> None:
        if isinstance(found, Unanswered):
            self._in_background(self._fetch(reading))
        elif isinstance(found, StoreUnavailable):
            self._over(reading, None, found)
        else:
            self._judge(reading, found)

    def _judge(self, reading: InflightRead, found: Stored | None) -> None:
        live, error = None, None
        try:
            if found is not None:
                live = live_from(reading.which[0], found, reading.begun)
                self._attendant.schedule(live, reading.begun)
            if reading.spoiled and reading.attempts < _ATTEMPTS:
                self._begin(reading)
                return
            self._arrived(reading.which, live, reading.spoiled)
        except Exception:
            _log.exception("a session could not be kept")
            live, error = None, Refusal("defect")
        self._over(reading, live, error)

    def _over(self, reading: InflightRead, live: LiveSession | None, error: Refusal | None) -> None:
        self._readings.over(reading)
        due = live is not None and self._clock() >= live.attention_due
        for hear, attended in reading.hearers:
            try:
                if due and attended and live is not None:
                    self._attend(reading.which, live, hear)
                else:
                    hear(live, error)
            except Exception:
                _log.exception("a session could not be told of")  # the others wait for it too

    def _attend(self, which: SessionRef, live: LiveSession, hear: Hear) -> None:
        try:
            begun = self._attendant.attend(live, self._clock())
        except Exception:
            _log.exception("a session could not be attended to")
            hear(None, Refusal("defect"))
            return
        if begun is None:
            hear(live, None)
        else:
            self._in_background(self._after(begun, which, hear))

    async def _after(self, begun: "asyncio.Future[Any]", which: SessionRef, hear: Hear) -> None:
        await asyncio.wait((begun,), timeout=_PATIENCE)
        self.ask(which, hear, attended=False)

    def _in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
