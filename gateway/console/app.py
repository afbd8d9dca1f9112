"""The console's aiohttp application: who may ask, which page answers, the one place where a refusal becomes a response.

Each request passes, in this order: the peer (a process of our own user), the host (one of `console.hosts`), the assertion, the roles; a POST
also the origin and the form's token. What fails is an event `console.denied` with its reason. An unexpected exception is logged with its
traceback.
"""

import logging
import os
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.config.addresses import canonical_host
from gateway.config.console import PREFIX
from gateway.console.assertion import FIELD, AssertionVerifier
from gateway.console.csrf import FormTokens
from gateway.console.live import LiveViews
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.registry import PAGES
from gateway.console.rendering import STATIC, ConsoleRenderer
from gateway.console.request import ConsoleRequest
from gateway.console.rights import ConsoleRights
from gateway.errors.access import CrossSiteRequest, Forbidden
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest, MethodNotAllowed, NotFound, PayloadTooLarge
from gateway.observability import events as audit
from gateway.oidc.signatures import JwtInvalid
from gateway.pages.renderer import RenderedPage, redirect
from gateway.web.request import Parameters, parse_form

_log = logging.getLogger("doorward.console")
_BODY_LIMIT: Final = 64 * 1024
_HOME: Final = f"{PREFIX}/"
_FORM: Final = "application/x-www-form-urlencoded"
_SAFE: Final = ("GET", "HEAD")


