"""The events for what the gate refused (docs/interface.md)."""

from typing import Any

from gateway.errors.access import Forbidden, FormLost, RouteBlocked
from gateway.gate.decision import Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.observability import events
from gateway.observability.events import Audit


def emit_refusal(audit: Audit, request: Request[RequestHead], refused: Refuse) -> None:
    """Write the event of a refusal that has one."""
    refusal, session = refused.refusal, request.session
    facts: dict[str, Any] = {
        "app": request.site.route.name,
        "session": session.session.sid if session is not None else None,
        "request_id": request.request_id,
        "email": session.session.identity.email if session is not None else None,
    }
    if isinstance(refusal, RouteBlocked):
        audit.emit(events.ROUTE_BLOCKED, **facts, kind=refusal.facts.get("kind", "password"), rule=refused.rule)
    elif isinstance(refusal, FormLost):
        audit.emit(events.FORM_LOST, **facts, reason=refusal.facts.get("reason", "not_kept"))
    elif isinstance(refusal, Forbidden):
        audit.emit(events.ACCESS_DENIED, **facts, rule=refused.rule)
