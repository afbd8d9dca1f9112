"""An upstream connection that is no longer anybody's: it serves one session on one client connection, and ends with either (B-60, B-61).

It is used for the client connection's next request to the same app, if that comes with the same session key, and is closed otherwise. Bytes
that arrive while it waits end it, as they end one in the pool. Where it waits because the end of an answer is uncertain, it does so shortly;
where the upstream has authenticated it, as long as the client connection and the session last.
"""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.proxy.pool import Pool
from gateway.proxy.upstream import Serves, UpstreamConnection
from gateway.sessions.cache import LiveSession, SessionCache

_IDLE_SECONDS: Final = 1.0


class Ending(Protocol):
    """The client connection."""

    def session_ended(self) -> None: ...


class Tie:
    """`connection` is tied to `client` and to the session key `key`; `clock` is monotonic seconds."""

    __slots__ = ("_cache", "_client", "_clock", "_key", "_live", "_pool", "connection")

    def __init__(
        self,
        connection: UpstreamConnection,
        pool: Pool,
        client: Ending,
        key: str | None,
        cache: SessionCache,
        clock: Callable[[], float],
    ) -> None:
        self.connection = connection
        self._pool = pool
        self._client = client
        self._key = key
        self._cache = cache
        self._clock = clock
        self._live: LiveSession | None = None

    def wait(self, live: LiveSession | None) -> None:
        """The connection has no work until the next request; `live` is the session that the last one was admitted for."""
        connection = self.connection
        connection.listener = None
        if not connection.alive or connection.paused:
            self.end()
            return
        connection.idle_since = connection.home.answered = self._clock()
        if live is not None and self._live is None:
            self._live = live
            self._cache.attach(live, self._session_ended)

    def is_for(self, pool: Pool, key: str | None) -> bool:
        """Whether a request to `pool` with the session key `key` may have the connection."""
        # SECURITY: what the last answer may still bring is for whom it was for, and so is what the upstream has taken them for (B-60, B-61).
        return pool is self._pool and key == self._key

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """The connection. None: it is closed. What must not be sent twice is sent on one that may be dead only if no other one will do."""
        connection = self.connection
        alive = connection.alive and not connection.transport.is_closing()
        if alive and (repeatable or self._fresh(self._clock())):
            connection.used = True
            return connection
        self.end()
        return None

    def _fresh(self, now: float) -> bool:
        connection = self.connection
        return connection.serves is Serves.SAME_ALWAYS or now - connection.idle_since <= _IDLE_SECONDS

    def sweep(self, now: float) -> bool:
        """Whether it goes on: not when it has waited for long without need, since upstreams have few connections to give."""
        if self.connection.alive and self._fresh(now):
            return True
        self.end()
        return False

    def end(self) -> None:
        """Close the connection. Its exchange, if there is one, hears nothing of that."""
        if self._live is not None:
            self._cache.detach(self._live, self._session_ended)
            self._live = None
        self.connection.abort()

    def _session_ended(self, reason: str) -> None:
        self._live = None
        if self.connection.listener is not None or self.connection.joined is not None:
            self._client.session_ended()  # which ends what is under way, whomever it was admitted for
        else:
            self.connection.abort()
