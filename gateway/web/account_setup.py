"""From a verified sign-in to a session, with an account in the directory; and the page for accounts that take longer than two seconds.

`GET /oauth2/wait` loads itself again until the account is there. The invariant: there is no session before the directory has
confirmed the account. Closing the page loses nothing, because the sign-in is kept for its browser (`sessions.pending_sign_in`)
and the creation goes on. All requests for one sign-in share the work, and one of them gets the session.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from msgspec import structs

from gateway.config import schema
from gateway.config.toggles import Registration
from gateway.directory.provisioner import Provisioner
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import DirectoryUnavailable, SignInExpired, SignInFailed
from gateway.gate.access import account_of
from gateway.gate.site import AppRoute, start_url
from gateway.identity.claims import Identity
from gateway.languages.message import Message
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.pages.links import Link
from gateway.pages.renderer import Content, Pages, RenderedPage, redirect
from gateway.redis_client.client import retrieve_exception
from gateway.sessions.cookie import set_cookie
from gateway.sessions.pending_sign_in import LIFE, PendingSignIn, PendingSignIns
from gateway.sessions.store import SessionStore
from gateway.sign_in.return_to import HOME, is_local
from gateway.web.browser_session import BrowserSessions
from gateway.web.request import WebRequest
from gateway.web.sign_in_facts import SignInFacts

log = logging.getLogger("doorward.web")

WAIT: Final = "/oauth2/wait"
PATIENCE: Final = 2.0  # seconds before the person sees the page
_HELD: Final = 5  # times as long: a page that waits already is loaded behind the one that is shown
_BEFORE_ASKING_AGAIN: Final = 3.0  # seconds after a directory that did not answer
_GIVEN_UP: Final = timedelta(minutes=2)  # after that, a directory that does not answer is an error
_TAG = re.compile(r"[0-9a-f]{16}")


class AccountSetup:
    """`registration` is the policy for a person whom the directory does not know, by surface. `patience` is in seconds."""

    def __init__(
        self,
        *,
        registration: Callable[[schema.Surface], Registration],
        provisioner: Provisioner,
        pending: PendingSignIns,
        store: SessionStore,
        sessions: BrowserSessions,
        pages: Pages,
        audit: Audit,
        now: Callable[[], datetime],
        patience: float = PATIENCE,
    ) -> None:
        self._registration = registration
        self._provisioner = provisioner
        self._pending = pending
        self._store = store
        self._sessions = sessions
        self._pages = pages
        self._audit = audit
        self._now = now
        self._patience = patience
        self._working: dict[str, asyncio.Task[Identity]] = {}

    async def start(
        self, request: WebRequest, waiting: PendingSignIn, ui_locales: tuple[str, ...] = ()
    ) -> RenderedPage:
        """Set up the account of a sign-in that just succeeded: the redirect with a session, or the page that waits for it. Raises Refusal."""
        task = self._start_provisioning(request, waiting)
        identity = await self._outcome(task, waiting, self._patience)
        if identity is not None:
            return await self._sign_in(request, waiting, identity)
        try:
            token = await self._pending.keep(waiting)
        except ValueError as error:
            raise SignInFailed("session_too_large", str(error)) from error
        self._share(token, task)
        return self._wait_page(request, token, ui_locales).plus(("Set-Cookie", _cookie(token, request.route)))

    async def __call__(self, request: WebRequest) -> RenderedPage:
        """`GET /oauth2/wait?id=`. Raises Refusal."""
        token = _token_of(request)
        waiting = None if token is None else await self._pending.find(token, request.route.host)
        if token is None or waiting is None or waiting.session.app != request.route.name:
            return await self._without_sign_in(request)
        task = self._working.get(token)
        if task is None:
            self._share(token, task := self._start_provisioning(request, waiting))
        try:
            identity = await self._outcome(task, waiting, _HELD * self._patience)
        except DirectoryUnavailable as refusal:
            if self._now() - waiting.began < _GIVEN_UP:
                await asyncio.sleep(_BEFORE_ASKING_AGAIN)
                return self._wait_page(request, token)
            refusal.facts["retry_url"] = f"{WAIT}?id={_tag(token)}{_ui_locales(request.languages.ui_locales)}"
            self._log_refused(request, refusal, SignInFacts.of_pending(waiting))
            raise
        except Refusal as refusal:
            self._log_refused(request, refusal, SignInFacts.of_pending(waiting))
            return await self._render_refusal(request, token, waiting, refusal)
        if identity is None:
            return self._wait_page(request, token)
        return await self._collect(request, token, waiting, identity)

    def _start_provisioning(self, request: WebRequest, waiting: PendingSignIn) -> asyncio.Task[Identity]:
        """Start the work at the directory; it goes on when the request ends."""
        task = asyncio.create_task(
            self._provisioner.ensure(
                waiting.session.identity,
                app=request.route.name,
                registration=self._registration(request.route.config.surface),
                request_id=request.request_id,
                claims=waiting.claims,
            )
        )
        task.add_done_callback(retrieve_exception)
        return task

    def _share(self, token: str, task: asyncio.Task[Identity]) -> None:
        """Have later requests for this sign-in in this worker wait for the same task."""
        if task.done():
            return
        self._working[token] = task
        task.add_done_callback(lambda _: self._working.pop(token, None))

    async def _outcome(self, task: asyncio.Task[Identity], waiting: PendingSignIn, patience: float) -> Identity | None:
        """The identity with its account; None while it is not ready. Raises what the provisioner raised."""
        await asyncio.wait({task}, timeout=patience)
        if not task.done():
            return None
        try:
            return task.result()
        except Refusal as refusal:
            refusal.facts.setdefault("account", account_of(waiting.session.identity))
            raise

    async def _collect(
        self, request: WebRequest, token: str, waiting: PendingSignIn, identity: Identity
    ) -> RenderedPage:
        # SECURITY: of two requests for one sign-in one gets the session, as of two responses with one state.
        if not await self._store.consume(f"pending:{token}", 2 * LIFE):
            return await self._without_sign_in(request)
        page = await self._sign_in(request, waiting, identity)
        await self._pending.drop(token)
        return page.plus(("Set-Cookie", _cookie("", request.route, _tag(token))))

    async def _sign_in(self, request: WebRequest, waiting: PendingSignIn, identity: Identity) -> RenderedPage:
        session = structs.replace(waiting.session, identity=identity)
        token = await self._sessions.replace(request, session, waiting.issued_at, waiting.begun)
        self._audit.emit(
            audit.LOGIN_SUCCEEDED, session=session.sid, **SignInFacts.of_pending(waiting).to_event(request)
        )
        # SECURITY: checked when the login began, and once more where the browser is redirected.
        landing = waiting.return_to if is_local(waiting.return_to) else HOME
        return redirect(303, landing, ("Set-Cookie", request.site.cookie.set_header(token)))

    async def _without_sign_in(self, request: WebRequest) -> RenderedPage:
        """This browser has no pending sign-in: it has its session already, or it took longer than fifteen minutes."""
        if await self._sessions.find(request) is not None:
            return redirect(303, HOME)
        refusal = SignInExpired("no_attempt", continue_url=start_url(HOME, ui_locales=request.languages.ui_locales))
        self._log_refused(request, refusal, SignInFacts())
        raise refusal

    def _log_refused(self, request: WebRequest, refusal: Refusal, facts: SignInFacts) -> None:
        reason = facts.emit_refused(self._audit, request, refusal)
        log.warning(
            "login refused on %s: %s (%s) request %s", request.route.host, reason, refusal.detail, request.request_id
        )

    async def _render_refusal(
        self, request: WebRequest, token: str, waiting: PendingSignIn, refusal: Refusal
    ) -> RenderedPage:
        """The refusal's page; a 403 ends the pending sign-in."""
        if refusal.status == 403:
            await self._pending.drop(token)
        context = request.page_context(waiting.return_to, provider=waiting.session.provider)
        context = replace(context, retry_url=context.start_url(same_provider=True))
        page = self._pages.render(refusal, context, html=request.html)
        return page.plus(("Set-Cookie", _cookie("", request.route, _tag(token))))

    def _wait_page(self, request: WebRequest, token: str, ui_locales: tuple[str, ...] = ()) -> RenderedPage:
        """The page that loads itself again at once; the next response waits here, so no delay runs out while a person reads (WCAG 2.2.1)."""
        context = request.page_context(ui_locales=ui_locales)
        address = f"{WAIT}?id={_tag(token)}{_ui_locales(context.languages.ui_locales)}"
        content = Content(
            status=202,
            code="setting_up",
            tone="waiting",
            title=Message("setting_up.title", "Your account is being set up"),
            message=Message(
                "setting_up.message",
                "This takes a few seconds. You will then be taken to your page automatically. You can also close this page and come back later.",
            ),
            links=(Link(label=Message("page.continue", "Continue"), href=address),),
            refresh=f"0;url={address}",
        )
        return self._pages.show(content, context)


