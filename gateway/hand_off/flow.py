"""Hand-offs under way: what a request waits for, and what is answered when it is there.

A browser ends on the page that it asked for, on this origin; no upstream says where (A-50). What this worker knows of bearer tokens and of
checks is kept in memory, bounded, and asked for again where it is missing: the truth is in Redis.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeVar

from gateway.errors.hand_off import HandOffFailed, HandOffMismatch, UpstreamSessionEnded
from gateway.gate.access import login_required
from gateway.gate.request import Request
from gateway.hand_off.broker import Broker, HandOffResult
from gateway.hand_off.cookie_filter import Sealing
from gateway.hand_off.records import Bearer
from gateway.http.request_head import ParsedRequest
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import FilterControl
from gateway.proxy.local_reply import Plain
from gateway.proxy.subrequest import Credentials, UpstreamClient
from gateway.sessions.cache import LiveSession

SIGN_OUT: Final = "/oauth2/sign_out"
_REMEMBERED: Final = 10_000
_NEARLY_OVER: Final = 5.0  # seconds: a token that ends while it travels is none
_ABOUT_THE_BROWSER: Final = frozenset((b"user-agent", b"accept-language"))
_Fact = TypeVar("_Fact")


class HandOffFlow:
    """The hand-offs of one app in one worker."""

    def __init__(self, context: ProxyContext, broker: Broker, sealing: Sealing) -> None:
        self._context = context
        self._broker = broker
        self._plan = broker.plan
        self._sealing = sealing
        self._bearers: OrderedDict[str, Bearer] = OrderedDict()  # by session key
        self._checked: OrderedDict[str, float] = (
            OrderedDict()
        )  # by session key: when it was asked last whose session it is
        self.retrying: set[Request[ParsedRequest]] = set()

    def bearer(self, live: LiveSession) -> Bearer | None:
        known = self._bearers.get(live.key)
        return known if known is not None and known.until > self._context.now().timestamp() + _NEARLY_OVER else None

    def must_check(self, live: LiveSession) -> bool:
        """Whether it is time to ask the upstream whose session it is."""
        last = self._checked.get(live.key)
        every = (asked.every.total_seconds() for asked in self._plan.who_am_i[:1])
        return any(last is None or self._context.clock() - last > seconds for seconds in every)

    # --- each of these answers the request, or sends it on ---

    async def hand_off(
        self, control: FilterControl, request: Request[ParsedRequest], live: LiveSession, wire: bytes
    ) -> None:
        """Open the upstream's session, and let the browser ask for `wire` with it. Raises a Refusal."""
        result = await self._get(request, live, wire)
        site = request.site
        cookies = [self._sealing.relayed(cookie, live, site) for cookie in result.cookies]
        # SECURITY: an absolute URL of this very origin: no path, however it begins, leads to another host.
        control.respond(away(site.route.origin + (result.link or wire.decode()), cookies, status=302))

    async def reopen(
        self, control: FilterControl, request: Request[ParsedRequest], live: LiveSession, path: str
    ) -> None:
        """A form met an ended session: open another one, and say that nothing was taken. Raises a Refusal."""
        result = await self._get(request, live, b"/")
        page = self._context.render(
            UpstreamSessionEnded(path, home_url="/"), request.head, request.request_id, request.site
        )
        cookies = [self._sealing.relayed(cookie, live, request.site).decode("latin-1") for cookie in result.cookies]
        fields = [*page.headers, *(("Set-Cookie", cookie) for cookie in cookies)]
        control.respond(Plain(page.status, fields, page.body))

    async def try_again(
        self, control: FilterControl, request: Request[ParsedRequest], live: LiveSession, stale: str
    ) -> None:
        """The same request once more, with another bearer token than `stale`. Raises a Refusal."""
        self._bearers.pop(live.key, None)
        await self._get(request, live, b"/", stale)
        self.retrying.add(request)
        try:
            control.decide()
        finally:
            self.retrying.discard(request)

    async def fetch_bearer(self, control: FilterControl, request: Request[ParsedRequest], live: LiveSession) -> None:
        """Find this session's bearer token, or get one; then go on. Raises a Refusal."""
        known = await self._broker.bearer(live)
        if known is None:
            result = await self._get(request, live, b"/")
            known = result.bearer
            if known is None and result.again:
                raise login_required(request.site)  # the session is over
        if known is None:
            raise HandOffFailed("no_session", "no bearer token came of it")
        _remember(self._bearers, live.key, known)
        control.decide()

    async def check(
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        live: LiveSession,
        wire: bytes,
        credentials: Credentials,
    ) -> None:
        """Whose session is it? Another person's is ended; theirs goes on, and so does the request. Raises a Refusal."""
        try:
            theirs = await self._broker.check(live, self.upstream(request, live), credentials)
        except HandOffMismatch:
            theirs = False
        except HandOffFailed as failure:
            raise _leading_back(failure, wire) from failure
        if theirs:
            _remember(self._checked, live.key, self._context.clock())
            control.decide()
        else:
            await self.hand_off(control, request, live, wire)

    # --- the work ---

    async def _get(
        self, request: Request[ParsedRequest], live: LiveSession, wire: bytes, stale: str | None = None
    ) -> HandOffResult:
        upstream = self.upstream(request, live)
        try:
            result = await self._broker.hand_off(
                live, upstream, return_to=wire.decode(), request_id=request.request_id, stale=stale
            )
        except HandOffFailed as failure:
            raise _leading_back(failure, wire) from failure
        if result.cookies:
            _remember(self._checked, live.key, self._context.clock())
        if result.bearer is not None:
            _remember(self._bearers, live.key, result.bearer)
        return result

    def upstream(self, request: Request[ParsedRequest], live: LiveSession) -> UpstreamClient:
        """The upstream, as this person's requests reach it."""
        site, heads = request.site, self._context.heads
        lines = [line for line in request.head.lines if line.partition(b":")[0].lower() in _ABOUT_THE_BROWSER]
        lines += [heads.forwarding(request), heads.identity(site, live).removesuffix(b"\r\n")]
        lines.append(b"X-Request-Id: " + request.request_id.encode())
        seconds = self._plan.timeout.total_seconds()
        return UpstreamClient(self._context.pools[site.route.name], site.route.host, lines, seconds)


def away(location: str, cookies: Sequence[bytes], *, status: int = 303) -> Plain:
    """A redirect that is never stored, with the upstream's cookies."""
    headers = [("Location", location), ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")]
    return Plain(status, [*headers, *(("Set-Cookie", cookie.decode("latin-1")) for cookie in cookies)])


def _leading_back(failure: HandOffFailed, wire: bytes) -> HandOffFailed:
    failure.facts.setdefault("retry_url", wire.decode())
    failure.facts.setdefault("sign_out_url", SIGN_OUT)
    return failure


def _remember(memory: "OrderedDict[str, _Fact]", key: str, fact: _Fact) -> None:
    """Bounded: the oldest is forgotten, and asked for again."""
    memory[key] = fact
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
