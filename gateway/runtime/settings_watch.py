"""The saved settings in the parent process: the file as it was loaded last, and what was saved over it.

A change of the saved settings starts the next generation of workers from the file as it was loaded, so that it brings nothing else with it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gateway.config.loader import Loaded, Resolved, judged, read
from gateway.config.overlay import NOTHING_SAVED, SavedSettings, set_aside
from gateway.config.schema import Config
from gateway.observability.events import Audit
from gateway.redis_client.client import RedisClient, connect, push_sources
from gateway.redis_client.invalidation import end_task
from gateway.runtime.health import DEGRADED, OK, Dependency
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.follower import FollowerParts, SettingsFollower
from gateway.saved_settings.record import NO_RECORD
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.fleet_time import FleetTime
from gateway.sessions.keyring import KeyRing

_log = logging.getLogger("doorward.settings")
_POOL_SIZE: Final = 4
_WAIT_SECONDS: Final = 1.0


class ConfigSource:
    """The file with its environment, and the settings over it. `keep` and `apply` say what the workers run with."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path: Final = path
        self.saved: SavedSettings = NOTHING_SAVED
        self._environ = environ
        self._read = self._kept = Resolved(data={})

    def from_file(self, saved: SavedSettings) -> Loaded:
        """The file as it is now. Raises ConfigInvalid."""
        self._read = read(self.path, self._environ)
        return judged(self._read, saved)

    def as_loaded(self, saved: SavedSettings) -> Loaded:
        """The file as it was when it was kept, with these settings. Raises ConfigInvalid."""
        self._read = self._kept
        return judged(self._kept, saved)

    @property
    def for_console(self) -> dict[str, Any]:
        """The file that was made last, for the process that shows where each value comes from."""
        return self._read.to_json()

    def keep(self, saved: SavedSettings) -> None:
        """The workers run with what was made last. The log says what is over the file, and what of it does not count."""
        aside = set_aside(self._read, saved)
        if saved.version != self.saved.version:
            keys = ", ".join(sorted(saved.values.keys() - aside.keys())) or "nothing"
            _log.info("saved settings: version %d is in force; over the file: %s", saved.version, keys)
        for key, why in aside.items():
            _log.warning("saved settings: %s does not count: %s", key, why)
        self._kept, self.saved = self._read, saved


class SettingsWatch:
    """Follows the saved settings. `on_change()` is called when others are in force; it does not block."""

    def __init__(self, audit: Audit, on_change: Callable[[], None]) -> None:
        self._audit = audit
        self._on_change = on_change
        self._redis: RedisClient | None = None
        self._follower: SettingsFollower | None = None
        self._clock_task: asyncio.Task[None] | None = None
        self._config: Config | None = None
        self._since = datetime.now(UTC)

    @property
    def in_force(self) -> SavedSettings:
        return NOTHING_SAVED if self._follower is None else self._follower.in_force

    async def start(self, config: Config, redis_url: str | None, stopping: asyncio.Event) -> SavedSettings:
        """Learn what is in force, and follow it from now on. Raises RuntimeError when the process stops while Redis is waited for."""
        if self._config is not None and (self._config.redis, self._config.keys) == (config.redis, config.keys):
            return self.in_force
        record = NO_RECORD if self._follower is None else self._follower.record
        await self.close()
        self._config = config
        prefix = config.redis.key_prefix
        self._redis = connect(config.redis, redis_url, pool_size=_POOL_SIZE)
        fleet_time = FleetTime(self._redis, prefix, time.monotonic, time.time)
        self._follower = SettingsFollower(
            FollowerParts(
                store=SettingsStore(self._redis, KeyRing(config.keys), prefix), copy=SettingsCopy(config.redis.data_dir),
                sources=push_sources(self._redis, config.redis, redis_url), audit=self._audit, clock=time.monotonic, now=fleet_time.now,
            ),
            self._on_change, record,
        )  # fmt: skip
        await self._begin(self._follower, config, stopping)
        self._clock_task = asyncio.create_task(fleet_time.run())
        self._follower.start()
        return self.in_force

    async def _begin(self, follower: SettingsFollower, config: Config, stopping: asyncio.Event) -> None:
        await follower.begin()
        edited = config.console is not None and config.console.settings == "edit"
        # SECURITY: Redis out of reach, and no copy on this machine: the file may open what was closed on the page (C-97).
        while edited and not follower.reached and not follower.record.revision:
            _log.error(
                "waiting for Redis: without it, and without a copy in redis.data_dir, the saved settings are not known"
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _WAIT_SECONDS)
                raise RuntimeError("Redis did not answer, and the process stops")
            await follower.begin()

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            await self._follower.close()
        if self._clock_task is not None:
            await end_task(self._clock_task)
        if self._redis is not None:
            await self._redis.aclose()

    def refuse(self, settings: SavedSettings, why: str) -> None:
        """The workers keep what they had, because these settings cannot be used."""
        if self._follower is not None:
            self._follower.refuse(settings, why)

    def report(self) -> dict[str, dict[str, Any]]:
        """For `/ready`; empty where nothing was saved and nothing is wrong."""
        follower = self._follower
        if follower is None or (follower.problem is None and not follower.record.revision):
            return {}
        problem = follower.problem
        state = Dependency(OK if problem is None else DEGRADED, self._since)
        if problem is not None:
            state.error, state.detail = f"settings_{problem.reason}", problem.detail[:200]
            state.since = state.error_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - problem.since)
        return {"settings": state.to_json(required=False)}

    @property
    def confirm_by(self) -> float | None:
        """Until when the newest version waits for its confirmation, in seconds since 1970."""
        newest = self._follower.record.newest if self._follower is not None else None
        return newest.confirm_by if newest is not None else None
