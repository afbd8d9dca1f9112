"""One request, as a value that the gate, the head writer, filters and events read. Pure.

The proxy makes one for each request; `admission.decide` sets the route and the canonical target.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from msgspec import Struct

from gateway.bearer.presented import BearerToken
from gateway.bearer.verification import VerifiedToken
from gateway.gate.site import Route, Site
from gateway.http.message import RequestHead
from gateway.policy.break_glass import ActiveOpening
from gateway.sessions.live import LiveSession

Head = TypeVar("Head", bound=RequestHead, covariant=True)

#: For a request whose time was not taken: every sign-in is too old then, so a step-up is never met.
NO_TIME: Final = datetime.max.replace(tzinfo=UTC)


# A struct is made in a third of a dataclass's time, and one is made for each request.
class Request(Struct, Generic[Head], eq=False, weakref=True):
    """`session_key` is the key of the session cookie, None without a cookie; `session` the session that was found for it.

    `now` is aware. `request_id` names the request in logs. `peer` is the address at the other end of the connection, `trusted` whether
    its forwarding fields are believed. `cookies` are the values that may go to the upstream.
    `body` is the whole body where it was read. `session_looked_up`: the store was read, so without `session` there is none.
    `body_hidden`: there may be a body that is never read here (forward-auth). `hand_off_link`: the request is for the one hand-off link
    that was made for this person. `opening`: the client is in a range that break-glass has opened.
    `token` is an access token that is or may be ours, `program` what it was verified as, once the decision asked for it.
    `carrier` is the request on the wire where `head` is only described in it (forward-auth). `abort` ends the connection of the request.
    `route`, `wire` (the canonical target) and `query` (the canonical query) are set by the first step of the decision; `rule` and `path`,
    as logs name them, by the code that applies the decision.
    """

    site: Site
    head: Head
    session_key: str | None
    session: LiveSession | None
    now: datetime = NO_TIME
    request_id: str = ""
    peer: str = ""
    trusted: bool = False
    cookies: Sequence[bytes] = ()
    body: bytes | None = None
    session_looked_up: bool = False
    body_hidden: bool = False
    hand_off_link: bool = False
    opening: ActiveOpening | None = None
    carrier: RequestHead | None = None
    abort: Callable[[], None] | None = None
    route: Route | None = None
    wire: bytes = b""
    query: bytes = b""
    rule: str = ""
    path: str = "-"
    token: BearerToken | None = None
    program: VerifiedToken | None = None

    @property
    def matched(self) -> Route:
        """The route, once the first step of the decision has set it."""
        route = self.route
        assert route is not None
        return route
