"""What this worker knows of everything that it depends on: asked again and again in the background, and told by `/ready`.

Each dependency has a state, since when, and what was last wrong with it. Only Redis makes a worker unready: without it nobody can be told
from a stranger. With `redis.outage: serve_cached` not even that, as long as sessions in memory go on.
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
from gateway.observability.events import Audit
from gateway.oidc.provider import Provider
from gateway.oidc.providers import Providers
from gateway.proxy.context import ProxyContext
from gateway.sessions.cache import SessionCache
from gateway.sessions.store import SessionStore

OK: Final = "ok"
UNHEARD: Final = "unheard"  # Redis answers, but does not announce changes: every request asks it
SERVING_CACHED: Final = (
    "serving_cached"  # Redis does not answer; sessions in memory go on for the time that was configured
)
DEGRADED: Final = "degraded"  # some addresses of an application do not answer
FAILING: Final = "failing"

_SECONDS: Final = 1.0
_ASK_SECONDS: Final = 60.0  # providers and the directory are asked once a minute


@dataclass(slots=True)
class Dependency:
    """`error` is the code of the last failure, `error_at` when it was; both stay when all is well again."""

    state: str
    since: datetime
    error: str | None = None
    detail: str | None = None
    error_at: datetime | None = None

    def to_json(self, *, required: bool) -> dict[str, Any]:
        return {
            "state": self.state,
            "since": self.since.isoformat(timespec="seconds"),
            "last_error": self.error,
            "last_error_detail": self.detail,
            "last_error_at": None if self.error_at is None else self.error_at.isoformat(timespec="seconds"),
            "unready": required and self.state == FAILING,
        }


class Health:
    """`door` knows the applications' addresses; `now` gives aware UTC. The directory is None where nobody is asked."""

    def __init__(
        self,
        store: SessionStore,
        cache: SessionCache,
        providers: Providers,
        directory: Directory | None,
        door: ProxyContext,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cache = cache
        self._providers = providers
        self._directory = directory
        self._pools = door.pools
        self._audit = audit
        self._now = now
        self._known: dict[str, Dependency] = {}

    def report(self) -> dict[str, dict[str, Any]]:
        """By name, JSON-able."""
        return {name: one.to_json(required=name == "redis") for name, one in sorted(self._known.items())}

    async def watch(self) -> None:
        """Until cancelled. Whoever answers slowly holds up nobody else's question."""
        watches: list[Coroutine[Any, Any, None]] = [self._again(_SECONDS, self._look_at_redis), self._watch_pools()]
        watches += [self._watch_provider(dependency_of(client.name), client.provider) for client in self._providers]
        if self._directory is not None:
            watches.append(self._watch_directory(self._directory))
        await asyncio.gather(*watches)

    # --- Redis ----------------------------------------------------------------------------------------------------------

    async def _look_at_redis(self) -> None:
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
        self._tell(state, refusal)
        self._note("redis", state, refusal)

    def _tell(self, state: str, refusal: Refusal | None) -> None:
        """An operator hears of the beginning, the change and the end of an outage."""
        known = self._known.get("redis")
        before = known.state if known is not None else OK
        if state in (SERVING_CACHED, FAILING) and state != before:
            policy = "serve_cached" if state == SERVING_CACHED else "refuse"
            self._audit.emit(audit.STORE_UNAVAILABLE, app="-", policy=policy, error=refusal.detail if refusal else None)
        elif state in (OK, UNHEARD) and known is not None and before in (SERVING_CACHED, FAILING):
            seconds = round((self._now() - known.since).total_seconds())
            self._audit.emit(audit.STORE_RECOVERED, app="-", seconds=seconds)

    # --- the others -----------------------------------------------------------------------------------------------------

    async def _watch_provider(self, name: str, provider: Provider) -> None:
        """What was heard last; asked anew once a minute."""
        rounds = 0

        async def ask() -> None:
            nonlocal rounds
            due = rounds % (_ASK_SECONDS // _SECONDS) == 0
            rounds += 1
            await self._check(name, _ask_provider(provider, now=due))

        await self._again(_SECONDS, ask)

    async def _watch_directory(self, directory: Directory) -> None:
        await self._again(_ASK_SECONDS, lambda: self._check("directory", directory.ping()))

    async def _watch_pools(self) -> None:
        async def look() -> None:
            for app, pool in self._pools.items():
                out = [replica.ejected for replica in pool.replicas if replica.ejected]
                state = OK if not out else FAILING if len(out) == len(pool.replicas) else DEGRADED
                self._note(f"upstream:{app}", state, _Out(out[0]) if out else None)

        await self._again(_SECONDS, look)

    async def _check(self, name: str, question: Coroutine[Any, Any, object]) -> None:
        refusal: Refusal | None = None
        try:
            await question
        except Refusal as error:
            refusal = error
        self._note(name, OK if refusal is None else FAILING, refusal)

    async def _again(self, seconds: float, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            with contextlib.suppress(Refusal):
                await step()
            await asyncio.sleep(seconds)

    def _note(self, name: str, state: str, refusal: Refusal | None) -> None:
        known = self._known.get(name)
        if known is None or known.state != state:
            fresh = Dependency(state, self._now())
            if known is not None:
                fresh.error, fresh.detail, fresh.error_at = known.error, known.detail, known.error_at
            known = self._known[name] = fresh
        if refusal is not None:
            known.error, known.detail, known.error_at = refusal.code, refusal.detail[:200] or None, self._now()


class _Out(Refusal):
    code = "upstream_unavailable"


async def _ask_provider(provider: Provider, *, now: bool) -> None:
    """What was heard last; asked anew now and then. Raises ProviderUnavailable or ProviderFault."""
    if now and provider.ready:
        await provider.ping()
    elif not provider.ready or provider.problem is not None:
        raise ProviderUnavailable(provider.problem or "keys not fetched yet")
