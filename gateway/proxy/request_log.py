"""What is counted and logged of the requests of one client connection."""

from gateway.gate.request import Request
from gateway.http.request_head import ParsedRequest
from gateway.observability.access_log import AccessRecord
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import ProxyContext
from gateway.proxy.exchange import Exchange
from gateway.proxy.head_memo import HeadMemo


class RequestLog:
    """`method`, `request_id` and `started` (monotonic seconds) are those of the request at hand, which may be none that can be parsed."""

    __slots__ = ("_context", "_memo", "_stream", "method", "request_id", "started")

    def __init__(self, stream: ClientStream, context: ProxyContext, memo: HeadMemo) -> None:
        self.method = "-"
        self.request_id = ""
        self.started = 0.0
        self._stream = stream
        self._context = context
        self._memo = memo

    def write(
        self, request: Request[ParsedRequest] | None, status: int, size: int, exchange: Exchange | None = None
    ) -> None:
        """Count the request, and write its access line. None: its head did not lead to a site. `exchange`: an upstream answered it."""
        context, site = self._context, self._memo.site
        seconds = context.clock() - self.started
        app = site.route.name if site is not None else "-"
        waited = exchange.waited if exchange is not None and exchange.status else -1.0
        context.counters.finished(app, status, seconds, waited)
        log = context.access_log
        if log is None:
            return
        session = request.session if request is not None else None
        log.write(
            AccessRecord(
                app=app,
                method=self.method,
                path=request.path if request is not None else "-",
                status=status,
                size=size,
                seconds=seconds,
                client=self._client(request) if self._stream.trusted else self._stream.peer,
                session=session.session.sid if session is not None else "",
                request_id=self.request_id,
                rule=request.rule if request is not None else "",
                chosen=log.choose(_facts(request)) if log.fields else (),
            )
        )

    def _client(self, request: Request[ParsedRequest] | None) -> str:
        """The client's address behind a trusted proxy."""
        if request is None:
            return self._stream.peer
        memo = self._memo
        if not memo.client:
            memo.client = self._context.heads.client_address(request)
        return memo.client


def _facts(request: Request[ParsedRequest] | None) -> dict[str, str]:
    """What an access line can have besides."""
    if request is None:
        return {}
    agent = request.head.first(b"user-agent")
    return {
        "user": request.session.session.identity.subject if request.session is not None else "",
        "host": request.site.route.host,
        "agent": agent.decode("latin-1") if agent is not None else "",
    }
