"""An upstream connection that is no longer anybody's: it serves one session on one client connection, and ends with either (B-60).

It is used for the client connection's next request to the same app, if that comes with the same session key, and is closed otherwise. Bytes
that arrive while it waits end it, as they end one in the pool.
"""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.proxy.pool import Pool
from gateway.proxy.upstream import UpstreamConnection
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
        key: str,
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

    def take(self, pool: Pool, key: str | None, *, repeatable: bool) -> UpstreamConnection | None:
        """The connection, for a request to `pool` with the session key `key`. None: it is closed, and the request needs another."""
        connection = self.connection
        alive = connection.alive and not connection.transport.is_closing()
        # SECURITY: what the last answer may still bring is for the person that it was for (B-60).
        ours = pool is self._pool and key == self._key
        if alive and ours and (repeatable or self._clock() - connection.idle_since <= _IDLE_SECONDS):
            connection.used = True
            return connection
        self.end()
        return None

    def sweep(self, now: float) -> bool:
        """Whether it goes on: not when it has been idle for long, since upstreams have few connections to give."""
        connection = self.connection
        if connection.alive and now - connection.idle_since <= _IDLE_SECONDS:
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
