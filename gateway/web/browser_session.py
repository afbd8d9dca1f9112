"""The session of the browser that asks: found, replaced, ended.

The invariant: what was ended is dead in Redis before any answer says so (A-20), and this worker's cache forgets it at once.
"""

from collections.abc import Iterable

from gateway.errors.signing_in import SignInExpired, TooManySessions
from gateway.gate.access import account_of
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.sessions.cache import LiveSession, SessionCache
from gateway.sessions.logout_markers import Endings
from gateway.sessions.session import Session
from gateway.sessions.session_limit import PROVISIONAL, SessionLimit
from gateway.sessions.store import SessionStore
from gateway.web.request import WebRequest


class BrowserSessions:
    """All methods raise StoreUnavailable: a session that cannot be looked up is neither there nor gone (C-43)."""

    def __init__(
        self, *, store: SessionStore, places: SessionLimit, endings: Endings, cache: SessionCache, audit: Audit
    ) -> None:
        self._store = store
        self._places = places
        self._endings = endings
        self._cache = cache
        self._audit = audit

    async def live(self, asked: WebRequest) -> LiveSession | None:
        """This browser's session on this host, if it has one that is alive."""
        token = asked.token
        if token is None:
            return None
        key = self._store.key_of(token)
        return self._cache.peek(key, asked.route.host) or await self._cache.load(
            key, asked.route.host, asked.route.name
        )

    async def replace(self, asked: WebRequest, session: Session, issued_at: int, begun: float | None = None) -> str:
        """Issue a session and end the browser's earlier one in the same step; the new token. `issued_at` and `begun` as for Endings.

        Raises TooManySessions; SignInExpired when the provider ended the sign-in meanwhile.
        """
        before = await self.live(asked)
        limits = asked.route.config.session
        if limits.max_per_person is not None:
            token = await self._issue_limited(asked, session, limits.max_per_person, before)
        else:
            token = await self._store.issue(session, replaces=None if before is None else before.key)
        if before is not None:
            self._cache.forget(before.key)
            self._tell(asked, [before.session], by="new_login")
        # SECURITY: the provider's log-out may have overtaken this login; it could not find what was not stored yet.
        if await self._endings.cover(session, issued_at, begun):
            await self._store.revoke(self._store.key_of(token))
            raise SignInExpired("ended_by_provider", continue_url="/oauth2/start")
        return token

    async def _issue_limited(self, asked: WebRequest, session: Session, most: int, before: LiveSession | None) -> str:
        """One of at most `most` sessions of this person in this app."""
        token = await self._store.issue(session, at_first=PROVISIONAL)
        key = self._store.key_of(token)
        refuse = asked.route.config.session.when_full == "refuse"
        over = await self._places.take(
            key, session, most, refuse=refuse, instead_of=None if before is None else before.key
        )
        if over is None:
            await self._store.revoke(key)
            raise TooManySessions(f"session.max_per_person is {most}", account=account_of(session.identity))
        # SECURITY: what ends for this session, and the browser's old one, are dead before its token is handed out (C-40).
        self._tell(asked, await self._store.revoke_many(over), by="max_per_person")
        if before is not None:
            await self._store.revoke(before.key)
        await self._store.touch({key: session.idle})
        return token

    async def end(self, asked: WebRequest, *, by: str) -> list[Session]:
        """End this browser's session, and with it every session of the same sign-in at the provider, on all apps.

        Without a provider `sid` that is every session of the person. Returns this browser's first; nothing when it had none.
        """
        live = await self.live(asked)
        if live is None:
            return []
        who, sid = live.session.identity, live.session.provider_sid
        own = await self._store.revoke(live.key) or live.session
        if sid is not None:
            others = await self._store.revoke_provider_session(who.issuer, sid)
        else:
            others = await self._store.revoke_person(who.issuer, who.subject)
        self._cache.forget(live.key)
        self._tell(asked, [own, *others], by=by)
        return [own, *others]

    def _tell(self, asked: WebRequest, ended: Iterable[Session], *, by: str) -> None:
        tell_revoked(self._audit, ended, by=by, request_id=asked.request_id)


def tell_revoked(to: Audit, ended: Iterable[Session], *, by: str, request_id: str) -> None:
    for session in ended:
        to.event(
            audit.SESSION_REVOKED,
            app=session.app,
            session=session.sid,
            request_id=request_id,
            email=session.identity.email,
            by=by,
        )
