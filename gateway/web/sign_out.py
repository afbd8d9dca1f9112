"""Signs a person out: here first, then at the provider. `/oauth2/sign_out`, and `/oauth2/signed_out`, to which the provider redirects.

The invariant: the sessions are gone from Redis before the browser is redirected (A-20), and a page of another site, an image or a
prefetch signs no person out (C-49). `/oauth2/signed_out` is the one post_logout_redirect_uri of a host, so that it can be
registered exactly; the destination travels in `state`, sealed, and any other value is ignored (A-21, A-22). OpenID Connect
RP-Initiated Logout 1.0.
"""

from typing import Final
from urllib.parse import quote, urlsplit

from gateway.errors.access import CrossSiteRequest
from gateway.errors.signing_in import ProviderUnavailable
from gateway.gate.access import account_of
from gateway.gate.site import OWN_SESSIONS, START
from gateway.hand_off.sign_out import UpstreamSignOut
from gateway.languages.message import Message
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.logout import logout_url
from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.providers import ProviderClient, Providers
from gateway.pages.links import Link
from gateway.pages.renderer import Content, Pages, RenderedPage, redirect
from gateway.sessions import base64url
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session
from gateway.sign_in.begin import SignInStarter
from gateway.sign_in.return_to import HOME, Destination, ReturnGuard
from gateway.web.browser_session import BrowserSessions
from gateway.web.request import WebRequest, parse_form
from gateway.web.token_revocation import TokenRevocation

SIGN_OUT: Final = "/oauth2/sign_out"
SIGNED_OUT: Final = "/oauth2/signed_out"


class SignOut:
    """`GET, POST /oauth2/sign_out?rd=`: signs out at once from our own pages, and shows a button elsewhere."""

    def __init__(
        self,
        *,
        providers: Providers,
        sessions: BrowserSessions,
        sign_in: SignInStarter,
        ring: KeyRing,
        pages: Pages,
        audit: Audit,
        upstreams: UpstreamSignOut,
    ) -> None:
        self._providers = providers
        self._revoke_tokens = TokenRevocation(providers, audit)
        self._sessions = sessions
        self._attempts = sign_in.attempts
        self._guard = sign_in.guard
        self._after = AfterSignOut(ring)
        self._pages = pages
        self._audit = audit
        self._upstreams = upstreams

    async def __call__(self, request: WebRequest) -> RenderedPage:
        there = self._guard.find(_wanted(request), request.route.host)
        if request.head.method == "POST":
            # SECURITY: a form on another site must not sign a person out (C-49).
            if not is_same_origin(request):
                raise CrossSiteRequest("sign_out", retry_url=SIGN_OUT)
            return await self._sign_out(request, there)
        if is_own_click(request):
            return await self._sign_out(request, there)
        return await self._confirm(request, there)

    async def _confirm(self, request: WebRequest, there: Destination | None) -> RenderedPage:
        """The page with a button, which posts from our own origin."""
        session = await self._sessions.find(request)
        if session is None:
            return self._pages.show(signed_out_page(), request.page_context())
        action = SIGN_OUT if there is None else f"{SIGN_OUT}?rd={quote(there.url, safe='/')}"
        content = Content(
            code="sign_out",
            tone="leave",
            title=Message("sign_out.title", "Sign out?"),
            message=Message(
                "sign_out.message",
                "You will be signed out here and on the other sites that you opened with the same sign-in.",
            ),
            account=account_of(session.session.identity),
            form_action=action,
            form_label=Message("page.sign_out", "Sign out"),
            form_targets=_leads_to(self._providers.of(session.session), there),
            links=(
                Link(label=Message("sign_out.stay", "Stay signed in"), href=HOME),
                Link(label=Message("own_sessions.title", "Where you are signed in"), href=OWN_SESSIONS),
            ),
        )
        return self._pages.show(content, request.page_context())

    async def _sign_out(self, request: WebRequest, there: Destination | None) -> RenderedPage:
        session = await self._sessions.find(request)
        ended = await self._sessions.end(request, by="sign_out")
        url = None
        if ended:
            own = ended[0]
            self._audit.emit(
                audit.LOGOUT,
                app=request.route.name,
                session=own.sid,
                request_id=request.request_id,
                email=own.identity.email,
                kind="local",
            )
            await self._revoke_tokens(ended, request.request_id)
            url = self._provider_url(request, own, there)
        landing = SIGNED_OUT if there is None else there.url
        removed = [request.site.cookie.clear_header(), *self._attempts.drop_all(request.cookies, request.route)]
        removed += await self._upstreams.end(request.to_gate_request(), session)
        return redirect(303, url or landing, *(("Set-Cookie", value) for value in removed))

    def _provider_url(self, request: WebRequest, session: Session, there: Destination | None) -> str | None:
        client = self._providers.of(session)
        if client is None:
            return None
        # A provider refuses the whole request for a hint that it cannot verify any more; without one it asks the person.
        hint = session.id_token
        return logout_url(
            client.settings,
            _metadata(client),
            id_token_hint=hint if hint is not None and client.provider.has_key_of(hint) else None,
            client_id=client.settings.client_id,
            return_to=request.route.origin + SIGNED_OUT,
            # Always one: the conformance suite of the OpenID Foundation requires it.
            state=self._after.seal("" if there is None else there.url, request.route.host),
        )


