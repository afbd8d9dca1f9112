"""Doorward's own paths and their handlers, and the one place where a refusal becomes a response.

A handler takes a `WebRequest` and returns a `RenderedPage` or raises a Refusal. An unexpected exception is logged with its
traceback; the response is a 500 without its text.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.config import schema
from gateway.config.providers import providers_of
from gateway.config.toggles import Registration
from gateway.directory.provisioner import Provisioner
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest, MethodNotAllowed, NotFound
from gateway.gate.site import (
    FORM,
    LOGIN_TEST,
    OWN_CALLBACK,
    OWN_JWKS,
    OWN_SESSIONS,
    START,
    Site,
    callback_path,
    start_url,
)
from gateway.hand_off.sign_out import UpstreamSignOut
from gateway.held_forms.store import HeldForms
from gateway.http.message import RequestHead, is_navigation
from gateway.identity.assertion import AssertionSigner
from gateway.languages.negotiation import PreferredLanguages
from gateway.observability.events import Audit
from gateway.oidc.providers import Providers
from gateway.pages.links import PageContext
from gateway.pages.renderer import Pages, RenderedPage
from gateway.redis_client.once import Once
from gateway.sessions.cache import SessionCache
from gateway.sessions.keyring import KeyRing
from gateway.sessions.login_tests import LoginTests
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.pending_sign_in import PendingSignIns
from gateway.sessions.redemptions import Redemptions
from gateway.sessions.scan import SessionScan
from gateway.sessions.session_limit import SessionLimit
from gateway.sessions.store import SessionStore
from gateway.sign_in.address_rate import AddressRate
from gateway.sign_in.begin import SignInStarter
from gateway.sign_in.return_to import HOME, is_local
from gateway.web.account_setup import WAIT, AccountSetup
from gateway.web.browser_session import BrowserSessions
from gateway.web.callback import Callback
from gateway.web.held_form import HeldFormPage
from gateway.web.login_test import LoginTestPage
from gateway.web.own_sessions import OwnSessions
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
    """What the handlers share. `sign_in` is the data plane's as well; `registration` gives the policy of a surface."""

    config: schema.Config
    providers: Providers
    login_tests: LoginTests
    sites: Mapping[str, Site]
    ring: KeyRing
    pages: Pages
    audit: Audit
    sign_in: SignInStarter
    provisioner: Provisioner
    pending: PendingSignIns
    redemptions: Redemptions
    failed_callbacks: AddressRate
    forms: HeldForms
    registration: Callable[[schema.Surface], Registration]
    store: SessionStore
    scan: SessionScan
    cache: SessionCache
    once: Once
    session_limit: SessionLimit
    endings: LogoutMarkers
    signer: AssertionSigner
    upstreams: UpstreamSignOut
    now: Callable[[], datetime]


def build_app(parts: WebParts) -> web.Application:
    """The control plane's application. No response may be cached, except the public keys."""
    app = web.Application(client_max_size=BODY_LIMIT)
    adapter = AiohttpAdapter(parts.sites, parts.pages)
    for path, methods in paths(parts).items():
        app.router.add_route("*", path, adapter.handler_for(methods))
    app.router.add_route("*", "/{anything:.*}", adapter.handler_for({}))
    return app


def paths(parts: WebParts) -> dict[str, dict[str, Handler]]:
    """The handlers by path and method. HEAD is there where GET changes nothing."""
    sessions = BrowserSessions(
        store=parts.store, session_limit=parts.session_limit, endings=parts.endings, cache=parts.cache, audit=parts.audit,
    )  # fmt: skip
    held_form = HeldFormPage(forms=parts.forms, sessions=sessions, pages=parts.pages, audit=parts.audit)
    own_sessions = OwnSessions(
        scan=parts.scan, store=parts.store, cache=parts.cache, sessions=sessions, providers=parts.providers, pages=parts.pages,
        audit=parts.audit,
    )  # fmt: skip
    userinfo, keys = UserInfo(sessions), AssertionKeys(parts.signer)
    return {
        **_sign_ins(parts, sessions),
        OWN_SESSIONS: {"GET": own_sessions, "HEAD": own_sessions, "POST": own_sessions},
        FORM: {"GET": held_form, "HEAD": held_form, "POST": held_form},
        "/oauth2/userinfo": {"GET": userinfo, "HEAD": userinfo},
        **_sign_outs(parts, sessions),
        OWN_JWKS: {"GET": keys, "HEAD": keys},
    }


