"""Hand-offs under way: what a request waits for, and what is answered when it is there.

A browser ends on the page that it asked for, on this origin; no upstream says where (A-50). What this worker knows of bearer tokens and of
checks is kept in memory, bounded, and asked for again where it is missing: the truth is in Redis.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeVar

from gateway.errors import HandOffFailed, HandOffMismatch, LoginRequired, UpstreamSessionEnded
from gateway.gate.site import Site
from gateway.hand_off.broker import Broker, Handed
from gateway.hand_off.credentials import Credentials
from gateway.hand_off.records import Bearer
from gateway.http.request_head import ParsedRequest
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import Attended
from gateway.proxy.local_reply import Plain
from gateway.proxy.sealing import Sealing
from gateway.proxy.subrequest import UpstreamClient
from gateway.sessions.cache import LiveSession

SIGN_OUT: Final = "/oauth2/sign_out"
_REMEMBERED: Final = 10_000
_NEARLY_OVER: Final = 5.0  # seconds: a token that ends while it travels is none
_ABOUT_THE_VISITOR: Final = frozenset((b"user-agent", b"accept-language"))
_Fact = TypeVar("_Fact")


class Handing:
    """The hand-offs of one app in one worker."""

    def __init__(self, door: ProxyContext, broker: Broker, sealing: Sealing) -> None:
        self._door = door
        self._broker = broker
        self._plan = broker.plan
        self._sealing = sealing
        self._bearers: OrderedDict[str, Bearer] = OrderedDict()  # by session key
        self._checked: OrderedDict[str, float] = (
            OrderedDict()
        )  # by session key: when it was asked last whose session it is
        self.retrying: set[ParsedRequest] = set()

    def bearer(self, live: LiveSession) -> Bearer | None:
        known = self._bearers.get(live.key)
        return known if known is not None and known.until > self._door.now().timestamp() + _NEARLY_OVER else None

    def must_check(self, live: LiveSession) -> bool:
        """Whether it is time to ask the upstream whose session it is."""
        last = self._checked.get(live.key)
        every = (asked.every.total_seconds() for asked in self._plan.who_am_i[:1])
        return any(last is None or self._door.clock() - last > seconds for seconds in every)

    # --- each of these answers the request, or sends it on ---

    async def hand_off(self, visit: Attended, site: Site, live: LiveSession, wire: bytes) -> None:
        """Open the upstream's session, and let the browser ask for `wire` with it. Raises a Refusal."""
        handed = await self._get(visit, site, live, wire)
        cookies = [self._sealing.relayed(cookie, live, site) for cookie in handed.cookies]
        # SECURITY: an absolute URL of this very origin: no path, however it begins, leads to another host.
        visit.connection.respond(away(site.route.origin + (handed.link or wire.decode()), cookies, status=302))

    async def reopen(self, visit: Attended, site: Site, live: LiveSession, path: str) -> None:
        """A form met an ended session: open another one, and say that nothing was taken. Raises a Refusal."""
        handed = await self._get(visit, site, live, b"/")
        _, request = visit.at_hand()
        page = self._door.render(UpstreamSessionEnded(path, home_url="/"), request, visit)
        cookies = [self._sealing.relayed(cookie, live, site).decode("latin-1") for cookie in handed.cookies]
        fields = [*page.headers, *(("Set-Cookie", cookie) for cookie in cookies)]
        visit.connection.respond(Plain(page.status, fields, page.body))

    async def try_again(
        self, visit: Attended, site: Site, request: ParsedRequest, live: LiveSession, stale: str
    ) -> None:
        """The same request once more, with another bearer token than `stale`. Raises a Refusal."""
        self._bearers.pop(live.key, None)
        await self._get(visit, site, live, b"/", stale)
        self.retrying.add(request)
        try:
            visit.decide()
        finally:
            self.retrying.discard(request)

    async def fetch_bearer(self, visit: Attended, site: Site, live: LiveSession) -> None:
        """Find this session's bearer token, or get one; then go on. Raises a Refusal."""
        known = await self._broker.bearer(live)
        if known is None:
            handed = await self._get(visit, site, live, b"/")
            known = handed.bearer
            if known is None and handed.again:
                raise LoginRequired(sign_in_url=site.route.origin + "/oauth2/start")  # the session is over
        if known is None:
            raise HandOffFailed("no_session", "no bearer token came of it")
        _remember(self._bearers, live.key, known)
        visit.decide()

    async def check(
        self, visit: Attended, site: Site, live: LiveSession, wire: bytes, credentials: Credentials
    ) -> None:
        """Whose session is it? Somebody else's is ended; theirs goes on, and so does the request. Raises a Refusal."""
        try:
            theirs = await self._broker.check(live, self.upstream(visit, site, live), credentials)
        except HandOffMismatch:
            theirs = False
        except HandOffFailed as failure:
            raise _leading_back(failure, wire) from failure
        if theirs:
            _remember(self._checked, live.key, self._door.clock())
            visit.decide()
        else:
            await self.hand_off(visit, site, live, wire)

    # --- the work ---

    async def _get(
        self, visit: Attended, site: Site, live: LiveSession, wire: bytes, stale: str | None = None
    ) -> Handed:
        upstream = self.upstream(visit, site, live)
        try:
            handed = await self._broker.hand_off(
                live, upstream, return_to=wire.decode(), request_id=visit.request_id, stale=stale
            )
        except HandOffFailed as failure:
            raise _leading_back(failure, wire) from failure
        if handed.cookies:
            _remember(self._checked, live.key, self._door.clock())
        if handed.bearer is not None:
            _remember(self._bearers, live.key, handed.bearer)
        return handed

    def upstream(self, visit: Attended, site: Site, live: LiveSession) -> UpstreamClient:
        _, request = visit.at_hand()
        lines = [line for line in request.lines if line.partition(b":")[0].lower() in _ABOUT_THE_VISITOR]
        lines += [
            self._door.heads.forwarding(visit, site, request),
            self._door.heads.identity(site, live).removesuffix(b"\r\n"),
        ]
        lines.append(b"X-Request-Id: " + visit.request_id.encode())
        seconds = self._plan.timeout.total_seconds()
        return UpstreamClient(self._door.pools[site.route.name], site.route.host, lines, seconds)


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
