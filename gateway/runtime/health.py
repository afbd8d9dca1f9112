"""The state of a worker's dependencies, checked in the background and reported by `/ready`.

Each dependency has a state, its time, and its last failure. Only Redis makes a worker unready, because without it no session can be read; with
`redis.outage: serve_cached` not even Redis, while sessions in memory are still valid.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.config.providers import dependency_of
from gateway.directory.account import Directory
from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import ProviderUnavailable
from gateway.observability import events as audit
from gateway.observability.background import repeat
from gateway.observability.events import Audit
from gateway.oidc.provider import Provider
from gateway.oidc.providers import Providers
from gateway.proxy.context import ProxyContext
from gateway.sessions.cache import SessionCache
from gateway.sessions.session_count import SessionCount
from gateway.sessions.store import SessionStore

OK: Final = "ok"
UNHEARD: Final = "unheard"  # Redis answers, but sends no invalidations: every request reads it
SERVING_CACHED: Final = "serving_cached"  # Redis does not answer; sessions in memory are valid for the configured time
DEGRADED: Final = "degraded"  # some endpoints of an app are ejected
UNKNOWN: Final = "unknown"  # the provider's answer does not tell whether it accepts our client authentication
FAILING: Final = "failing"

_SECONDS: Final = 1.0
_PING_SECONDS: Final = 60.0  # of providers and the directory, and between two counts of the sessions


@dataclass(slots=True)
class Dependency:
    """The state of one dependency. `error` is the code of the last failure, `error_at` its time; both stay after recovery."""

    state: str
    since: datetime
    error: str | None = None
    detail: str | None = None
    error_at: datetime | None = None

    def to_json(self, *, required: bool) -> dict[str, Any]:
        """For `/ready`. `required`: whether a failure makes the worker unready."""
        return {
            "state": self.state,
            "since": self.since.isoformat(timespec="seconds"),
            "last_error": self.error,
            "last_error_detail": self.detail,
            "last_error_at": None if self.error_at is None else self.error_at.isoformat(timespec="seconds"),
            "unready": required and self.state == FAILING,
        }


class Health:
    """Checks the dependencies of one worker. `context` has the pools of the apps; `now` gives aware UTC.

    `sessions` is how many there are in Redis, None while that is not known.
    """

    def __init__(
        self,
        session_count: SessionCount,
        store: SessionStore,
        cache: SessionCache,
        providers: Providers,
        directory: Directory | None,
        context: ProxyContext,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self.sessions: int | None = None
        self._session_count = session_count
        self._store = store
        self._cache = cache
        self._providers = providers
        self._directory = directory
        self._pools = context.pools
        self._audit = audit
        self._now = now
        self._dependencies: dict[str, Dependency] = {}

    def report(self) -> dict[str, dict[str, Any]]:
        """The dependencies by name, JSON-able."""
        return {name: one.to_json(required=name == "redis") for name, one in sorted(self._dependencies.items())}

    async def watch(self) -> None:
        """Until cancelled, check all dependencies side by side, so that a slow one delays no other."""
        watches: list[Coroutine[Any, Any, None]] = [
            repeat("health:redis", self._check_redis, _SECONDS),
            self._watch_pools(),
            repeat("sessions:count", self._count_sessions, _PING_SECONDS),
        ]
        watches += [self._watch_provider(dependency_of(client.name), client.provider) for client in self._providers]
        if self._directory is not None:
            watches.append(self._watch_directory(self._directory))
        await asyncio.gather(*watches)

    # --- Redis ----------------------------------------------------------------------------------------------------------

    async def _check_redis(self) -> None:
        refusal: Refusal | None = None
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            refusal = error
        if self._cache.silent and refusal is None:
            refusal = StoreUnavailable("it does not answer on the connection for changes")
        state = OK if self._cache.trusted else UNHEARD
        if refusal is not None:
            state = SERVING_CACHED if self._cache.outlasting else FAILING
        self._emit(state, refusal)
        self._record("redis", state, refusal)

    async def _count_sessions(self) -> None:
        self.sessions = None
        with contextlib.suppress(StoreUnavailable):
            self.sessions = await self._session_count.read()

    def _emit(self, state: str, refusal: Refusal | None) -> None:
        """An event when an outage of Redis begins, changes and ends."""
        known = self._dependencies.get("redis")
        before = known.state if known is not None else OK
        if state in (SERVING_CACHED, FAILING) and state != before:
            policy = "serve_cached" if state == SERVING_CACHED else "refuse"
            self._audit.emit(audit.STORE_UNAVAILABLE, app="-", policy=policy, error=refusal.detail if refusal else None)
        elif state in (OK, UNHEARD) and known is not None and before in (SERVING_CACHED, FAILING):
            seconds = round((self._now() - known.since).total_seconds())
            self._audit.emit(audit.STORE_RECOVERED, app="-", seconds=seconds)

    # --- the others -----------------------------------------------------------------------------------------------------

    async def _watch_provider(self, name: str, provider: Provider) -> None:
        """The last known state, each second; a new request each minute."""
        rounds = 0

        async def check() -> None:
            nonlocal rounds
            due = rounds % (_PING_SECONDS // _SECONDS) == 0
            rounds += 1
            await self._check(name, _ping_provider(provider, now=due))

        await repeat(f"health:{name}", check, _SECONDS)

    async def _watch_directory(self, directory: Directory) -> None:
        await repeat("health:directory", lambda: self._check("directory", directory.ping()), _PING_SECONDS)

    async def _watch_pools(self) -> None:
        async def check() -> None:
            for app, pool in self._pools.items():
                out = [endpoint.ejected for endpoint in pool.endpoints if endpoint.ejected]
                state = OK if not out else FAILING if len(out) == len(pool.endpoints) else DEGRADED
                self._record(f"upstream:{app}", state, _EndpointEjected(out[0]) if out else None)

        await repeat("health:upstreams", check, _SECONDS)

    async def _check(self, name: str, ping: Coroutine[Any, Any, object]) -> None:
        refusal: Refusal | None = None
        try:
            await ping
        except Refusal as error:
            refusal = error
        self._record(name, OK if refusal is None else FAILING, refusal)

    def _record(self, name: str, state: str, refusal: Refusal | None) -> None:
        known = self._dependencies.get(name)
        if known is None or known.state != state:
            fresh = Dependency(state, self._now())
            if known is not None:
                fresh.error, fresh.detail, fresh.error_at = known.error, known.detail, known.error_at
            known = self._dependencies[name] = fresh
        if refusal is not None:
            known.error, known.detail, known.error_at = refusal.code, refusal.detail[:200] or None, self._now()


class _EndpointEjected(Refusal):
    code = "upstream_unavailable"


async def _ping_provider(provider: Provider, *, now: bool) -> None:
    """The last known state; with `now`, a new request. Raises ProviderUnavailable or ProviderFault."""
    if now and provider.ready:
        await provider.ping()
    elif not provider.ready or provider.problem is not None:
        raise ProviderUnavailable(provider.problem or "keys not fetched yet")