def _ui_locales(tags: tuple[str, ...]) -> str:
    """The parameter that keeps the sign-in's languages when the page loads itself again."""
    return "&ui_locales=" + quote(" ".join(tags)) if tags else ""


def _tag(token: str) -> str:
    """A hash of the token, for a URL and for a cookie's name."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _name(tag: str, route: AppRoute) -> str:
    return f"{'__Host-' if route.secure else ''}doorward_wait_{tag}"


def _token_of(request: WebRequest) -> str | None:
    """This browser's token for the sign-in that the URL names."""
    tag = request.param("id")
    if tag is None or not _TAG.fullmatch(tag):
        return None
    name = _name(tag, request.route).encode()
    pairs = (pair.strip(b" \t").partition(b"=") for value in request.cookies for pair in value.split(b";"))
    # SECURITY: a second cookie of this name, which another page of the site has set, hides nothing: the token is the one of this tag (C-37).
    tokens = (value.decode("latin-1") for key, _, value in pairs if key == name)
    return next((token for token in tokens if _tag(token) == tag), None)


def _cookie(token: str, route: AppRoute, tag: str | None = None) -> str:
    """The Set-Cookie value that keeps the token as long as the sign-in is kept; an empty token removes the cookie."""
    life = int(LIFE.total_seconds()) if token else 0
    name = _name(tag or _tag(token), route)
    return set_cookie(name, token, secure=route.secure, max_age=life)
