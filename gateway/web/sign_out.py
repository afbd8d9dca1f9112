"""Signs a person out: here first, then at the provider. `/oauth2/sign_out`, and `/oauth2/signed_out` where the provider sends them back.

The invariant: the sessions are dead in Redis before the browser is sent anywhere (A-20), and nobody is signed out by a page of another
site, an image or a prefetch (C-49). `/oauth2/signed_out` is the one post_logout_redirect_uri of a host, so that it can be registered
exactly; where the person wanted to go travels in `state`, sealed, and what comes back instead of it is ignored (A-21, A-22).
OpenID Connect RP-Initiated Logout 1.0.
"""

import base64
import binascii
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.errors.access import CrossSiteRequest
from gateway.errors.signing_in import ProviderUnavailable
from gateway.gate.access import account_of
from gateway.hand_off.sign_out import UpstreamSignOut
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.logout import logout_url
from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.providers import ProviderClient, Providers
from gateway.pages.renderer import Content, Link, Pages, RenderedPage, redirect
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
    """`GET, POST /oauth2/sign_out?rd=`."""

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

    async def __call__(self, asked: WebRequest) -> RenderedPage:
        there = self._guard.find(_wanted(asked), asked.route.host)
        if asked.head.method == "POST":
            # SECURITY: a form on another site must not sign anybody out (C-49).
            if not is_same_origin(asked):
                raise CrossSiteRequest("sign_out")
            return await self._sign_out(asked, there)
        if is_own_click(asked):
            return await self._sign_out(asked, there)
        return await self._ask(asked, there)

    async def _ask(self, asked: WebRequest, there: Destination | None) -> RenderedPage:
        """A button: its click is a POST from our own origin."""
        live = await self._sessions.live(asked)
        if live is None:
            return self._pages.show(signed_out_page(), request_id=asked.request_id)
        action = SIGN_OUT if there is None else f"{SIGN_OUT}?rd={quote(there.url, safe='/')}"
        content = Content(
            code="sign_out",
            tone="leave",
            title="Sign out?",
            message="This ends your session here, and on the other sites that you opened with the same sign-in.",
            account=account_of(live.session.identity),
            form_action=action,
            form_label="Sign out",
            form_targets=_leads_to(self._providers.of(live.session), there),
            links=(Link(label="Stay signed in", href=HOME),),
        )
        return self._pages.show(content, request_id=asked.request_id)

    async def _sign_out(self, asked: WebRequest, there: Destination | None) -> RenderedPage:
        live = await self._sessions.live(asked)
        ended = await self._sessions.end(asked, by="sign_out")
        url = None
        if ended:
            own = ended[0]
            self._audit.event(
                audit.LOGOUT,
                app=asked.route.name,
                session=own.sid,
                request_id=asked.request_id,
                email=own.identity.email,
                kind="local",
            )
            await self._revoke_tokens(ended, asked.request_id)
            url = self._provider_url(asked, own, there)
        landing = SIGNED_OUT if there is None else there.url
        removed = [asked.site.cookie.clear_header(), *self._attempts.drop_all(asked.cookies, asked.route)]
        removed += await self._upstreams.end(asked.at_gate(), live)
        return redirect(303, url or landing, *(("Set-Cookie", value) for value in removed))

    def _provider_url(self, asked: WebRequest, session: Session, there: Destination | None) -> str | None:
        client = self._providers.of(session)
        if client is None:
            return None
        return logout_url(
            client.settings,
            _metadata(client),
            id_token_hint=session.id_token,
            client_id=client.settings.client_id,
            return_to=asked.route.origin + SIGNED_OUT,
            state=None if there is None else self._after.seal(there.url, asked.route.host),
        )


def _metadata(client: ProviderClient) -> ProviderMetadata | None:
    """Signing out here works while the provider is down."""
    try:
        return client.provider.metadata
    except ProviderUnavailable:
        return None


def _leads_to(client: ProviderClient | None, there: Destination | None) -> tuple[str, ...]:
    """Browsers apply form-action to the redirects after a form too: the provider, and where it passes people on to."""
    url = ""
    if client is not None:
        metadata = _metadata(client)
        url = client.settings.log_out_url or (metadata.end_session_endpoint if metadata else None) or ""
    parts = urlsplit(url.partition("{")[0])
    plain = {f"http://{parts.netloc}"} if parts.scheme == "http" else set()
    plain |= {there.origin} if there is not None and there.origin is not None else set()
    return ("https:", *sorted(plain))


class SignedOut:
    """`GET /oauth2/signed_out`: a page, or on to where the person wanted to go."""

    def __init__(self, *, ring: KeyRing, guard: ReturnGuard, pages: Pages) -> None:
        self._after = AfterSignOut(ring)
        self._guard = guard
        self._pages = pages

    async def __call__(self, asked: WebRequest) -> RenderedPage:
        there = self._guard.find(self._after.open(asked.param("state") or "", asked.route.host), asked.route.host)
        if there is not None:
            return redirect(303, there.url)
        return self._pages.show(signed_out_page(), request_id=asked.request_id)


class AfterSignOut:
    """Where a person wanted to go, as the `state` of a log-out request: sealed, since it comes back through the browser (A-52)."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring.purpose("sign-out")

    def seal(self, url: str, host: str) -> str:
        return base64.urlsafe_b64encode(self._ring.seal(url.encode(), (host,))).decode().rstrip("=")

    def open(self, state: str, host: str) -> str | None:
        """None for any text that is not ours: a provider may send none or another (A-21, A-22)."""
        try:
            sealed = base64.b64decode(state.encode() + b"=" * (-len(state) % 4), altchars=b"-_", validate=True)
            return self._ring.open(sealed, (host,)).decode()
        except (ValueError, binascii.Error):
            return None


def signed_out_page() -> Content:
    return Content(
        code="signed_out",
        tone="done",
        title="You are signed out",
        message="Your session here has ended. On a shared computer, close the browser as well.",
        links=(Link(label="Sign in again", href="/oauth2/start"),),
    )


def is_same_origin(asked: WebRequest) -> bool:
    """Whether a page of this very origin sent this: by Sec-Fetch-Site where the browser has it, else by Origin."""
    site, origin = asked.field(b"sec-fetch-site"), asked.field(b"origin")
    if site is not None and site != "same-origin":
        return False
    # A page under `Referrer-Policy: no-referrer` sends `Origin: null` even to itself.
    if origin is not None and not (origin == "null" and site is not None):
        return origin == asked.route.origin
    return site is not None


def is_own_click(asked: WebRequest) -> bool:
    """Whether a GET is a person's step from a page of ours: not an image, a frame, a prefetch or a link from elsewhere (C-49)."""
    return (
        asked.head.method == "GET"
        and asked.field(b"sec-fetch-site") == "same-origin"
        and asked.field(b"sec-fetch-dest") in ("document", "empty")
        and not asked.prefetching
    )


def _wanted(asked: WebRequest) -> str | None:
    """`rd` of the query, or of the form."""
    found = asked.param("rd")
    if found is None and asked.head.method == "POST" and asked.body:
        values = [value for name, value in parse_form(asked.body.decode("ascii", "replace")) if name == "rd"]
        found = values[0] if len(values) == 1 else None
    return found
