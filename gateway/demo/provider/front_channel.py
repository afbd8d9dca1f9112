"""Browsers: the authorization request and the login page."""

import secrets
from datetime import timedelta
from typing import Any

from aiohttp import web
from authlib.common.urls import add_params_to_uri

from gateway.demo.provider.pages import page, redirect
from gateway.demo.provider.realm import Realm
from gateway.demo.provider.requests import (
    ACR_VALUES,
    AuthorizationRequest,
    BrowserSession,
    RequestDenied,
    RequestRefused,
    parse_request,
)
from gateway.demo.provider.tokens import Grant
from gateway.demo.provider.vault import Vault

_TOO_LATE = "This page was open for too long, or was used already. Go back to the application and start again."


class FrontChannel:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._asked: Vault[AuthorizationRequest] = Vault(timedelta(minutes=15), realm.now)

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """A code at once for whom signed in already and satisfies the request; the login page for all others."""
        parameters = request.query if request.method == "GET" else await request.post()
        if len(set(parameters)) != len(parameters):
            return self._refuse("The request gives a parameter twice.")
        try:
            asked = parse_request({name: str(value) for name, value in parameters.items()}, self._realm.clients)
        except RequestRefused as refused:
            return self._refuse(str(refused))
        except RequestDenied as denied:
            error = [("error", denied.error), ("error_description", denied.description)]
            return self._redirect(denied.redirect_uri, error, denied.state)
        session = self._realm.session_of(request)
        if session is not None and asked.satisfied_by(session, self._realm.now()):
            return self._give_code(asked, session)
        if "none" in asked.prompts:
            return self._redirect(asked.redirect_uri, [("error", "login_required")], asked.state)
        return self._ask(asked, session)

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """The login page's form."""
        form = await request.post()
        asked = self._asked.pop(str(form.get("interaction", "")))
        if asked is None:
            return self._refuse(_TOO_LATE)
        old = self._realm.session_of(request)
        person = self._chosen(str(form.get("person", "")), str(form.get("email", "")))
        if person is None:
            return self._ask(asked, old, "There is nobody here with this address.")
        # Asking the same person again (prompt=login, max_age) renews the session; another person gets one of their own.
        same = old if old is not None and old.subject == person["sub"] else None
        session = BrowserSession(
            subject=person["sub"],
            sid=same.sid if same else secrets.token_urlsafe(16),
            auth_time=self._realm.now(),
            acr=asked.acr or ACR_VALUES[0],
            clients=same.clients if same else set(),
        )
        response = self._give_code(asked, session)
        self._realm.remember(request, response, session)
        return response

    def _ask(self, asked: AuthorizationRequest, session: BrowserSession | None, wrong: str = "") -> web.Response:
        choose = "select_account" in asked.prompts
        again = ""
        if session is not None and asked.acr not in (None, session.acr):
            again = "This page asks for a second factor. The sample takes your word for it."
        elif session is not None and not choose:
            again = "This page asks you to sign in again."
        return page(
            "sign_in.html",
            title=self._realm.title,
            heading="Choose an account" if choose else "Sign in",
            status=400 if wrong else 200,
            client=asked.client.title,
            again=again,
            wrong=wrong,
            action=self._realm.url("/sign-in"),
            interaction=self._asked.put(asked),
            people=[{"name": "", "email": "", "note": "", **person} for person in self._realm.people.values()],
            current=session.subject if session else None,
            hint=asked.login_hint,
        )

    def _chosen(self, subject: str, email: str) -> dict[str, Any] | None:
        if subject:
            return self._realm.people.get(subject)
        wanted = email.strip().casefold()
        people = self._realm.people.values()
        return next((person for person in people if str(person.get("email", "")).casefold() == wanted), None)

    def _give_code(self, asked: AuthorizationRequest, session: BrowserSession) -> web.Response:
        session.clients.add(asked.client.client_id)
        grant = Grant(
            client_id=asked.client.client_id,
            redirect_uri=asked.redirect_uri,
            scopes=asked.scopes,
            subject=session.subject,
            sid=session.sid,
            auth_time=int(session.auth_time.timestamp()),
            acr=session.acr,
            nonce=asked.nonce,
            code_challenge=asked.code_challenge,
        )
        return self._redirect(asked.redirect_uri, [("code", self._realm.tokens.code_for(grant))], asked.state)

    def _redirect(self, redirect_uri: str, parameters: list[tuple[str, str]], state: str | None) -> web.Response:
        whole = [*parameters, *([("state", state)] if state else []), ("iss", self._realm.issuer)]
        return redirect(str(add_params_to_uri(redirect_uri, self._realm.authorization_response(whole))))

    def _refuse(self, text: str) -> web.Response:
        heading = "This request cannot be answered"
        return page("message.html", title=self._realm.title, heading=heading, text=text, status=400)
