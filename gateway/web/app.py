"""The paths that are ours, who answers them, and the one place where a refusal becomes an answer.

A handler takes a `WebRequest`, returns a `RenderedPage` or raises a Refusal. An unexpected exception is logged with its traceback and
shown as 500 without a word of it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.config import schema
from gateway.config.toggles import Registration
from gateway.directory.provisioner import Provisioner
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest, MethodNotAllowed, NotFound
from gateway.gate.site import OWN_JWKS, AppRoute, Site, callback_path
from gateway.hand_off.sign_out import UpstreamSignOut
from gateway.http.message import RequestHead, is_navigation
from gateway.identity.assertion import AssertionSigner
from gateway.observability.events import Audit
from gateway.oidc.providers import Providers
from gateway.pages.renderer import Pages, RenderedPage
from gateway.redis_client.once import Once
from gateway.sessions.cache import SessionCache
from gateway.sessions.keyring import KeyRing
from gateway.sessions.logout_markers import Endings
from gateway.sessions.pending_sign_in import PendingSignIns
from gateway.sessions.session_limit import SessionLimit
from gateway.sessions.store import SessionStore
from gateway.sign_in.begin import SignInStarter
from gateway.web.account_setup import WAIT, AccountSetup
from gateway.web.browser_session import BrowserSessions
from gateway.web.callback import Callback
from gateway.web.provider_logout import BackChannelLogout, FrontChannelLogout
from gateway.web.request import WebRequest, read_request
from gateway.web.sign_out import SIGN_OUT, SIGNED_OUT, SignedOut, SignOut
from gateway.web.start import Start
from gateway.web.userinfo import AssertionKeys, UserInfo

log = logging.getLogger("doorward.web")

BODY_LIMIT: Final = 128 * 1024

Handler = Callable[[WebRequest], Awaitable[RenderedPage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """What the pages are made of. `sign_in` is shared with the data plane; `registration` answers for a surface."""

    providers: Providers
    sites: Mapping[str, Site]
    ring: KeyRing
    pages: Pages
    audit: Audit
    sign_in: SignInStarter
    provisioner: Provisioner
    pending: PendingSignIns
    registration: Callable[[schema.Surface], Registration]
    store: SessionStore
    cache: SessionCache
    marks: Once
    places: SessionLimit
    endings: Endings
    signer: AssertionSigner
    upstreams: UpstreamSignOut
    now: Callable[[], datetime]


def build_app(parts: WebParts) -> web.Application:
    """The control plane. Nothing it answers is stored by anybody, except the public keys."""
    app = web.Application(client_max_size=BODY_LIMIT)
    front = Front(parts.sites, parts.pages)
    for path, methods in paths(parts).items():
        app.router.add_route("*", path, front.answering(methods))
    app.router.add_route("*", "/{anything:.*}", front.answering({}))
    return app


def paths(parts: WebParts) -> dict[str, dict[str, Handler]]:
    """Each path of ours, and what answers each method. HEAD is named where asking changes nothing."""
    sessions = BrowserSessions(
        store=parts.store, places=parts.places, endings=parts.endings, cache=parts.cache, audit=parts.audit
    )
    start = Start(parts.sign_in)
    setting_up = AccountSetup(
        registration=parts.registration,
        provisioner=parts.provisioner,
        pending=parts.pending,
        store=parts.store,
        sessions=sessions,
        pages=parts.pages,
        audit=parts.audit,
        now=parts.now,
    )
    callback = Callback(
        providers=parts.providers,
        setting_up=setting_up,
        store=parts.store,
        sessions=sessions,
        sign_in=parts.sign_in,
        pages=parts.pages,
        audit=parts.audit,
        now=parts.now,
    )
    sign_out = SignOut(
        providers=parts.providers,
        sessions=sessions,
        sign_in=parts.sign_in,
        ring=parts.ring,
        pages=parts.pages,
        audit=parts.audit,
        upstreams=parts.upstreams,
    )
    signed_out = SignedOut(ring=parts.ring, guard=parts.sign_in.guard, pages=parts.pages)
    userinfo, keys = UserInfo(sessions), AssertionKeys(parts.signer)
    return {
        "/oauth2/start": {"GET": start, "HEAD": start, "POST": start},
        **{callback_path(client.name): {"GET": callback} for client in parts.providers},
        WAIT: {"GET": setting_up},
        SIGN_OUT: {"GET": sign_out, "HEAD": sign_out, "POST": sign_out},
        SIGNED_OUT: {"GET": signed_out, "HEAD": signed_out},
        "/oauth2/userinfo": {"GET": userinfo, "HEAD": userinfo},
        **_logouts(parts, sessions),
        OWN_JWKS: {"GET": keys, "HEAD": keys},
    }


def _logouts(parts: WebParts, sessions: BrowserSessions) -> dict[str, dict[str, Handler]]:
    """Where the provider says that somebody signed out."""
    back = BackChannelLogout(
        providers=parts.providers,
        store=parts.store,
        marks=parts.marks,
        endings=parts.endings,
        audit=parts.audit,
        now=parts.now,
    )
    front = FrontChannelLogout(sessions=sessions, providers=parts.providers, audit=parts.audit)
    return {"/oauth2/backchannel-logout": {"POST": back}, "/oauth2/frontchannel-logout": {"GET": front}}


class Front:
    """aiohttp on one side, Asked and Page on the other."""

    def __init__(self, sites: Mapping[str, Site], pages: Pages) -> None:
        self._sites = sites
        self._pages = pages

    def answering(self, methods: Mapping[str, Handler]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The aiohttp handler of one path; without methods, of every path that does not exist."""

        async def answer(request: web.Request) -> web.Response:
            route: AppRoute | None = None
            try:
                asked = read_request(request, await _read_body(request), self._sites)
                route = asked.route
                return _response(await _handler(methods, asked)(asked))
            except Refusal as refusal:
                return _response(self._refusal(request, refusal, route))
            except Exception:
                log.exception("a page failed")
                return _response(self._refusal(request, Refusal(), route))

        return answer

    def _refusal(self, request: web.Request, refusal: Refusal, route: AppRoute | None) -> RenderedPage:
        head = RequestHead(request.method, b"", b"", list(request.raw_headers))
        request_id = request.headers.get("X-Request-Id", "-")
        return self._pages.render(refusal, html=is_navigation(head), request_id=request_id, app=route)


def _handler(methods: Mapping[str, Handler], asked: WebRequest) -> Handler:
    """Raises NotFound or MethodNotAllowed."""
    if not methods:
        raise NotFound(asked.path)
    handler = methods.get(asked.head.method)
    if handler is None:
        raise MethodNotAllowed(asked.head.method, allow=methods)
    return handler


async def _read_body(request: web.Request) -> bytes:
    if not request.can_read_body:
        return b""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise BadRequest("the body is too large") from error


def _response(page: RenderedPage) -> web.Response:
    return web.Response(status=page.status, body=page.body, headers=CIMultiDict(page.headers))


def runner_of(app: web.Application, limits: schema.Limits) -> web.AppRunner:
    """What serves the connections that the data plane hands over."""
    app.on_response_prepare.append(_without_banner)
    limit = 2 * limits.head  # the data plane judged the head; its re-serialised form is somewhat longer
    return web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        auto_decompress=False,
        max_line_size=limit,
        max_field_size=limit,
        max_headers=limits.headers + 32,
    )


async def _without_banner(request: web.Request, response: web.StreamResponse) -> None:
    """No version of ours in any answer (B-46)."""
    response.headers.popall("Server", None)
