"""Sign-out by the provider: `POST /oauth2/backchannel-logout`, `GET /oauth2/frontchannel-logout`.

The invariant: only a logout token that passed every check ends a session, and the response is 200 only when every session it names is gone from
Redis. The front channel is a page in a frame: it ends only the sign-in of the browser that loads it (A-32).
OpenID Connect Back-Channel Logout 1.0, Front-Channel Logout 1.0.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import LogoutTokenInvalid
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.id_token import read_unverified
from gateway.oidc.logout import LogoutClaims, receive_logout_token
from gateway.oidc.providers import ProviderClient, Providers
from gateway.pages.renderer import RenderedPage, as_json
from gateway.redis_client.once import Once
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.web.browser_session import BrowserSessions, emit_revoked
from gateway.web.request import WebRequest, parse_form

log = logging.getLogger("doorward.web")

LONGEST_TOKEN: Final = 64 * 1024


class BackChannelLogout:
    """Responds with 200, 400 and an OAuth error, or 5xx; with 200 only when the sessions have ended."""

    def __init__(
        self,
        *,
        providers: Providers,
        store: SessionStore,
        once: Once,
        endings: LogoutMarkers,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._providers = providers
        self._store = store
        self._once = once
        self._endings = endings
        self._audit = audit
        self._now = now

    async def __call__(self, request: WebRequest) -> RenderedPage:
        received = self._endings.moment()
        try:
            token = _logout_token(request)
            client = self._issuing(token)
            claims = await receive_logout_token(token, client.provider, self._now())
            ended = await self._end_once(claims, client.settings.clock_skew, received)
        except LogoutTokenInvalid as refusal:
            log.warning("logout token refused: %s (%s) request %s", refusal.reason, refusal.detail, request.request_id)
            return as_json(400, {"error": "invalid_request", "error_description": f"logout_token: {refusal.reason}"})
        emit_revoked(self._audit, ended, by="backchannel", request_id=request.request_id)
        self._audit.emit(
            audit.LOGOUT, app=request.route.name, request_id=request.request_id, kind="backchannel", sessions=len(ended)
        )
        return as_json(200, {})

    def _issuing(self, token: str) -> ProviderClient:
        """The provider whose keys must have signed the token. Raises LogoutTokenInvalid."""
        # SECURITY: the unverified token only selects whose keys to try: every check is that provider's, and only its sessions end.
        clients = list(self._providers)
        unverified = read_unverified(token)
        client = (
            clients[0]
            if len(clients) == 1
            else self._providers.of_issuer(str(unverified.get("iss")), unverified.get("aud"))
        )
        if client is None:
            raise LogoutTokenInvalid("issuer")
        return client

    async def _end_once(self, claims: LogoutClaims, skew: timedelta, received: float) -> list[Session]:
        """The ended sessions. Raises LogoutTokenInvalid for a replayed token; StoreUnavailable: the provider may retry."""
        name = f"logout\n{claims.issuer}\n{claims.jti}"
        # SECURITY: a replayed logout token would end the sessions that the person began since.
        keep = max(claims.exp - self._now() + 2 * skew, timedelta(minutes=2))
        if not await self._once.begin(name, keep):
            raise LogoutTokenInvalid("replayed")
        ended = await self._end(claims, received)
        await self._once.finish(name, keep)
        return ended

    async def _end(self, claims: LogoutClaims, received: float) -> list[Session]:
        # SECURITY: first the marker, then the search: a login under way reads the marker, or its session is found.
        await self._endings.write(
            claims.issuer, sid=claims.sid, sub=claims.sub, issued_at=claims.issued_at, received=received
        )
        if claims.sid is None:
            return await self._store.revoke_person(claims.issuer, claims.sub or "")
        ended = await self._store.revoke_provider_session(claims.issuer, claims.sid)
        if claims.sub is not None:
            # SECURITY: a session without a provider sid may be the one that the token means, so it ends too.
            ended += await self._store.revoke_person(claims.issuer, claims.sub, only_without_sid=True)
        return ended


def _logout_token(request: WebRequest) -> str:
    """The one `logout_token` of the form. Raises LogoutTokenInvalid."""
    kind = (request.field(b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise LogoutTokenInvalid("not_a_form")
    try:
        values = [value for name, value in parse_form(request.body.decode("ascii")) if name == "logout_token"]
    except (Refusal, UnicodeError) as error:
        raise LogoutTokenInvalid("not_a_form") from error
    # SECURITY: of two tokens, two parsers take different ones; and no provider signs one this long.
    if len(values) != 1 or len(values[0]) > LONGEST_TOKEN:
        raise LogoutTokenInvalid("token_count_or_size")
    return values[0]


class FrontChannelLogout:
    """`GET /oauth2/frontchannel-logout?iss=&sid=`, in a frame of the provider's page. The response is the same in every case."""

    def __init__(self, *, sessions: BrowserSessions, providers: Providers, audit: Audit) -> None:
        self._sessions = sessions
        self._providers = providers
        self._audit = audit

    async def __call__(self, request: WebRequest) -> RenderedPage:
        page = _framed_page(self._framing(request))
        session = await self._sessions.find(request)
        if session is None or not _names(request, session.session):
            return page
        ended = await self._sessions.end(request, by="frontchannel")
        if ended:
            self._audit.emit(
                audit.LOGOUT,
                app=request.route.name,
                session=ended[0].sid,
                request_id=request.request_id,
                kind="frontchannel",
            )
        return page.plus(("Set-Cookie", request.site.cookie.clear_header()))

    def _framing(self, request: WebRequest) -> str:
        """The origin that may frame the page: the only provider's, or the one that `iss` names. Raises ProviderUnavailable."""
        clients = list(self._providers)
        client = clients[0] if len(clients) == 1 else self._providers.of_issuer(request.param("iss") or "", None)
        if client is None:
            return "'none'"
        origin = urlsplit(client.provider.metadata.authorization_endpoint)
        return f"{origin.scheme}://{origin.netloc}"


def _names(request: WebRequest, session: Session) -> bool:
    # SECURITY: without both, any page with a frame could sign people out.
    return (
        session.provider_sid is not None
        and request.param("iss") == session.identity.issuer
        and request.param("sid") == session.provider_sid
    )


def _framed_page(provider_origin: str) -> RenderedPage:
    return RenderedPage(
        status=200,
        headers=[
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", f"default-src 'none'; base-uri 'none'; frame-ancestors {provider_origin}"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ],
        body=b"<!doctype html><title>Signed out</title>",
    )