def _metadata(client: ProviderClient) -> ProviderMetadata | None:
    """None while the provider is down; sign-out works without it."""
    try:
        return client.provider.metadata
    except ProviderUnavailable:
        return None


def _leads_to(client: ProviderClient | None, there: Destination | None) -> tuple[str, ...]:
    """Sources for `form-action`, which browsers apply to the redirects after a form as well: the provider, and the destination."""
    url = ""
    if client is not None:
        metadata = _metadata(client)
        url = client.settings.log_out_url or (metadata.end_session_endpoint if metadata else None) or ""
    parts = urlsplit(url.partition("{")[0])
    plain = {f"http://{parts.netloc}"} if parts.scheme == "http" else set()
    plain |= {there.origin} if there is not None and there.origin is not None else set()
    return ("https:", *sorted(plain))


class SignedOut:
    """`GET /oauth2/signed_out`: a page that says whether the person is signed in here, or the redirect to the destination."""

    def __init__(self, *, sessions: BrowserSessions, ring: KeyRing, guard: ReturnGuard, pages: Pages) -> None:
        self._sessions = sessions
        self._after = AfterSignOut(ring)
        self._guard = guard
        self._pages = pages

    async def __call__(self, request: WebRequest) -> RenderedPage:
        there = self._guard.find(self._after.open(request.param("state") or "", request.route.host), request.route.host)
        if there is not None:
            return redirect(303, there.url)
        session = await self._sessions.find(request)
        content = signed_out_page() if session is None else signed_in_page(session.session)
        return self._pages.show(content, request.page_context())


class AfterSignOut:
    """The destination as the `state` of a logout request, sealed because it comes back through the browser (A-52)."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring.purpose("sign-out")

    def seal(self, url: str, host: str) -> str:
        """The `state` for a destination, bound to the host; "": for none."""
        return base64url.encode(self._ring.seal(url.encode(), (host,)))

    def open(self, state: str, host: str) -> str | None:
        """The destination; None for any text that was not sealed here: a provider may send another (A-21, A-22)."""
        try:
            return self._ring.open(base64url.decode(state.encode()), (host,)).decode() or None
        except ValueError:
            return None


def signed_out_page() -> Content:
    """The page after a sign-out."""
    return Content(
        code="signed_out",
        tone="done",
        title=Message("signed_out.title", "You are signed out"),
        message=Message(
            "signed_out.message",
            "You have no session here. If you share this computer, please close the browser as well.",
        ),
        links=(Link(label=Message("signed_out.sign_in", "Sign in again"), href=START),),
    )


def signed_in_page(session: Session) -> Content:
    """The page of `/oauth2/signed_out` for a person who is signed in: a bookmark, or a sign-in in another tab since."""
    return Content(
        code="signed_in",
        tone="leave",
        title=Message("signed_in.title", "You are signed in"),
        message=Message(
            "signed_in.message",
            "You have a session here: you were not signed out, or you have signed in again since then.",
        ),
        account=account_of(session.identity),
        links=(
            Link(label=Message("page.home", "Go to the home page"), href=HOME),
            Link(label=Message("page.sign_out", "Sign out"), href=SIGN_OUT),
        ),
    )


def is_same_origin(request: WebRequest) -> bool:
    """Whether a page of this origin sent the request: by Sec-Fetch-Site if the browser sends it, else by Origin."""
    site, origin = request.field(b"sec-fetch-site"), request.field(b"origin")
    if site is not None and site != "same-origin":
        return False
    # A page under `Referrer-Policy: no-referrer` sends `Origin: null` even to itself.
    if origin is not None and not (origin == "null" and site is not None):
        return origin == request.route.origin
    return site is not None


def is_own_click(request: WebRequest) -> bool:
    """Whether a GET is a click on a page of this origin, and not an image, a frame, a prefetch or a link of another site (C-49)."""
    return (
        request.head.method == "GET"
        and request.field(b"sec-fetch-site") == "same-origin"
        and request.field(b"sec-fetch-dest") in ("document", "empty")
        and not request.prefetching
    )


def _wanted(request: WebRequest) -> str | None:
    """`rd` of the query, of the form, or of a trusted proxy."""
    found = request.param("rd")
    if found is None and request.head.method == "POST" and request.body:
        values = [value for name, value in parse_form(request.body.decode("ascii", "replace")) if name == "rd"]
        found = values[0] if len(values) == 1 else None
    return found or request.redirect
