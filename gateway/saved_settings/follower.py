"""What one parent process knows of the saved settings: pushed by Redis, read every second, kept when Redis has them no more.

The invariant: the known record only ever gets a higher rank, and the values in force follow from it and the clock alone. Redis that is
out of reach, was emptied, or holds a record that was altered or is older, changes nothing; what it holds is replaced by the known record,
because a replica that starts later must not begin with the file. Only a later revision, sealed with the key ring, changes settings.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.config.overlay import SavedSettings
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability import events as audit
from gateway.observability.background import repeat
from gateway.observability.events import Audit
from gateway.redis_client.invalidation import InvalidationListener, Sources, end_task
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.record import NO_RECORD, SettingsRecord, SettingsVersion
from gateway.saved_settings.store import SettingsStore

_log = logging.getLogger("doorward.settings")
_BEGIN_SECONDS: Final = 10.0
_STAYS_REPORTED: Final = 60.0  # seconds, so that each scrape of /ready sees a loss that was mended
_RECENT: Final = 3600.0  # seconds: of a version that is older, the event was emitted by those who ran then
_EVENTS: Final = {
    "saved": audit.SETTINGS_SAVED,
    "rolled_back": audit.SETTINGS_ROLLED_BACK,
    "reset": audit.SETTINGS_RESET,
}
AUTOMATIC: Final = "doorward"
NOT_CONFIRMED: Final = "not confirmed in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerParts:
    """`clock` is monotonic, `now` gives seconds since 1970 by the clock of the fleet, `tick` is in seconds."""

    store: SettingsStore
    copy: SettingsCopy
    sources: Sources
    audit: Audit
    clock: Callable[[], float]
    now: Callable[[], float]
    tick: float = 1.0


@dataclass(slots=True)
class SettingsProblem:
    """Why the saved settings are not as they should be. Times are on the monotonic clock; `mended_at` is None while it lasts."""

    reason: str
    detail: str
    since: float
    mended_at: float | None = None


class SettingsFollower:
    """`on_change()` is called when other settings are in force than `in_force` said before; it does not block.

    `record` is what another follower of this process knew.
    """

    def __init__(self, parts: FollowerParts, on_change: Callable[[], None], record: SettingsRecord = NO_RECORD) -> None:
        self._store = parts.store
        self._copy = parts.copy
        self._audit = parts.audit
        self._clock = parts.clock
        self._now = parts.now
        self._tick = parts.tick
        self._on_change = on_change
        self.record = record
        self.in_force: SavedSettings = record.in_force(parts.now())
        self.reached = False  # whether Redis was read
        self._value = b""  # the sealed record as it was read last; empty: not read yet
        self._problem: SettingsProblem | None = None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._invalidation = InvalidationListener(
            parts.sources, parts.store.prefix,
            on_change=lambda key: self._changed.set() if key == "record" else None,
            on_reset=self._changed.set, on_trust_lost=lambda: None, before_trust=_nothing,
            clock=parts.clock, ping_every=parts.tick,
        )  # fmt: skip

    async def begin(self) -> None:
        """Learn the record from the copy and from Redis, before the first worker starts."""
        self._read_copy()
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                await self._step()
        except (StoreUnavailable, TimeoutError) as error:
            self._unreachable(str(error))
        self.in_force = self.record.in_force(self._now())

    def start(self) -> None:
        """Follow the record in the running loop."""
        work = (self._invalidation.run(), repeat("settings", self._follow))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        """Stop, and close the connections."""
        await asyncio.gather(*map(end_task, self._tasks))
        await self._invalidation.close()

    @property
    def problem(self) -> SettingsProblem | None:
        """What is wrong, or was until a minute ago."""
        found = self._problem
        if found is not None and found.mended_at is not None and self._clock() >= found.mended_at + _STAYS_REPORTED:
            self._problem = found = None
        return found

    def refuse(self, settings: SavedSettings, why: str) -> None:
        """These settings cannot be used with this process's file: the workers keep what they had."""
        self._report("invalid", f"version {settings.version}: {why}", audit.SETTINGS_REFUSED)

    # --- in the background --------------------------------------------------------------------------------------------

    async def _follow(self) -> float:
        left = self._tick
        if self.record.pending(self._now()) is not None:
            assert self.record.newest is not None
            assert self.record.newest.confirm_by is not None
            left = min(left, max(self.record.newest.confirm_by - self._now(), 0.0) + 0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()
        self._changed.clear()
        try:
            await self._step()
        except StoreUnavailable as error:
            self._unreachable(error.detail)
        self._put_in_force()
        return 0.0

    async def _step(self) -> None:
        """One round. Raises StoreUnavailable."""
        there = await self._store.read()
        self.reached = True
        value = there if there and there == self._value else await self._judge(there)
        if value and self._store.needs_new_seal(value):
            renewed = self._store.seal(self.record)
            if await self._store.swap(value, renewed):
                self._keep(renewed)
        if (
            (value or not (there or self.record.revision))
            and self._problem is not None
            and self._problem.mended_at is None
        ):
            self._problem.mended_at = None if self._problem.reason == "invalid" else self._clock()
        await self._roll_back()

    async def _judge(self, value: bytes) -> bytes:
        """Adopt a value of a higher rank; replace any other by the known one. The value that is there then. Raises StoreUnavailable."""
        if not value:
            if self.record.revision == 0:
                return b""
            self._report("missing", "Redis holds no saved settings any more", audit.SETTINGS_LOST)
            return await self._restore(value)
        try:
            found = self._store.open(value)
        except ValueError as error:
            self._report("altered", f"the record in Redis is not used: {error}", audit.SETTINGS_REFUSED)
            return await self._restore(value)
        if found == self.record:
            self._keep(value)
            return value
        if found.rank < self.record.rank:
            # SECURITY: an earlier record of ours, put back by a writer to Redis or from a backup, brings no earlier settings back (C-96).
            detail = f"Redis holds revision {found.revision}, known is {self.record.revision}"
            self._report("replayed", detail, audit.SETTINGS_REFUSED)
            return await self._restore(value)
        before, self.record = self.record, found
        self._keep(value)
        await self._emit_versions(before, found)
        return value

    async def _restore(self, there: bytes) -> bytes:
        """Put the known record in the place of what is there. Raises StoreUnavailable."""
        if self.record.revision == 0:
            return b""
        # SECURITY: a replica that starts after a loss would begin with the file, and open what was closed (C-97).
        value = self._store.seal(self.record)
        if not await self._store.swap(there, value):
            self._changed.set()
            return b""
        self._keep(value)
        self._audit.emit(audit.SETTINGS_RESTORED, app="-", version=self.in_force.version)
        return value

    async def _roll_back(self) -> None:
        """Write down that a version was not confirmed in time. One process of the fleet does. Raises StoreUnavailable."""
        expired = self.record.expired(self._now())
        if expired is None or not self._value:
            return
        before = self.record
        rolled = before.rolled_back(AUTOMATIC, NOT_CONFIRMED, self._now())
        value = self._store.seal(rolled)
        if await self._store.swap(self._value, value):
            self.record = rolled
            self._keep(value)
            await self._emit_versions(before, rolled)
        else:
            self._changed.set()

    def _put_in_force(self) -> None:
        settings = self.record.in_force(self._now())
        if settings.values != self.in_force.values:
            if self._problem is not None and self._problem.reason == "invalid":
                self._problem = None
            self.in_force = settings
            self._on_change()
        else:
            self.in_force = settings

    # --- the copy -----------------------------------------------------------------------------------------------------

    def _keep(self, value: bytes) -> None:
        self._value = value
        try:
            if self._copy.read() != value:
                self._copy.write(value)
        except OSError as error:
            _log.error("the copy of the saved settings cannot be written to %s: %s", self._copy.path, error.strerror)

    def _read_copy(self) -> None:
        try:
            value = self._copy.read()
            found = self._store.open(value) if value else NO_RECORD
        except OSError as error:
            _log.error("the copy of the saved settings cannot be read from %s: %s", self._copy.path, error.strerror)
        except ValueError as error:
            self._report("altered", f"{self._copy.path} is not used: {error}", audit.SETTINGS_REFUSED)
        else:
            self.record = max(self.record, found, key=lambda record: record.rank)

    # --- problems and events ------------------------------------------------------------------------------------------

    def _unreachable(self, detail: str) -> None:
        if self.record.revision:
            self._report("unreachable", f"Redis: {detail}", audit.SETTINGS_LOST)

    def _report(self, reason: str, detail: str, event: str) -> None:
        """Log it and emit its event, once for as long as it lasts."""
        known = self._problem
        if known is None or known.reason != reason or known.mended_at is not None:
            _log.error("saved settings: %s; in force stays version %d", detail, self.in_force.version)
            self._audit.emit(event, app="-", reason=reason, version=self.in_force.version)
            self._problem = SettingsProblem(reason, detail, self._clock())

    async def _emit_versions(self, before: SettingsRecord, after: SettingsRecord) -> None:
        """The events of what happened between two records; one process of the fleet emits each."""
        known = before.newest.number if before.newest is not None else 0
        for version in after.versions:
            if version.number > known and self._now() - version.at < _RECENT:
                await self._emit(version, after, _EVENTS[version.kind], version.by, version.reason)
            if version.confirmed_at is not None and self._now() - version.confirmed_at < _RECENT:
                earlier = before.version(version.number)
                if earlier is None or earlier.confirmed_at is None:
                    await self._emit(version, after, audit.SETTINGS_CONFIRMED, version.confirmed_by, version.reason)

    async def _emit(self, version: SettingsVersion, record: SettingsRecord, event: str, by: str, reason: str) -> None:
        first = True
        with contextlib.suppress(StoreUnavailable):
            first = await self._store.first(f"{event}:{version.number}:{version.at}")
        if not first:
            return
        earlier = record.version(version.number - 1)
        was = earlier.values if earlier is not None else {}
        keys = sorted(key for key in was.keys() | version.values.keys() if was.get(key) != version.values.get(key))
        self._audit.emit(
            event, app="-", session=version.session or None, version=version.number, by=by, reason=reason,
            keys=", ".join(keys) or "-", restores=version.restores,
        )  # fmt: skip


async def _nothing() -> None:
    """Nothing has to happen before the announcements count."""
