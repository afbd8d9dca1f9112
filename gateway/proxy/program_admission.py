"""The requests of one client connection that come with an access token of ours: admitted at once where the token met the route's rules before,
verified where the gate asks for it."""

from collections.abc import Callable
from functools import partial

from gateway.bearer.presented import BearerToken
from gateway.bearer.verification import VerifiedToken
from gateway.errors.refusal import Refusal
from gateway.gate.request import Request
from gateway.gate.site import Route, Site
from gateway.http.request_head import ParsedRequest
from gateway.proxy.context import ProxyContext
from gateway.proxy.forwarder import Forwarder
from gateway.proxy.head_memo import HeadMemo


def known_route(context: ProxyContext, site: Site, head: ParsedRequest) -> Route | None:
    """The route of a request that needs nothing else of the gate, in an app without filters, where its line was judged before."""
    if head.repeatable and site.route.name not in context.filters:
        return site.route_of_line(head.line)
    return None


class ProgramAdmission:
    """`decide(request)` asks the gate; `on_token(request, refusal)` is called when a token was verified, None, or refused;
    `fail(failure)` with what that raises."""

    __slots__ = ("_context", "_decide", "_fail", "_forwarder", "_memo", "_on_token")

    def __init__(
        self,
        context: ProxyContext,
        memo: HeadMemo,
        forwarder: Forwarder,
        decide: Callable[[Request[ParsedRequest]], None],
        on_token: Callable[[Request[ParsedRequest], Refusal | None], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._context = context
        self._memo = memo
        self._forwarder = forwarder
        self._decide = decide
        self._on_token = on_token
        self._fail = fail

    def admit(self, request: Request[ParsedRequest], route: Route | None) -> None:
        """Ask the gate about a request that a session alone does not admit; `route` as in `RequestHandler.begin`."""
        token = self._memo.token
        if token is None or not self._repeat(request, token, route):
            self._decide(request)

    def _repeat(self, request: Request[ParsedRequest], token: BearerToken, route: Route | None) -> bool:
        """Forward what a verified token asks for alone, where it met the rules of this route before."""
        site, request.token = request.site, token
        # SECURITY: a session or other credentials beside the token are for the gate to judge (D-36).
        if request.session_key is not None or not self._memo.token_alone or token.malformed or not token.certain:
            return False
        route = route or known_route(self._context, site, request.head)
        if route is None or not route.bit:
            return False
        program = self._context.tokens.peek(token, site.route.host)
        if program is None or not program.session.met & route.bit:
            return False
        self._forwarder.repeat(request, program.session, route)
        return True

    def verify(self, request: Request[ParsedRequest], token: BearerToken) -> None:
        """Find the token among those that were verified, or verify it, and decide again."""
        tokens, route = self._context.tokens, request.site.route
        known = tokens.peek(token, route.host)
        if known is not None:
            request.program = known
            self._decide(request)
        else:
            tokens.read(token, route.name, route.host, partial(self._verified, request))

    def _verified(
        self, request: Request[ParsedRequest], program: VerifiedToken | None, refusal: Refusal | None
    ) -> None:
        request.program = program
        try:
            self._on_token(request, refusal)
        except Exception as failure:
            self._fail(failure)
