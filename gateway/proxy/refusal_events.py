"""The events for what the gate refused (docs/interface.md)."""

from typing import Any

from gateway.errors.access import Forbidden, FormLost, RouteBlocked
from gateway.errors.bearer import ProgramsForbidden, ScopeInsufficient, TokenPersonForbidden, TokenPersonUnregistered
from gateway.gate.decision import Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.observability import events
from gateway.observability.access_log import path_as_logged
from gateway.proxy.context import ProxyContext

_OF_TOKENS = ProgramsForbidden | ScopeInsufficient | TokenPersonForbidden | TokenPersonUnregistered


def emit_refusal(context: ProxyContext, request: Request[RequestHead], refused: Refuse) -> None:
    """Write the event of a refusal that has one."""
    refusal, session = refused.refusal, request.session
    if request.program is not None:
        session = request.program.session
    if not isinstance(refusal, RouteBlocked | FormLost | Forbidden | _OF_TOKENS):
        return
    facts: dict[str, Any] = {
        "app": request.site.route.name,
        "session": session.session.sid if session is not None else None,
        "request_id": request.request_id,
        "email": session.session.identity.email if session is not None else None,
        "client": context.heads.client_address(request),
        "method": request.head.method,
        "path": path_as_logged(request.head.target),
        "rule": refused.rule,
    }
    if isinstance(refusal, RouteBlocked):
        context.audit.emit(events.ROUTE_BLOCKED, **facts, kind=refusal.facts.get("kind", "password"))
    elif isinstance(refusal, FormLost):
        context.audit.emit(events.FORM_LOST, **facts, reason=refusal.facts.get("reason", "not_kept"))
    else:
        context.audit.emit(events.ACCESS_DENIED, **facts)
