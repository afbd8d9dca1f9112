"""One app's `Care`: its edits and its hand-off, put around an ordinary exchange."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

from gateway.gate.decision import Forward, Refuse
from gateway.gate.site import Site
from gateway.http.header_policy import Kind
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.bridge import Bridge, Passage
from gateway.proxy.context import ProxyContext
from gateway.proxy.edits import ResponseRewriter
from gateway.proxy.filters import Attended, BodyFilter, Instead, ReviewedExchange
from gateway.proxy.upstream_head import Peer


@dataclass(slots=True, kw_only=True)
class Sender:
    """Who sends a head: the visitor, with the cookies that may go on."""

    request_id: str
    connection: Peer
    other_cookies: Sequence[bytes]


class AppCare:
    """`edits` for what is changed in responses, `bridge` for an upstream that keeps sessions of its own."""

    def __init__(self, door: ProxyContext, *, edits: ResponseRewriter | None, bridge: Bridge | None) -> None:
        self._door = door
        self._edits = edits
        self._bridge = bridge

    def exchange(
        self, visit: Attended, site: Site, request: ParsedRequest, decision: Forward
    ) -> ReviewedExchange | None:
        """Raises a Refusal."""
        passage: Passage | None = None
        cookies: Sequence[bytes] = visit.other_cookies
        if self._bridge is not None:
            passage = self._bridge.passage(visit, site, request, decision)
            if passage is None:
                return None
            cookies = passage.cookies
        # SECURITY: the lines of a request are those of the next one that says the same: what is changed is a copy (B-54).
        outward = copy(request)
        if passage is not None and passage.credentials.bearer is not None:
            _authorise(outward, passage.credentials.bearer)
        page = False
        if self._edits is not None:
            cookies = self._edits.cookies(cookies)
            page = self._edits.is_page(request)
            if page:
                outward.lines = self._edits.request_lines(outward.lines)
        sender = Sender(request_id=visit.request_id, connection=visit.connection, other_cookies=cookies)
        head = self._door.heads.upstream(sender, site, outward, decision)

        def review(response: ParsedResponse, has_body: bool) -> BodyFilter | Instead | None:
            if passage is not None and self._bridge is not None:
                instead = self._bridge.review(visit, site, request, decision, passage, response)
                if instead is not None:
                    return instead
            if self._edits is None:
                return None
            return self._edits.response(response, page=page, has_body=has_body)

        pool = self._door.pools[site.route.name]
        return ReviewedExchange(review, visit.connection, request, head, pool, site.app.timeouts, self._door.clock)

    def instead(self, visit: Attended, site: Site, request: ParsedRequest, decision: Refuse) -> bool:
        return self._bridge is not None and self._bridge.instead(visit, site, request, decision)


def _authorise(request: ParsedRequest, bearer: str) -> None:
    """The upstream hears of this person's token alone, whatever the client sent."""
    request.special = [entry for entry in request.special if entry.kind is not Kind.AUTHORIZATION]
    request.lines = [*request.lines, b"Authorization: Bearer " + bearer.encode("ascii")]
