"""The events of docs/interface.md for what the gate refused."""

from typing import Any

from gateway.errors import Forbidden, RouteBlocked
from gateway.gate.decision import Refuse
from gateway.gate.site import Site
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.sessions.cache import LiveSession


def tell_refusal(log: Audit, request_id: str, refused: Refuse, site: Site | None, live: LiveSession | None) -> None:
    """`site` and `live` are those of the request that was judged."""
    refusal = refused.refusal
    facts: dict[str, Any] = {
        "app": site.route.name if site is not None else "-",
        "session": live.session.sid if live is not None else None,
        "request_id": request_id,
        "email": live.session.identity.email if live is not None else None,
    }
    if isinstance(refusal, RouteBlocked):
        log.event(audit.ROUTE_BLOCKED, **facts, kind=refusal.facts.get("kind", "password"), rule=refused.rule)
    elif isinstance(refusal, Forbidden):
        log.event(audit.ACCESS_DENIED, **facts, rule=refused.rule)
