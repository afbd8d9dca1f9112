"""Break-glass at the door: who comes in by it, and what is told of that.

What is open stands at each site (`Site.active_opening`), so that a request where nothing is open pays one comparison. Whether a client is in
the range
is asked of the address that the trusted chain gives (C-34), and never of a peer that forwards without being trusted.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from weakref import WeakSet

from gateway.break_glass.store import Openings
from gateway.break_glass.watcher import CLOSED, EXPIRED, OPENED, GlassWatch, facts_of
from gateway.config.schema import Network
from gateway.gate.admission import decide
from gateway.gate.decision import Decision, is_by_break_glass
from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.http.header_policy import Kind, client_address, is_trusted, parse_address
from gateway.http.message import RequestHead
from gateway.http.request_head import ParsedRequest
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.policy.break_glass import ActiveOpening, Opening
from gateway.redis_client.invalidation import Sources

_EVENTS: Final = {
    OPENED: audit.BREAK_GLASS_OPENED,
    CLOSED: audit.BREAK_GLASS_CLOSED,
    EXPIRED: audit.BREAK_GLASS_EXPIRED,
}
_TELL_EVERY: Final = 60.0
_MOST_CLIENTS: Final = 1000
_OTHERS: Final = "others"
_FORWARDS: Final = (Kind.FORWARDED, Kind.VOUCHED)


@dataclass(frozen=True, slots=True)
class Entrant:
    """Somebody in the range, while it is open."""

    opening: ActiveOpening
    client: str


class _Uses:
    """How often one client came in by one opening, and what of that was told when."""

    __slots__ = ("last", "opening", "untold")

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.untold = 0
        self.last = float("-inf")


class BreakGlass:
    """One worker's. `clock` is monotonic; `once`, `ended` and `gateway` as in GlassWatch."""

    def __init__(
        self,
        openings: Openings,
        sites: Mapping[str, Site],
        trusted_proxies: tuple[Network, ...],
        sources: Sources,
        audit: Audit,
        *,
        once: Callable[[str, timedelta], Awaitable[bool]],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        tick: float = 1.0,
        ended: Callable[[str], None] = lambda opening_id: None,
        gateway: str = "",
    ) -> None:
        self.uses: Counter[str] = Counter()
        self._sites = sites
        self._trusted = trusted_proxies
        self._audit = audit
        self._clock = clock
        self._clients: dict[tuple[str, str], _Uses] = {}
        self._inside: dict[str, WeakSet[Request[RequestHead]]] = {}
        self._watch = GlassWatch(
            openings, sorted({site.route.name for site in sites.values()}), sources,
            show=self._show, told=self._told, over=self._over, once=once, clock=clock, now=now, tick=tick,
            ended=ended, gateway=gateway,
        )  # fmt: skip
        self.saw_forwarding = self._watch.saw_forwarding
        self.start = self._watch.start
        self.learn_ended = self._watch.learn_ended

    async def close(self) -> None:
        await self._watch.close()
        self._tell_uses(everything=True)

    def report(self) -> dict[str, Any]:
        """What is open and how often it was used, JSON-able."""
        return {"break_glass": facts_of(self._watch.open_now), "break_glass_uses": dict(self.uses)}

    # --- a request's side: asked only where something is open ---------------------------------------------------------

    def admit(self, request: Request[RequestHead]) -> Decision:
        """What the gate decides, with what is open."""
        entrant = self.entrant(request)
        request.opening = None if entrant is None else entrant.opening
        decision = decide(request)
        if entrant is not None and is_by_break_glass(decision):
            self._used(entrant, request)
        return decision

    def entrant(self, request: Request[RequestHead]) -> Entrant | None:
        """Whether the request comes from the open range."""
        active = request.site.active_opening
        if active is None or not self._watch.is_open(active):
            return None
        client = self._client(request)
        address = parse_address(client) if client is not None else None
        if client is None or address is None or not active.opening.holds(address):
            return None
        return Entrant(active, str(address))

    def _client(self, request: Request[RequestHead]) -> str | None:
        """The client's address; None where it cannot be known."""
        head = request.carrier or request.head
        if not isinstance(head, ParsedRequest):
            return None
        if request.trusted:
            chain = [entry.value for entry in head.special if entry.name.lower() == b"x-forwarded-for"]
            client = client_address(request.peer, chain, self._trusted)
            # SECURITY: a proxy that named nobody is not somebody in the range (C-34).
            return None if is_trusted(client, self._trusted) else client
        # SECURITY: what an untrusted peer forwards comes from anybody, whatever it says of them (C-34).
        if any(entry.kind in _FORWARDS for entry in head.special) or head.values(b"via"):
            self.saw_forwarding(request.peer)
            return None
        return request.peer

    def _used(self, entrant: Entrant, request: Request[RequestHead]) -> None:
        """Somebody was let in by it, and goes when it is closed. Counted; told once a minute for each client."""
        opening = entrant.opening.opening
        if request.abort is not None:
            self._inside.setdefault(opening.id, WeakSet()).add(request)
        self.uses[opening.app] += 1
        client = entrant.client if len(self._clients) < _MOST_CLIENTS else _OTHERS
        uses = self._clients.get((opening.id, entrant.client)) or self._clients.setdefault(
            (opening.id, client), _Uses(opening)
        )
        uses.untold += 1
        if self._clock() - uses.last >= _TELL_EVERY:
            self._tell(client, uses)

    def sweep(self) -> None:
        """Called now and then."""
        if self._clients:
            self._tell_uses()

    def _tell_uses(self, *, everything: bool = False) -> None:
        open_now = {opening.id for opening in self._watch.open_now}
        for (opening_id, client), uses in list(self._clients.items()):
            over = opening_id not in open_now
            if uses.untold and (everything or over or self._clock() - uses.last >= _TELL_EVERY):
                self._tell(client, uses)
            if over:
                del self._clients[opening_id, client]

    def _tell(self, client: str, uses: _Uses) -> None:
        count, uses.untold, uses.last = uses.untold, 0, self._clock()
        opening = uses.opening
        self._audit.event(audit.BREAK_GLASS_USED, app=opening.app, id=opening.id, client=client, count=count)

    # --- what changes -------------------------------------------------------------------------------------------------

    def _show(self, app: str, glass: ActiveOpening | None) -> None:
        for site in self._sites.values():
            if site.route.name == app:
                site.active_opening = glass

    def _over(self, opening: Opening) -> None:
        """Whoever is still inside goes: a WebSocket, a download, an event stream."""
        for request in list(self._inside.pop(opening.id, ())):
            if request.abort is not None:
                request.abort()

    def _told(self, what: str, opening: Opening) -> None:
        self._audit.event(_EVENTS[what], app=opening.app, **opening.facts())
