"""Hand-offs under way: the work that a request waits for, and the response after it.

A browser ends on the page that it requested, on this origin; no upstream chooses the page (A-50). Bearer tokens and the times of
owner checks are cached in this worker, bounded; Redis holds the truth.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeVar

from gateway.errors.hand_off import HandOffFailed, HandOffMismatch, UpstreamSessionEnded
from gateway.gate.access import login_required
from gateway.gate.request import Request
from gateway.hand_off.broker import Broker, HandOffResult
from gateway.hand_off.cookie_filter import CookieFilter
from gateway.hand_off.records import Bearer
from gateway.http.request_head import ParsedRequest
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import FilterControl
from gateway.proxy.local_reply import Plain
from gateway.proxy.subrequest import Credentials, UpstreamClient
from gateway.sessions.cache import LiveSession

SIGN_OUT: Final = "/oauth2/sign_out"
_MOST_ENTRIES: Final = 10_000
_EXPIRY_MARGIN: Final = 5.0  # seconds: a token that expires on its way is useless
_BROWSER_FIELDS: Final = frozenset((b"user-agent", b"accept-language"))
_Fact = TypeVar("_Fact")


class HandOffFlow:
    """The hand-offs of one app in one worker."""

    def __init__(self, context: ProxyContext, broker: Broker, cookie_filter: CookieFilter) -> None:
        self._context = context
        self._broker = broker
        self._plan = broker.plan
        self._cookie_filter = cookie_filter
        self._bearers: OrderedDict[str, Bearer] = OrderedDict()  # by session key
        self._checked: OrderedDict[str, float] = OrderedDict()  # by session key: the time of the last owner check
        self.retrying: set[Request[ParsedRequest]] = set()

    def bearer(self, session: LiveSession) -> Bearer | None:
        """The cached bearer token, if it is still valid."""
        bearer = self._bearers.get(session.key)
        return (
            bearer if bearer is not None and bearer.until > self._context.now().timestamp() + _EXPIRY_MARGIN else None
        )

    def check_due(self, session: LiveSession) -> bool:
        """Whether the owner of the upstream's session is to be checked again."""
        last = self._checked.get(session.key)
        every = (each.every.total_seconds() for each in self._plan.who_am_i[:1])
        return any(last is None or self._context.clock() - last > seconds for seconds in every)

    # --- each of these responds to the request, or decides it again ---

    async def hand_off(
        self, control: FilterControl, request: Request[ParsedRequest], session: LiveSession, wire: bytes
    ) -> None:
        """Open the upstream's session, and redirect the browser to `wire` with its cookies. Raises a Refusal."""
        result = await self._run(request, session, wire)
        site = request.site
        cookies = [self._cookie_filter.set_cookie_value(cookie, session, site) for cookie in result.cookies]
        # SECURITY: an absolute URL of this very origin: no path, however it begins, leads to another host.
        control.respond(redirect_to(site.route.origin + (result.link or wire.decode()), cookies, status=302))

    async def reopen(
        self, control: FilterControl, request: Request[ParsedRequest], session: LiveSession, path: str
    ) -> None:
        """A form met an ended session: open another one, and respond that the form was not processed. Raises a Refusal."""
        result = await self._run(request, session, b"/")
        page = self._context.render(
            UpstreamSessionEnded(path, home_url="/"), request.head, request.request_id, request.site
        )
        cookies = [
            self._cookie_filter.set_cookie_value(cookie, session, request.site).decode("latin-1")
            for cookie in result.cookies
        ]
        fields = [*page.headers, *(("Set-Cookie", cookie) for cookie in cookies)]
        control.respond(Plain(page.status, fields, page.body))

    async def retry(
        self, control: FilterControl, request: Request[ParsedRequest], session: LiveSession, stale: str
    ) -> None:
        """Send the request once more, with another bearer token than `stale`. Raises a Refusal."""
        self._bearers.pop(session.key, None)
        await self._run(request, session, b"/", stale)
        self.retrying.add(request)
        try:
            control.decide()
        finally:
            self.retrying.discard(request)

    async def fetch_bearer(self, control: FilterControl, request: Request[ParsedRequest], session: LiveSession) -> None:
        """Read this session's bearer token, or get one, and decide the request again. Raises a Refusal."""
        bearer = await self._broker.bearer(session)
        if bearer is None:
            result = await self._run(request, session, b"/")
            bearer = result.bearer
            if bearer is None and result.again:
                raise login_required(request.site)  # the session is over
        if bearer is None:
            raise HandOffFailed("no_session", "the hand-off gave no bearer token")
        _remember(self._bearers, session.key, bearer)
        control.decide()

    async def check_owner(
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        session: LiveSession,
        wire: bytes,
        credentials: Credentials,
    ) -> None:
        """Check the owner of the upstream's session, then decide the request again; another person's is replaced. Raises a Refusal."""
        try:
            valid = await self._broker.verify_owner(session, self.upstream(request, session), credentials)
        except HandOffMismatch:
            valid = False
        except HandOffFailed as failure:
            raise _with_links(failure, wire) from failure
        if valid:
            _remember(self._checked, session.key, self._context.clock())
            control.decide()
        else:
            await self.hand_off(control, request, session, wire)

    # --- the work ---

    async def _run(
        self, request: Request[ParsedRequest], session: LiveSession, wire: bytes, stale: str | None = None
    ) -> HandOffResult:
        upstream = self.upstream(request, session)
        try:
            result = await self._broker.hand_off(
                session, upstream, return_to=wire.decode(), request_id=request.request_id, stale=stale
            )
        except HandOffFailed as failure:
            raise _with_links(failure, wire) from failure
        if result.cookies:
            _remember(self._checked, session.key, self._context.clock())
        if result.bearer is not None:
            _remember(self._bearers, session.key, result.bearer)
        return result

    def upstream(self, request: Request[ParsedRequest], session: LiveSession) -> UpstreamClient:
        """A client of the upstream whose requests carry this person's identity."""
        site, heads = request.site, self._context.heads
        lines = [line for line in request.head.lines if line.partition(b":")[0].lower() in _BROWSER_FIELDS]
        lines += [heads.forwarding(request), heads.identity(site, session).removesuffix(b"\r\n")]
        lines.append(b"X-Request-Id: " + request.request_id.encode())
        seconds = self._plan.timeout.total_seconds()
        return UpstreamClient(self._context.pools[site.route.name], site.route.host, lines, seconds)


def redirect_to(location: str, cookies: Sequence[bytes], *, status: int = 303) -> Plain:
    """A redirect that is never stored, with the upstream's cookies."""
    headers = [("Location", location), ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")]
    return Plain(status, [*headers, *(("Set-Cookie", cookie.decode("latin-1")) for cookie in cookies)])


def _with_links(failure: HandOffFailed, wire: bytes) -> HandOffFailed:
    failure.facts.setdefault("retry_url", wire.decode())
    failure.facts.setdefault("sign_out_url", SIGN_OUT)
    return failure


def _remember(memory: "OrderedDict[str, _Fact]", key: str, fact: _Fact) -> None:
    """Bounded: the oldest entry is dropped."""
    memory[key] = fact
    memory.move_to_end(key)
    if len(memory) > _MOST_ENTRIES:
        memory.popitem(last=False)