class Denied(Exception):
    """A request that may not be answered: `reason` is for the event, `refusal` for the person."""

    def __init__(self, reason: str, refusal: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


class ConsoleApp:
    """Answers all requests. `uid` is the user whose processes may connect."""

    def __init__(self, parts: ConsoleParts, pages: Sequence[Page] = PAGES, *, uid: int | None = None) -> None:
        config = parts.config
        assert config.console is not None
        self._parts = parts
        self._pages = {page.path: page for page in pages}
        self._uid = os.geteuid() if uid is None else uid
        scheme = config.external_url_scheme
        self._origins = {
            host: f"{scheme}://{host}" for host in (canonical_host(given, scheme) for given in config.console.hosts)
        }
        self._assertions = AssertionVerifier(parts.ring.raw, parts.now)
        self._rights = ConsoleRights(config.console)
        self._tokens = FormTokens(parts.ring)
        self._live_views = LiveViews(parts.stopping)
        self._renderer = ConsoleRenderer(config, [page for page in pages if page.menu])

    def build(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_route("*", "/{anything:.*}", self._handle)
        app.on_response_prepare.append(_without_banner)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked: ConsoleRequest | None = None
        try:
            asked = self._identified(request)
            if (live := self._live_page(request, asked)) is not None:
                return await self._stream(live, request, asked)
            page = await self._answer(request, asked)
        except Denied as denied:
            self._emit_denied(request, asked, denied)
            page = self._refused(request, asked, denied.refusal)
        except Refusal as refusal:
            page = self._refused(request, asked, refusal)
        except web.HTTPRequestEntityTooLarge:
            page = self._refused(request, asked, PayloadTooLarge())
        except Exception:
            _log.exception("a page of the console failed")
            page = self._refused(request, asked, Refusal())
        return web.Response(status=page.status, body=page.body, headers=CIMultiDict(page.headers))

    def _refused(self, request: web.Request, asked: ConsoleRequest | None, refusal: Refusal) -> RenderedPage:
        return self._renderer.refuse(refusal, asked, _request_id(request), json_wanted=_wants_json(request))

    def _emit_denied(self, request: web.Request, asked: ConsoleRequest | None, denied: Denied) -> None:
        _log.warning(
            "console denied: %s: %.400s (request %s)", denied.reason, denied.refusal.detail, _request_id(request)
        )
        self._parts.audit.emit(
            audit.CONSOLE_DENIED, app="console", reason=denied.reason, path=request.path[:200], method=request.method,
            session=None if asked is None else asked.operator.sid, request_id=_request_id(request),
        )  # fmt: skip

    # --- who may ask ----------------------------------------------------------------------------------------------------

    def _identified(self, request: web.Request) -> ConsoleRequest:
        """Raises Denied, BadRequest."""
        # SECURITY: a process of another user on this machine is not the door, whatever it sends (C-91).
        if _peer_uid(request) not in (None, self._uid):
            raise Denied("peer", Forbidden("the peer is a process of another user"))
        # SECURITY: under another host's name the page would stand in that host's origin, beside an app's own pages (C-91).
        origin = self._origins.get(request.headers.get("Host", "").lower())
        if origin is None:
            raise Denied("host", Forbidden("not one of console.hosts"))
        try:
            operator = self._assertions.verify(request.headers.getall(FIELD, []), origin)
        except JwtInvalid as error:
            raise Denied("assertion", Forbidden(f"the assertion: {error.reason} {error.detail}")) from error
        path, _, query = request.raw_path.partition("?")
        return ConsoleRequest(
            method=request.method, path=path, origin=origin, query=Parameters(parse_form(query)), form=Parameters(()),
            operator=operator, roles=self._rights.roles(operator.identity), csrf=self._tokens.of(operator.sid),
            as_json=_wants_json(request), client=request.headers.get("X-Real-IP", ""), request_id=_request_id(request),
        )  # fmt: skip

    def _authorise(self, asked: ConsoleRequest) -> None:
        """Raises Denied."""
        lacking = self._rights.missing(asked.operator.identity, asked.method, asked.path)
        # SECURITY: the gate asks for the same; a request that came around it is refused here (C-92).
        if lacking is not None:
            raise Denied("role", Forbidden(lacking))
        if self._rights.is_read_only(asked.path):
            raise Denied("read_only", Forbidden("console.settings is read_only"))

    async def _with_form(self, request: web.Request, asked: ConsoleRequest) -> ConsoleRequest:
        """The request with its form, which a page of ours made. Raises Denied, BadRequest."""
        # SECURITY: a page of another site can make a browser post, with the session's cookie; it cannot know the token (C-93).
        if request.headers.get("Origin", asked.origin) != asked.origin:
            raise Denied("origin", CrossSiteRequest("Origin is another one"))
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Denied("origin", CrossSiteRequest("Sec-Fetch-Site says so"))
        if request.content_type != _FORM:
            raise BadRequest(f"the body is not {_FORM}")
        form = Parameters(parse_form((await request.read()).decode("ascii", "replace")))
        if not self._tokens.accepts(form.one("csrf"), asked.operator.sid):
            raise Denied("csrf", CrossSiteRequest("no token of this session"))
        return replace(asked, form=form)

    # --- which page answers ---------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request, asked: ConsoleRequest) -> RenderedPage:
        self._authorise(asked)
        if asked.path in ("/", PREFIX):
            return redirect(303, _HOME)
        if asked.path.startswith(STATIC):
            return self._static(asked)
        page = self._pages.get(asked.path)
        if page is None:
            raise NotFound(asked.path)
        if asked.method not in page.methods:
            raise MethodNotAllowed(asked.method, allow=page.methods)
        view = await self._run(page, request, asked)
        return self._renderer.show(page, view, asked)

    def _live_page(self, request: web.Request, asked: ConsoleRequest) -> Page | None:
        page = self._pages.get(asked.path)
        wanted = "text/event-stream" in request.headers.get("Accept", "") and asked.method == "GET"
        return page if wanted and page is not None and page.live else None

    async def _stream(self, page: Page, request: web.Request, asked: ConsoleRequest) -> web.StreamResponse:
        """Raises Denied and what the page raises, before anything is sent."""
        self._authorise(asked)

        async def draw() -> str:
            return self._renderer.live(page, await page.show(asked, self._parts), asked)

        return await self._live_views.stream(request, draw, page.live)

    async def _run(self, page: Page, request: web.Request, asked: ConsoleRequest) -> View:
        if asked.method in _SAFE or page.change is None:
            return await page.show(asked, self._parts)
        return await page.change(await self._with_form(request, asked), self._parts)

    def _static(self, asked: ConsoleRequest) -> RenderedPage:
        file = self._renderer.static.get(asked.path.removeprefix(STATIC))
        if file is None or asked.method not in _SAFE:
            raise NotFound(asked.path)
        fields = [("Content-Type", file.content_type), ("X-Content-Type-Options", "nosniff")]
        # The address has the file's hash in it.
        fields.append(("Cache-Control", "private, max-age=31536000, immutable"))
        return RenderedPage(status=200, headers=fields, body=file.body)


def _wants_json(request: web.Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _request_id(request: web.Request) -> str:
    return request.headers.get("X-Request-Id", "-")[:128]


def _peer_uid(request: web.Request) -> int | None:
    """The user of the process at the other end; None where the system does not say, and the folder's permissions alone decide."""
    if sys.platform != "linux":
        return None
    transport = request.transport
    given = None if transport is None else transport.get_extra_info("socket")
    if given is None:
        return -1
    with socket.socket(fileno=os.dup(given.fileno())) as sock:
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return int(uid)


async def _without_banner(request: web.Request, response: web.StreamResponse) -> None:
    """Remove the Server field, which has a version (B-46)."""
    response.headers.popall("Server", None)
