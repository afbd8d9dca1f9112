"""`/oauth2/form`: shows a person who has signed in again that their form is kept, and sends it with one click.

The click posts the form's fields, as hidden fields, to this path; the response is a 307 to the address that the form was for, so that the
browser sends the same bytes there by itself. The application gets an ordinary request of this browser, which passes the gate like any other.
"""

from typing import Final

from gateway.errors.access import CrossSiteRequest, FormGone, FormOfAnotherPerson
from gateway.errors.requests import BadRequest
from gateway.gate.access import account_of
from gateway.gate.site import FORM, start_url
from gateway.held_forms.holding import cookie_name, form_cookie
from gateway.held_forms.store import HeldForm, HeldForms
from gateway.languages.message import Message
from gateway.observability import events
from gateway.observability.events import Audit
from gateway.pages.links import Link
from gateway.pages.renderer import Content, Pages, RenderedPage, redirect
from gateway.sessions.cache import LiveSession
from gateway.sign_in.return_to import HOME, is_local
from gateway.web.browser_session import BrowserSessions
from gateway.web.request import WebRequest
from gateway.web.sign_out import is_same_origin

_LONGEST_SHOWN: Final = 200


class HeldFormPage:
    """`GET, POST /oauth2/form`. Raises FormGone, FormOfAnotherPerson, CrossSiteRequest, BadRequest, StoreUnavailable."""

    def __init__(self, *, forms: HeldForms, sessions: BrowserSessions, pages: Pages, audit: Audit) -> None:
        self._forms = forms
        self._sessions = sessions
        self._pages = pages
        self._audit = audit

    async def __call__(self, request: WebRequest) -> RenderedPage:
        # SECURITY: a page of another site must not have the form sent (C-80).
        if request.head.method == "POST" and not is_same_origin(request):
            raise CrossSiteRequest("form", retry_url=FORM)
        session = await self._sessions.find(request)
        if session is None:
            return redirect(303, start_url(FORM))
        token, held = await self._find(request, session)
        if request.head.method == "POST":
            return await self._send(request, session, token, held)
        content = Content(
            code="form_ready",
            tone="waiting",
            title=Message("form_ready.title", "Your form has not been sent yet"),
            message=Message(
                "form_ready.message",
                "Your session had ended when you sent it. Send it now, or leave it: it is deleted after 15 minutes.",
            ),
            account=account_of(session.session.identity),
            target=_shown(held.form.target),
            form_action=FORM,
            form_label=Message("form_ready.send", "Send it now"),
            form_fields=held.form.fields,
            form_charset=held.form.charset,
            links=(Link(label=Message("form_ready.leave", "Do not send it"), href=HOME),),
        )
        return self._pages.show(content, request.page_context(FORM))

    async def _find(self, request: WebRequest, session: LiveSession) -> tuple[str, HeldForm]:
        token = _token_of(request)
        held = None if token is None else await self._forms.find(token, request.route)
        if token is None or held is None:
            raise FormGone("no form")
        who, owner = session.session.identity, held.owner
        # SECURITY: the next person at the browser neither sees nor sends what this one typed (C-81).
        if (who.issuer, who.subject) != (owner.issuer, owner.subject):
            switch = start_url(FORM, "select_account")
            raise FormOfAnotherPerson(
                "the form's session was another person's", account=account_of(who), switch_url=switch
            )
        return token, held

    async def _send(self, request: WebRequest, session: LiveSession, token: str, held: HeldForm) -> RenderedPage:
        # SECURITY: what is sent is what was kept, whatever posts to this path (C-81).
        if request.body != held.form.body:
            raise BadRequest("the body is not that of the kept form")
        target = held.form.target
        if not is_local(target) or not await self._forms.take(token):
            raise FormGone("sent already")
        self._audit.emit(
            events.FORM_SENT, app=request.route.name, session=session.session.sid, request_id=request.request_id
        )
        # SECURITY: 307 makes the browser send the body again: only to a path of this very origin, never to a provider.
        return redirect(307, request.route.origin + target, ("Set-Cookie", form_cookie("", request.route)))


def _shown(target: str) -> str:
    """The address for a person: its path, of which a long one is cut."""
    path = target.partition("?")[0]
    return path if len(path) <= _LONGEST_SHOWN else path[:_LONGEST_SHOWN] + "..."


def _token_of(request: WebRequest) -> str | None:
    """The token of this browser's form; None when it is missing or repeated."""
    name = cookie_name(request.route).encode()
    pairs = (pair.strip(b" \t").partition(b"=") for value in request.cookies for pair in value.split(b";"))
    found = [value for key, _, value in pairs if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None
