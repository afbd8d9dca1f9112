"""`/oauth2/sessions`: where a person is signed in, on all apps, and the end of one of these sessions or of all others.

The sessions are those of the same issuer and subject, found by the index and not by a scan. What ends is named by its public handle, which
events and applications know: so it is looked up among the person's own.
"""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC
from typing import Final

from gateway.errors.access import CrossSiteRequest
from gateway.gate.access import account_of
from gateway.gate.site import OWN_SESSIONS, start_url
from gateway.languages.message import Message
from gateway.observability.events import Audit
from gateway.oidc.providers import Providers
from gateway.pages.links import Link
from gateway.pages.renderer import Content, Pages, RenderedPage, Row, redirect
from gateway.sessions.cache import LiveSession, SessionCache
from gateway.sessions.scan import SessionFilter, SessionScan
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.sessions.user_agent import device_of
from gateway.sign_in.return_to import HOME
from gateway.web.browser_session import BrowserSessions, emit_revoked
from gateway.web.request import WebRequest
from gateway.web.sign_out import SIGN_OUT, is_same_origin
from gateway.web.token_revocation import TokenRevocation

_SHOWN: Final = 50
_OTHERS: Final = "others"


class OwnSessions:
    """`GET, POST /oauth2/sessions`. A POST has `end`: a handle, or `others`. Raises CrossSiteRequest, StoreUnavailable."""

    def __init__(
        self,
        *,
        scan: SessionScan,
        store: SessionStore,
        cache: SessionCache,
        sessions: BrowserSessions,
        providers: Providers,
        pages: Pages,
        audit: Audit,
    ) -> None:
        self._scan = scan
        self._store = store
        self._cache = cache
        self._sessions = sessions
        self._revoke_tokens = TokenRevocation(providers, audit)
        self._pages = pages
        self._audit = audit

    async def __call__(self, request: WebRequest) -> RenderedPage:
        # SECURITY: a form on another site must not end a person's sessions (C-49).
        if request.head.method == "POST" and not is_same_origin(request):
            raise CrossSiteRequest("sessions", retry_url=OWN_SESSIONS)
        own = await self._sessions.find(request)
        if own is None:
            return redirect(303, start_url(OWN_SESSIONS, ui_locales=request.languages.ui_locales))
        found = await self._of_person(own)
        if request.head.method == "POST":
            return await self._end(request, own, found)
        return self._pages.show(_content(own, found), request.page_context(OWN_SESSIONS))

    async def _of_person(self, own: LiveSession) -> dict[str, Session]:
        """All sessions of the person by their keys, the newest first."""
        who = own.session.identity
        selection = SessionFilter(issuer=who.issuer, subject=who.subject)
        found: dict[str, Session] = {}
        async with aclosing(self._scan.batches(selection)) as batches:
            async for entries in batches:
                for each in entries:
                    # SECURITY: the record says whose a session is; the index only where to look (C-84).
                    if each.session is not None and _is_of(own.session, each.session):
                        found[each.key] = each.session
        return dict(sorted(found.items(), key=lambda item: item[1].created_at, reverse=True))

    async def _end(self, request: WebRequest, own: LiveSession, found: Mapping[str, Session]) -> RenderedPage:
        wanted = request.parameters.one("end")
        # SECURITY: a handle is no secret: only one of the person's own sessions ends by it (C-84).
        keys = [key for key, each in found.items() if key != own.key and wanted in (_OTHERS, each.sid)]
        ended = await self._store.revoke_many(keys)
        for key in keys:
            self._cache.forget(key)
        emit_revoked(self._audit, ended, by="person", request_id=request.request_id)
        await self._revoke_tokens(ended, request.request_id)
        return redirect(303, OWN_SESSIONS)


def _is_of(own: Session, other: Session) -> bool:
    return (own.identity.issuer, own.identity.subject) == (other.identity.issuer, other.identity.subject)


def _content(own: LiveSession, found: Mapping[str, Session]) -> Content:
    others = [each for key, each in found.items() if key != own.key]
    alone = Message("own_sessions.alone", "You are signed in in this browser only.")
    several = Message(
        "own_sessions.message", "These browsers are signed in as you, here and on the other sites of the same sign-in."
    )
    kept = Message(
        "own_sessions.note",
        "Until you sign out there, a browser may be able to sign in again without a password. If you do not know it, "
        "change your password where you sign in.",
    )
    hidden = Message("own_sessions.hidden", "{count} older ones are not shown.").fill(count=str(len(others) - _SHOWN))
    return Content(
        code="own_sessions",
        tone="locked",
        title=Message("own_sessions.title", "Where you are signed in"),
        message=several if others else alone,
        note=None if not others else hidden if len(others) > _SHOWN else kept,
        account=account_of(own.session.identity),
        rows=(_row(own.session, this=True), *(_row(each) for each in others[:_SHOWN])),
        form_action=OWN_SESSIONS if others else "",
        form_label=Message("own_sessions.end_others", "End all other sessions"),
        form_fields=(("end", _OTHERS),),
        links=(
            Link(label=Message("page.home", "Go to the home page"), href=HOME),
            Link(label=Message("page.sign_out", "Sign out"), href=SIGN_OUT),
        ),
    )


def _row(session: Session, *, this: bool = False) -> Row:
    began = f"{session.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return Row(
        title=device_of(session.user_agent) or Message("own_sessions.unknown", "Unknown browser"),
        mark=Message("own_sessions.this", "This browser") if this else None,
        facts=(
            (Message("own_sessions.site", "Site"), session.key_host),
            (Message("own_sessions.since", "Signed in"), began),
            (Message("own_sessions.address", "Address"), session.address or "-"),
        ),
        form_label=None if this else Message("own_sessions.end", "End this session"),
        form_fields=(("end", session.sid),),
    )
