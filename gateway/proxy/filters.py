"""HTTP filters: what an app asks for beyond forwarding. The proxy knows filters and no features.

A filter sees a request before it goes on, the head of its response before anything of it is written, the body while it streams, and a
refusal before it is answered. An app's filters are called in their order.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.errors.refusal import Refusal
from gateway.gate.decision import Decision, Forward, Refuse
from gateway.gate.request import Request
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.exchange import Exchange
from gateway.proxy.local_reply import LocalReply
from gateway.proxy.upstream import Reuse


class BodyFilter(Protocol):
    """Changes a response body on its way. Both raise UpstreamFault."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Replace:
    """The response is dropped; `act` answers the request."""

    act: Callable[[], None]


#: Looks at a response head, whose `lines` it may change; the flag is whether a body follows.
ResponseFilter = Callable[[ParsedResponse, bool], BodyFilter | Replace | None]


@dataclass(slots=True)
class UpstreamRequest:
    """What is about to be sent to the upstream. A filter may change it: it is a copy, made for this request."""

    head: ParsedRequest
    cookies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class FilterControl:
    """What a filter may do with the request at hand besides changing it.

    `respond` answers it; `run_later` goes on in a Task, whose refusals become responses; `decide` decides about it again and acts; `act` acts
    on a decision; `drop_exchange` ends the upstream's part. `with_body` goes on with the request's whole body, which may already be there, and
    answers with the refusal where it is too large.
    """

    respond: Callable[[LocalReply], None]
    run_later: Callable[[Coroutine[Any, Any, None]], None]
    decide: Callable[[], None]
    act: Callable[[Decision], None]
    drop_exchange: Callable[[], None]
    with_body: Callable[[Request[ParsedRequest], Callable[[bytes], None], Refusal], None]


class Taken:
    """The filter answers the request itself, now or later."""


TAKEN: Final = Taken()


class AppFilter(Protocol):
    """One feature of one app."""

    def on_request(
        self, control: FilterControl, request: Request[ParsedRequest], decision: Forward, outgoing: UpstreamRequest
    ) -> ResponseFilter | Taken | None:
        """Before an admitted request goes on. None: its response is not filtered. Raises a Refusal."""

    def on_refusal(self, control: FilterControl, request: Request[ParsedRequest], refused: Refuse) -> bool:
        """Whether a refused request is answered in another way than by its refusal."""


#: Whether a refused request of any app is answered in another way than by its refusal.
OnRefusal = Callable[[FilterControl, Request[ParsedRequest], Refuse], bool]


class FilteredExchange(Exchange):
    """An exchange whose response is shown to response filters first."""

    __slots__ = ("_body_filter", "_filters")

    def __init__(self, filters: Sequence[ResponseFilter], *exchange: Any) -> None:
        super().__init__(*exchange)
        self.plain = False
        self._filters = filters
        self._body_filter: BodyFilter | None = None

    def on_interim(self, response: ParsedResponse) -> None:
        self._apply_filters(response, False)
        super().on_interim(response)

    def on_tunnel(self, response: ParsedResponse, first: bytes) -> None:
        self._apply_filters(response, False)  # its cookies
        super().on_tunnel(response, first)

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None:
        outcome = self._apply_filters(response, first is not None)
        if isinstance(outcome, Replace):
            self.end()
            outcome.act()
            return
        if outcome is not None:
            self._body_filter = outcome
            first = outcome.feed(first) if first else first
        super().on_response(response, first)

    def on_body(self, data: bytes, *, last: bool = False) -> None:
        if self._body_filter is not None:
            data = self._body_filter.feed(data)
            if not data:
                self.touched = self._clock()
                return
            last = False  # the filter may have more
        super().on_body(data, last=last)

    def on_end(self, reuse: Reuse) -> None:
        rest = self._body_filter.end() if self._body_filter is not None else b""
        if rest:
            super().on_body(rest)
        super().on_end(reuse)

    def _apply_filters(self, response: ParsedResponse, has_body: bool) -> BodyFilter | Replace | None:
        """The first replacement, or the body filter: no two filters of an app change bodies."""
        body_filter: BodyFilter | None = None
        for each in self._filters:
            outcome = each(response, has_body)
            if isinstance(outcome, Replace):
                return outcome
            body_filter = outcome or body_filter
        return body_filter


def values_of(lines: Sequence[bytes], name: bytes) -> list[bytes]:
    """The values of the field `name` (lower case) among the lines of a head."""
    return [
        value.strip(b" \t") for found, _, value in (line.partition(b":") for line in lines) if found.lower() == name
    ]
