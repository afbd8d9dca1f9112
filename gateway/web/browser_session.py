"""The session of the requesting browser: find it, replace it, end it.

The invariant: a session that was ended is gone from Redis before a response says so (A-20), and from this worker's cache at once.
"""

from collections.abc import Iterable

from gateway.errors.signing_in import SignInExpired, TooManySessions
from gateway.gate.access import account_of
from gateway.gate.site import START
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.sessions.cache import LiveSession, SessionCache
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.session import Session
from gateway.sessions.session_limit import PROVISIONAL, SessionLimit
from gateway.sessions.store import SessionStore
from gateway.web.request import WebRequest


class BrowserSessions:
    """Sessions of browsers. All methods raise StoreUnavailable: a session that cannot be read neither exists nor has ended (C-43)."""

    def __init__(
        self,
        *,
        store: SessionStore,
        session_limit: SessionLimit,
        endings: LogoutMarkers,
        cache: SessionCache,
        audit: Audit,
    ) -> None:
        self._store = store
        self._session_limit = session_limit
        self._endings = endings
        self._cache = cache
        self._audit = audit

    async def find(self, request: WebRequest) -> LiveSession | None:
        """This browser's session on this host, or None."""
        token = request.token
        key = request.earlier_session if token is None else self._store.key_of(token)
        if key is None:
            return None
        return self._cache.peek(key, request.route.host) or await self._cache.load(
            key, request.route.host, request.route.name
        )

    async def replace(self, request: WebRequest, session: Session, issued_at: int, begun: float | None = None) -> str:
        """Issue a session and end the browser's earlier one in the same step. Returns the new token. `issued_at`, `begun`: as LogoutMarkers.

        Raises TooManySessions; SignInExpired when the provider has ended the sign-in.
        """
        before = await self.find(request)
        limits = request.route.config.session
        if limits.max_per_person is not None:
            token = await self._issue_limited(request, session, limits.max_per_person, before)
        else:
            token = await self._store.issue(session, replaces=None if before is None else before.key)
        if before is not None:
            self._cache.forget(before.key)
            self._emit(request, [before.session], by="new_login")
        # SECURITY: the provider's logout may have arrived before this session was stored, and not found it.
        if await self._endings.covers(session, issued_at, begun):
            await self._store.revoke(self._store.key_of(token))
            raise SignInExpired("ended_by_provider", continue_url=START)
        return token

    async def _issue_limited(self, request: WebRequest, session: Session, most: int, before: LiveSession | None) -> str:
        """Issue one of at most `most` sessions of this person in this app; the token. Raises TooManySessions."""
        token = await self._store.issue(session, at_first=PROVISIONAL)
        key = self._store.key_of(token)
        refuse = request.route.config.session.when_full == "refuse"
        over = await self._session_limit.take(
            key, session, most, refuse=refuse, instead_of=None if before is None else before.key
        )
        if over is None:
            await self._store.revoke(key)
            raise TooManySessions(f"session.max_per_person is {most}", account=account_of(session.identity))
        # SECURITY: the sessions that end for this one, and the browser's old one, are gone before its token is sent (C-40).
        self._emit(request, await self._store.revoke_many(over), by="max_per_person")
        if before is not None:
            await self._store.revoke(before.key)
        await self._store.touch({key: session.idle})
        return token

    async def end(self, request: WebRequest, *, by: str) -> list[Session]:
        """End this browser's session, and with it every session of the same sign-in at the provider, on all apps.

        Without a provider `sid` that is every session of the person. Returns the ended sessions, this browser's first; empty when it had none.
        """
        session = await self.find(request)
        if session is None:
            return []
        who, sid = session.session.identity, session.session.provider_sid
        own = await self._store.revoke(session.key) or session.session
        if sid is not None:
            others = await self._store.revoke_provider_session(who.issuer, sid)
        else:
            others = await self._store.revoke_person(who.issuer, who.subject)
        self._cache.forget(session.key)
        self._emit(request, [own, *others], by=by)
        return [own, *others]

    def _emit(self, request: WebRequest, ended: Iterable[Session], *, by: str) -> None:
        emit_revoked(self._audit, ended, by=by, request_id=request.request_id)


def emit_revoked(to: Audit, ended: Iterable[Session], *, by: str, request_id: str) -> None:
    """One `session.revoked` event for each session; `by` is the reason."""
    for session in ended:
        to.emit(
            audit.SESSION_REVOKED,
            app=session.app,
            session=session.sid,
            request_id=request_id,
            email=session.identity.email,
            by=by,
        )
