"""The seam for apps that ask for more than forwarding: what is changed in their responses, and sessions of their own.

`Visit` asks an app's `Care` once for each admitted request, and once for each refused one; an app without such settings has none. A
`ReviewedExchange` shows each response head to a `review` before anything of it is written, and sends its body through a filter where the
review asks for that.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.gate.decision import Decision, Forward, Refuse
from gateway.gate.site import Site
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.client_side import Client
from gateway.proxy.context import Visited
from gateway.proxy.exchange import Exchange
from gateway.proxy.local_reply import LocalReply
from gateway.proxy.upstream import Serves


class Attending(Client, Protocol):
    """The client's connection, as somebody sees it who may answer in the upstream's stead."""

    peer: str
    trusted: bool

    def respond(self, page: LocalReply) -> None: ...


class Attended(Visited, Protocol):
    """A request at hand, as its app's `Care` sees it."""

    key: str | None
    other_cookies: list[bytes]

    @property
    def connection(self) -> Attending: ...

    def at_hand(self) -> tuple[Site, ParsedRequest]: ...

    def act(self, site: Site, request: ParsedRequest, decision: Decision) -> None: ...

    def decide(self) -> None: ...

    def drop_exchange(self) -> None: ...

    def later(self, work: Coroutine[Any, Any, None]) -> None: ...


class Care(Protocol):
    """What one app's settings ask for."""

    def exchange(self, visit: Attended, site: Site, request: ParsedRequest, decision: Forward) -> Exchange | None:
        """The exchange of an admitted request. None: it is answered in another way, now or later. Raises a Refusal."""

    def instead(self, visit: Attended, site: Site, request: ParsedRequest, decision: Refuse) -> bool:
        """Whether a refused request is answered in another way than by its refusal."""


class BodyFilter(Protocol):
    """A response body on its way. Both may raise UpstreamFault."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Instead:
    """Nothing of this response goes on; `act` sees to an answer."""

    act: Callable[[], None]


#: Looks at a response head, whose `lines` it may change; the flag says whether a body follows.
Review = Callable[[ParsedResponse, bool], BodyFilter | Instead | None]


class ReviewedExchange(Exchange):
    """An exchange whose response is looked at first."""

    __slots__ = ("_filter", "_review")

    reviewed = True

    def __init__(self, review: Review, *exchange: Any) -> None:
        super().__init__(*exchange)
        self._review = review
        self._filter: BodyFilter | None = None

    def on_interim(self, response: ParsedResponse) -> None:
        self._review(response, False)
        super().on_interim(response)

    def on_tunnel(self, response: ParsedResponse, first: bytes) -> None:
        self._review(response, False)  # its cookies
        super().on_tunnel(response, first)

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None:
        outcome = self._review(response, first is not None)
        if isinstance(outcome, Instead):
            self.end()
            outcome.act()
            return
        if outcome is not None:
            self._filter = outcome
            first = outcome.feed(first) if first else first
        super().on_response(response, first)

    def on_body(self, data: bytes, *, last: bool = False) -> None:
        if self._filter is not None:
            data = self._filter.feed(data)
            if not data:
                self.touched = self._clock()
                return
            last = False  # the filter may have more
        super().on_body(data, last=last)

    def on_end(self, serves: Serves) -> None:
        rest = self._filter.end() if self._filter is not None else b""
        if rest:
            super().on_body(rest)
        super().on_end(serves)


def values_of(lines: Sequence[bytes], name: bytes) -> list[bytes]:
    """The values of the field `name` (lower case) among the lines of a head."""
    return [
        value.strip(b" \t") for found, _, value in (line.partition(b":") for line in lines) if found.lower() == name
    ]
