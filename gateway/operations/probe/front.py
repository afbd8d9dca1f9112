"""Refusals of a proxy in front of the gateway: nginx, haproxy or Caddy answers a malformed request itself, and nothing behind it gets one.

Pure. Such an answer counts as a refusal only when all of this holds: requests that no server accepts have had an answer of the same shape,
which is no Doorward's; its status is one that servers give to malformed requests; and the same request with a field for which a Doorward
refuses every request had the same answer, so it is known that the request reached no Doorward. A proxy that sends requests past the gateway
to the application is found all the same, because the application's answers have another shape.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from gateway.operations.probe.requests import ProbeRequest
from gateway.operations.probe.verdicts import ProbeResponse, problem_of

#: A Doorward refuses each request with this field that it would forward: it is no list of conditions (RFC 4918 section 10.4).
CERTAINLY_REFUSED: Final = (b"If", b"doorward-probe")
#: Requests that no server forwards.
MALFORMED: Final = (
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /\x01 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nX Y: z\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/7.3\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: x\r\nConnection: close\r\n\r\n",
)
#: Bad Request, Not Allowed, Length Required, Too Large, URI Too Long, Expectation, Misdirected, Header Too Large, Not Implemented, Version.
_STATUSES: Final = frozenset({400, 405, 411, 413, 414, 417, 421, 431, 501, 505})
_REASON: Final = re.compile(rb"[45][0-9]{2} [A-Za-z :-]+")
_Shape = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontAnswers:
    """The shapes of a front's own refusals: its Server field, the content type, and the body without status and reason."""

    shapes: frozenset[_Shape] = frozenset()

    def may_be_refusal(self, response: ProbeResponse | None, *, head_only: bool = False) -> bool:
        """Whether a response may be a refusal of the front. An answer to HEAD has no body to compare."""
        if response is None or response.status not in _STATUSES or problem_of(response) is not None:
            return False
        server, kind, body = _shape(response)
        return any((server, kind) == shape[:2] and (head_only or body == shape[2]) for shape in self.shapes)


def front_answers(responses: list[ProbeResponse | None]) -> FrontAnswers:
    """What a front answers to MALFORMED; nothing where each answer is a Doorward's."""
    own = [each for each in responses if each is not None and each.status in _STATUSES and problem_of(each) is None]
    return FrontAnswers(shapes=frozenset(map(_shape, own)))


def certainly_refused(request: ProbeRequest) -> ProbeRequest:
    """The same request, which a Doorward that gets it refuses in any case."""
    return replace(request, fields=(*request.fields, CERTAINLY_REFUSED))


def _shape(response: ProbeResponse) -> _Shape:
    return response.value("server"), response.value("content-type").lower(), _REASON.sub(b"", response.body).strip()
