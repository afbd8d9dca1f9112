"""Keeps a form that the gate refused because the session has ended, and answers with a page that says whether it was kept."""

from typing import Final

from gateway.errors.access import FormKept, FormLost
from gateway.gate.access import sign_in_url
from gateway.gate.decision import Refuse
from gateway.gate.request import Request
from gateway.gate.site import FORM, AppRoute
from gateway.held_forms.form import LARGEST, Loss, NotKept, form_of
from gateway.held_forms.store import LIFE, HeldForm, HeldForms
from gateway.http.request_head import ParsedRequest
from gateway.observability import events
from gateway.observability.events import Audit
from gateway.policy.step_up import step_up_of
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import FilterControl
from gateway.proxy.local_reply import Plain
from gateway.proxy.refusal_events import emit_refusal
from gateway.sessions.cookie import set_cookie
from gateway.sessions.store import SessionStore

_FORM_TYPE: Final = b"application/x-www-form-urlencoded"


class FormHolding:
    """`on_refusal` is that of the data plane (`ProxyContext`)."""

    def __init__(self, context: ProxyContext, store: SessionStore, forms: HeldForms, audit: Audit) -> None:
        self._context = context
        self._store = store
        self._forms = forms
        self._audit = audit
        self._largest = min(LARGEST, context.limits.watched_body)

    def on_refusal(self, control: FilterControl, request: Request[ParsedRequest], refused: Refuse) -> bool:
        """Whether this answers the request: it is a form without a session."""
        if not isinstance(refused.refusal, FormLost):
            return False
        loss = loss_by_head(request, self._largest)
        if loss is not None:
            self._answer_lost(control, request, refused.refusal, loss)
            return True
        lost = refused.refusal
        control.with_body(
            request,
            lambda body: control.run_later(self._keep(control, request, lost, body)),
            _explained(lost, "too_large", request),
        )
        return True

    async def _keep(self, control: FilterControl, request: Request[ParsedRequest], lost: FormLost, body: bytes) -> None:
        """Raises StoreUnavailable."""
        key, route = request.session_key, request.site.route
        assert key is not None
        try:
            owner = await self._store.owner_of(key, route.host, route.name)
            # SECURITY: a made-up cookie, or one of another host, has no person who could come back for the form (C-81).
            if owner is None:
                raise NotKept("unknown_person")
            form = form_of(request.wire.decode(), body)
            token = self._forms.token_of(key)
            await self._forms.keep(token, HeldForm(form=form, owner=owner), route)
        except NotKept as error:
            self._answer_lost(control, request, lost, error.loss)
            return
        self._audit.emit(events.FORM_KEPT, app=route.name, session=owner.sid, request_id=request.request_id)
        start = sign_in_url(request, FORM, step_up=bool(step_up_of(request.matched.ruling)))
        page = self._context.render(
            FormKept(sign_in_url=start, target=request.matched.path), request.head, request.request_id, request.site
        )
        cookie = ("Set-Cookie", form_cookie(token, route))
        control.respond(Plain(page.status, (*page.headers, cookie), page.body))

    def _answer_lost(self, control: FilterControl, request: Request[ParsedRequest], lost: FormLost, loss: Loss) -> None:
        refusal = _explained(lost, loss, request)
        emit_refusal(self._context, request, Refuse(refusal, request.rule))
        control.respond(self._context.render(refusal, request.head, request.request_id, request.site))


def loss_by_head(request: Request[ParsedRequest], largest: int) -> Loss | None:
    """Why the head of a form rules out that it is kept; None: it does not."""
    head, route = request.head, request.site.route
    if request.session_key is None:
        return "no_session"
    # SECURITY: a form that a page of another site, or of a sibling host, sends is not what this person typed here (C-80).
    if head.values(b"origin") != [route.origin.encode()] or head.first(b"sec-fetch-site") not in (None, b"same-origin"):
        return "cross_site"
    # SECURITY: no form of a password route is kept, whatever its fields are called (C-81).
    if request.matched.password_routes or head.authorization:
        return "password"
    kinds = head.values(b"content-type")
    if head.method != "POST" or head.upgrade is not None or len(kinds) != 1 or head.first(b"content-encoding"):
        return "not_repeatable"
    kind = kinds[0].partition(b";")[0].strip().lower()
    if kind != _FORM_TYPE:
        return "upload" if kind == b"multipart/form-data" else "not_repeatable"
    return "too_large" if head.length > largest else None


def form_cookie(token: str, route: AppRoute) -> str:
    """The Set-Cookie value that keeps the token of a form as long as the form is kept; an empty token removes the cookie."""
    life = int(LIFE.total_seconds()) if token else 0
    return set_cookie(cookie_name(route), token, secure=route.secure, max_age=life)


def cookie_name(route: AppRoute) -> str:
    return f"{'__Host-' if route.secure else ''}doorward_form"


def _explained(lost: FormLost, loss: Loss, request: Request[ParsedRequest]) -> FormLost:
    """The refusal with what is lost, and why."""
    facts = {**lost.facts, "target": request.matched.path, "note": FormLost.notes.get(loss), "reason": loss}
    return FormLost(loss, **facts)
