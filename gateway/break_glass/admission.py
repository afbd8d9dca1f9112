"""Requests that a break-glass opening admits, and the events about them.

`Site.active_opening` holds the opening, so that a request to an app without one costs a single comparison. Whether a client is in the range is
decided by the address that the chain of trusted proxies gives (C-34), and never by the address of a peer that forwards without being trusted.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakSet

from gateway.break_glass.watcher import CLOSED, EXPIRED, OPENED, OpeningWatcher, WatcherParts
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

_EVENTS: Final = {
    OPENED: audit.BREAK_GLASS_OPENED,
    CLOSED: audit.BREAK_GLASS_CLOSED,
    EXPIRED: audit.BREAK_GLASS_EXPIRED,
}
_EMIT_EVERY: Final = 60.0
_MOST_CLIENTS: Final = 1000
_OTHERS: Final = "others"
_FORWARDS: Final = (Kind.FORWARDED, Kind.PLACE, Kind.VOUCHED)


@dataclass(frozen=True, slots=True)
class ClientInRange:
    """A client's address, and the opening whose range contains it."""

    opening: ActiveOpening
    client: str


class _Uses:
    """The requests of one client that an opening admitted, and when their event was last emitted."""

    __slots__ = ("emitted_at", "opening", "pending")

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.pending = 0  # not in an event yet
        self.emitted_at = float("-inf")


class BreakGlass:
    """Break-glass of one worker, for the sites of its configuration, by host."""

    def __init__(
        self, parts: WatcherParts, sites: Mapping[str, Site], trusted_proxies: tuple[Network, ...], audit: Audit
    ) -> None:
        self.uses: Counter[str] = Counter()  # admitted requests, by app
        self._sites = sites
        self._trusted = trusted_proxies
        self._audit = audit
        self._clock = parts.clock
        self._clients: dict[tuple[str, str], _Uses] = {}
        self._admitted: dict[str, WeakSet[Request[RequestHead]]] = {}  # by opening, while they last
        self._watcher = OpeningWatcher(
            parts, sorted({site.route.name for site in sites.values()}),
            on_change=self._on_change, on_close=self._on_close, emit=self._emit,
        )  # fmt: skip
        self.on_forwarding = self._watcher.on_forwarding
        self.start = self._watcher.start
        self.mark_ended = self._watcher.mark_ended

    async def close(self) -> None:
        """Stop watching, and emit the events of uses that are still pending."""
        await self._watcher.close()
        self._emit_uses(everything=True)

    @property
    def open_now(self) -> list[dict[str, str]]:
        """The openings that this worker applies, for its report."""
        return [{"app": opening.app, **opening.facts()} for opening in self._watcher.open_now]

    # --- one request; called only where an opening is active ----------------------------------------------------------

    def admit(self, request: Request[RequestHead]) -> Decision:
        """The gate's decision on a request to a site with an opening."""
        found = self.client_in_range(request)
        request.opening = None if found is None else found.opening
        decision = decide(request)
        if found is not None and is_by_break_glass(decision):
            self._count_use(found, request)
        return decision

    def client_in_range(self, request: Request[RequestHead]) -> ClientInRange | None:
        """The request's client, if the opening counts and its range contains the address."""
        active = request.site.active_opening
        if active is None or not self._watcher.is_open(active):
            return None
        client = self._client(request)
        address = parse_address(client) if client is not None else None
        if client is None or address is None or not active.opening.holds(address):
            return None
        return ClientInRange(active, str(address))

    def _client(self, request: Request[RequestHead]) -> str | None:
        """The client's address; None where it cannot be known."""
        head = request.carrier or request.head
        if not isinstance(head, ParsedRequest):
            return None
        if request.trusted:
            chain = [entry.value for entry in head.special if entry.name.lower() == b"x-forwarded-for"]
            client = client_address(request.peer, chain, self._trusted)
            # SECURITY: a proxy that names no client is not itself a client in the range (C-34).
            return None if is_trusted(client, self._trusted) else client
        # SECURITY: an untrusted peer forwards requests of any client, and its headers prove nothing (C-34).
        if any(entry.kind in _FORWARDS for entry in head.special) or head.values(b"via"):
            self.on_forwarding(request.peer)
            return None
        return request.peer

    def _count_use(self, found: ClientInRange, request: Request[RequestHead]) -> None:
        """Count an admitted request, and keep it to end it with the opening. One event a minute and client."""
        opening = found.opening.opening
        if request.abort is not None:
            self._admitted.setdefault(opening.id, WeakSet()).add(request)
        self.uses[opening.app] += 1
        client = found.client if len(self._clients) < _MOST_CLIENTS else _OTHERS
        uses = self._clients.get((opening.id, found.client)) or self._clients.setdefault(
            (opening.id, client), _Uses(opening)
        )
        uses.pending += 1
        if self._clock() - uses.emitted_at >= _EMIT_EVERY:
            self._emit_use(client, uses)

    def sweep(self) -> None:
        """Emit the events that are due; called about once a second."""
        if self._clients:
            self._emit_uses()

    def _emit_uses(self, *, everything: bool = False) -> None:
        open_now = {opening.id for opening in self._watcher.open_now}
        for (opening_id, client), uses in list(self._clients.items()):
            over = opening_id not in open_now
            if uses.pending and (everything or over or self._clock() - uses.emitted_at >= _EMIT_EVERY):
                self._emit_use(client, uses)
            if over:
                del self._clients[opening_id, client]

    def _emit_use(self, client: str, uses: _Uses) -> None:
        count, uses.pending, uses.emitted_at = uses.pending, 0, self._clock()
        opening = uses.opening
        self._audit.emit(audit.BREAK_GLASS_USED, app=opening.app, id=opening.id, client=client, count=count)

    # --- callbacks of the watcher -------------------------------------------------------------------------------------

    def _on_change(self, app: str, opening: ActiveOpening | None) -> None:
        for site in self._sites.values():
            if site.route.name == app:
                site.active_opening = opening

    def _on_close(self, opening: Opening) -> None:
        """Abort the requests that it admitted and that still run: WebSockets, downloads, event streams."""
        for request in list(self._admitted.pop(opening.id, ())):
            if request.abort is not None:
                request.abort()

    def _emit(self, event: str, opening: Opening) -> None:
        self._audit.emit(_EVENTS[event], app=opening.app, **opening.facts())