def _sign_ins(parts: WebParts, sessions: BrowserSessions) -> dict[str, dict[str, Handler]]:
    """The endpoints of a sign-in."""
    start = Start(parts.sign_in)
    account_setup = AccountSetup(
        registration=parts.registration,
        provisioner=parts.provisioner,
        pending=parts.pending,
        store=parts.store,
        sessions=sessions,
        pages=parts.pages,
        audit=parts.audit,
        now=parts.now,
    )
    login_test = LoginTestPage(
        config=parts.config, tests=parts.login_tests, sign_in=parts.sign_in, pages=parts.pages, now=parts.now
    )
    callback = Callback(
        providers=parts.providers,
        account_setup=account_setup,
        redemptions=parts.redemptions,
        failures=parts.failed_callbacks,
        sessions=sessions,
        sign_in=parts.sign_in,
        login_test=login_test,
        pages=parts.pages,
        audit=parts.audit,
        now=parts.now,
    )
    return {
        START: {"GET": start, "HEAD": start, "POST": start},
        **{callback_path(name): _callback_methods(keys, callback) for name, keys in providers_of(parts.config).items()},
        LOGIN_TEST: {"GET": login_test, "POST": login_test},
        WAIT: {"GET": account_setup},
    }


def _callback_methods(settings: schema.ProviderKeys, callback: Callback) -> dict[str, Handler]:
    # SECURITY: a form that another site sends is an answer of a provider that answers by form_post, and of no other.
    return {"GET": callback, "POST": callback} if settings.response_mode == "form_post" else {"GET": callback}


def _sign_outs(parts: WebParts, sessions: BrowserSessions) -> dict[str, dict[str, Handler]]:
    """The endpoints for sign-out by the person and by the provider."""
    sign_out = SignOut(
        providers=parts.providers,
        sessions=sessions,
        sign_in=parts.sign_in,
        ring=parts.ring,
        pages=parts.pages,
        audit=parts.audit,
        upstreams=parts.upstreams,
    )
    signed_out = SignedOut(sessions=sessions, ring=parts.ring, guard=parts.sign_in.guard, pages=parts.pages)
    back = BackChannelLogout(
        providers=parts.providers,
        store=parts.store,
        once=parts.once,
        endings=parts.endings,
        audit=parts.audit,
        now=parts.now,
    )
    front = FrontChannelLogout(sessions=sessions, providers=parts.providers, audit=parts.audit)
    return {
        SIGN_OUT: {"GET": sign_out, "HEAD": sign_out, "POST": sign_out},
        SIGNED_OUT: {"GET": signed_out, "HEAD": signed_out},
        "/oauth2/backchannel-logout": {"POST": back},
        "/oauth2/frontchannel-logout": {"GET": front},
    }


class AiohttpAdapter:
    """Makes aiohttp handlers of ours: WebRequest and RenderedPage on our side."""

    def __init__(self, sites: Mapping[str, Site], pages: Pages) -> None:
        self._sites = sites
        self._pages = pages

    def handler_for(self, methods: Mapping[str, Handler]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The aiohttp handler of one path; without methods, of all paths that do not exist."""

        async def handle(request: web.Request) -> web.Response:
            parsed: WebRequest | None = None
            try:
                parsed = read_request(request, await _read_body(request), self._sites)
                return _response(await _handler(methods, parsed)(parsed))
            except Refusal as refusal:
                return _response(self._refusal(request, refusal, parsed))
            except Exception:
                log.exception("a page failed")
                return _response(self._refusal(request, Refusal(), parsed))

        return handle

    def _refusal(self, request: web.Request, refusal: Refusal, parsed: WebRequest | None) -> RenderedPage:
        if parsed is not None:
            return self._pages.render(refusal, _context_of(parsed, refusal), html=parsed.html)
        head = RequestHead(request.method, b"", b"", list(request.raw_headers))
        languages = PreferredLanguages(head.values(b"accept-language"))
        context = PageContext(request_id=request.headers.get("X-Request-Id", "-"), languages=languages)
        return self._pages.render(refusal, context, html=is_navigation(head))


def _context_of(request: WebRequest, refusal: Refusal) -> PageContext:
    """A page of ours that fails is repeated, with its `rd`; a provider's answer is not: it is used up, and a new sign-in begins."""
    wanted = request.param("rd") or ""
    there = wanted if is_local(wanted) else None
    tags = refusal.facts.get("ui_locales") or request.languages.ui_locales
    if request.head.method not in ("GET", "HEAD") or request.path.startswith(OWN_CALLBACK):
        return request.page_context(there, retry_url=start_url(there or HOME, ui_locales=tags), ui_locales=tags)
    return request.page_context(there, retry_url=request.head.target.decode("latin-1"))


def _handler(methods: Mapping[str, Handler], parsed: WebRequest) -> Handler:
    """Raises NotFound or MethodNotAllowed."""
    if not methods:
        raise NotFound(parsed.path)
    handler = methods.get(parsed.head.method)
    if handler is None:
        raise MethodNotAllowed(parsed.head.method, allow=methods)
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
    """The runner that serves the connections that the data plane passes on."""
    app.on_response_prepare.append(_without_banner)
    limit = 2 * limits.head  # the data plane checked the head; its re-serialised form is somewhat longer
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
    """Remove the Server field, which has a version (B-46)."""
    response.headers.popall("Server", None)
