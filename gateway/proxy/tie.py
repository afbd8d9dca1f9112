"""An upstream connection that serves one session on one client connection, and ends with either (B-60, B-61).

It is used for the client connection's next request to the same app, if that comes with the same session key, and is closed otherwise. Bytes
that arrive while it waits end it, as they end one in the pool. Where it waits because the end of a response is uncertain, it does so for a
second; where the upstream has authenticated it, as long as the client connection and the session last.
"""

from collections.abc import Callable
from typing import Final

from gateway.gate.request import Request
from gateway.http.request_head import ParsedRequest, came_by_proxy
from gateway.proxy.pool import Pool
from gateway.proxy.upstream import Reuse, UpstreamConnection
from gateway.sessions.cache import LiveSession, SessionCache

_IDLE_SECONDS: Final = 1.0


class Tie:
    """`connection` is tied to a client connection, which `abort` ends, and to the session key `key`; `clock` is monotonic seconds."""

    __slots__ = ("_abort", "_cache", "_clock", "_key", "_pool", "_session", "connection")

    def __init__(
        self,
        connection: UpstreamConnection,
        pool: Pool,
        abort: Callable[[], None],
        key: str | None,
        cache: SessionCache,
        clock: Callable[[], float],
    ) -> None:
        self.connection = connection
        self._pool = pool
        self._abort = abort
        self._key = key
        self._cache = cache
        self._clock = clock
        self._session: LiveSession | None = None

    def wait(self, session: LiveSession | None) -> None:
        """The connection has no work until the next request; `session` is the one that the last request was admitted for."""
        connection = self.connection
        connection.listener = None
        if not connection.alive or connection.paused:
            self.end()
            return
        connection.idle_since = connection.home.answered = self._clock()
        if session is not None and self._session is None:
            self._session = session
            self._cache.attach(session, self._on_session_end)

    def is_for(self, pool: Pool, key: str | None) -> bool:
        """Whether a request to `pool` with the session key `key` may have the connection."""
        # SECURITY: what the last response may still bring belongs to its session, and so does the connection that the upstream has
        # authenticated (B-60, B-61).
        return pool is self._pool and key == self._key

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """The connection. None: it is closed. A request that must not be sent twice gets one that may be dead only where no other will do."""
        connection = self.connection
        alive = connection.alive and not connection.transport.is_closing()
        if alive and (repeatable or self._fresh(self._clock())):
            connection.used = True
            return connection
        self.end()
        return None

    def _fresh(self, now: float) -> bool:
        connection = self.connection
        return connection.reuse is Reuse.SESSION or now - connection.idle_since <= _IDLE_SECONDS

    def sweep(self, now: float) -> bool:
        """Whether it goes on: not when it has waited for long without need, since upstreams have few connections to give."""
        if self.connection.alive and self._fresh(now):
            return True
        self.end()
        return False

    def end(self) -> None:
        """Close the connection. Its exchange, if there is one, is not called."""
        if self._session is not None:
            self._cache.detach(self._session, self._on_session_end)
            self._session = None
        self.connection.abort()

    def _on_session_end(self, reason: str) -> None:
        self._session = None
        if self.connection.listener is not None or self.connection.joined is not None:
            self._abort()  # which ends the exchange or tunnel on it, whichever session that was admitted for
        else:
            self.connection.abort()


class TieHolder:
    """The tie of one client connection, at most one."""

    __slots__ = ("_abort", "_cache", "_clock", "tie")

    def __init__(self, abort: Callable[[], None], cache: SessionCache, clock: Callable[[], float]) -> None:
        """`abort` ends the client connection."""
        self.tie: Tie | None = None
        self._abort = abort
        self._cache = cache
        self._clock = clock

    def keep(self, connection: UpstreamConnection, pool: Pool, request: Request[ParsedRequest]) -> None:
        """Tie the connection that `request` leaves, or close it where no later request may have it."""
        key = request.session_key if request.session is None else request.session.key
        always = connection.reuse is Reuse.SESSION
        # SECURITY: a trusted proxy's connection carries many people, and so may any that claims to be a proxy's. Without a session no later
        # request is the same person's, unless the upstream itself has authenticated the connection (B-60, B-61).
        if request.trusted or (key is None and (not always or came_by_proxy(request.head))):
            self.end()
            connection.abort()
            return
        tie = self.tie
        if tie is None or tie.connection is not connection:
            self.end()
            tie = self.tie = Tie(connection, pool, self._abort, key, self._cache, self._clock)
        session = request.session
        if session is None and key is not None:
            session = self._cache.peek(key, request.site.route.host)  # of a person on a public page
        tie.wait(session)

    def sweep(self, now: float) -> None:
        """Called now and then while there is no request."""
        if self.tie is not None and not self.tie.sweep(now):
            self.tie = None

    def end(self) -> None:
        """Close the tied connection, if there is one."""
        tie, self.tie = self.tie, None
        if tie is not None:
            tie.end()
