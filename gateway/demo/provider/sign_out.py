"""Signing out of the provider, and telling every application that was told of the sign-in.

OpenID Connect RP-Initiated Logout 1.0, OpenID Connect Back-Channel Logout 1.0.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
from aiohttp import web
from authlib.common.urls import add_params_to_uri

from gateway.demo.provider.clients import DemoClient
from gateway.demo.provider.pages import page, redirect
from gateway.demo.provider.realm import Realm
from gateway.demo.provider.requests import BrowserSession
from gateway.demo.provider.vault import Vault
from gateway.oidc.calls import open_session

logger = logging.getLogger("doorward.demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """Do you want to sign out? Asked in the session `sid`; `target` is where a yes leads."""

    sid: str
    target: str | None


class SignOut:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._questions: Vault[_Question] = Vault(timedelta(minutes=15), realm.now)
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._http = open_session()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def home(self, request: web.Request) -> web.StreamResponse:
        """Who is signed in here, and where that was used."""
        return self._account_page(self._realm.session_of(request), None, "")

    async def end_session(self, request: web.Request) -> web.StreamResponse:
        """The end_session_endpoint. Signs out at once when the ID Token hint is of this session; asks otherwise."""
        values = request.query if request.method == "GET" else await request.post()
        parameters = {name: str(value) for name, value in values.items()}
        hint = self._realm.signer.read_own(parameters.get("id_token_hint", ""))
        client = self._realm.clients.get(parameters.get("client_id") or str((hint or {}).get("aud", "")))
        target = _target(client, parameters)
        session = self._realm.session_of(request)
        if session is None or (hint is not None and hint.get("sid") == session.sid):
            return await self._end(request, target)
        name = client.title if client else "An application"
        return self._account_page(session, target, f"{name} asks to sign you out here too.")

    async def confirmed(self, request: web.Request) -> web.StreamResponse:
        question = self._questions.pop(str((await request.post()).get("question", "")))
        session = self._realm.session_of(request)
        if question is None or (session is not None and question.sid != session.sid):
            return self._account_page(session, None, "")
        return await self._end(request, question.target)

    async def _end(self, request: web.Request, target: str | None) -> web.StreamResponse:
        text = "You are signed out here and in the applications that this page signed you in to."
        gone = page("message.html", title=self._realm.title, heading="You are signed out", text=text)
        response = redirect(target) if target else gone
        session = self._realm.forget(request, response)
        if session is not None:
            await self._tell_clients(session)
        return response

    def _account_page(self, session: BrowserSession | None, target: str | None, text: str) -> web.Response:
        person = self._realm.people.get(session.subject) if session else None
        told = [client.title for client in self._realm.clients if session and client.client_id in session.clients]
        return page(
            "account.html",
            title=self._realm.title,
            heading=f"You are signed in as {person.get('name') or person['sub']}" if person else "Nobody is signed in",
            text=text,
            person=person,
            told=told,
            question=self._questions.put(_Question(sid=session.sid, target=target)) if session else "",
            action=self._realm.url("/signed-out"),
            home=self._realm.url("/"),
        )

    async def _tell_clients(self, session: BrowserSession) -> None:
        told = [c for c in self._realm.clients if c.client_id in session.clients and c.backchannel_logout_uri]
        await asyncio.gather(*(self._tell(client, session) for client in told))

    async def _tell(self, client: DemoClient, session: BrowserSession) -> None:
        claims = {"jti": secrets.token_urlsafe(16), **self._realm.logout_token_claims(client, session)}
        form = {"logout_token": self._realm.sign_logout_token(claims)}
        if self._http is None or client.backchannel_logout_uri is None:
            return
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self._http.post(
                client.backchannel_logout_uri, data=form, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status not in (200, 204):
                    logger.warning("%s answered %d to the logout token", client.title, response.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.warning("%s was not told of the sign-out: %s", client.title, type(error).__name__)


def _target(client: DemoClient | None, parameters: dict[str, str]) -> str | None:
    """Where to go afterwards: an address that this client registered, and nowhere else."""
    wanted = parameters.get("post_logout_redirect_uri", "")
    if client is None or wanted not in client.post_logout_redirect_uris:
        return None
    state = parameters.get("state")
    return str(add_params_to_uri(wanted, [("state", state)])) if state else wanted
