"""The demo's provider, able to misbehave: every A-case of the threat list can be told to it.

`told` overrides members of what it says (`MISSING` leaves one out), `sign` replaces the signing of ID Tokens, `faults` replaces
whole answers of an endpoint, and `before_tokens` runs when tokens were issued and are not sent yet. `seen` records every request.
`forms` has requests that were pushed or signed; `user` is what Apple sends beside a response by form_post.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp
from aiohttp import web
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from yarl import URL

from gateway.demo.provider import DemoClient, DemoProvider
from gateway.demo.provider.pages import answer
from gateway.demo.provider.requests import BrowserSession
from gateway.demo.provider.sign_out import SignOut
from gateway.demo.provider.tokens import Grant, Issued
from gateway.identity.claims import Identity
from tests.fakes.forge import rsa_key
from tests.fakes.request_forms import RequestForms

MISSING: Final = object()

MIA: Final = {
    "sub": "hd-1001",
    "email": "mia@example.com",
    "email_verified": True,
    "name": "Mia Lindqvist",
    "preferred_username": "mia",
    "groups": ["members"],
}
ADA: Final = {**MIA, "sub": "hd-1003", "email": "ada@example.com", "name": "Ada Marsh", "groups": ["members", "staff"]}

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request; `endpoint` is the last part of its path."""

    endpoint: str
    method: str
    headers: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class Told:
    """What is said otherwise, document by document."""

    metadata: dict[str, Any] = field(default_factory=dict)
    authorization: dict[str, Any] = field(default_factory=dict)
    pushed: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    logout_token: dict[str, Any] = field(default_factory=dict)
    jwks: dict[str, Any] | None = None


def _with(honest: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**honest, **told}.items() if value is not MISSING}


class MisbehavingProvider(DemoProvider):
    """Honest until told otherwise."""

    def __init__(self, clients: Any = (), people: Any = (MIA, ADA), **settings: Any) -> None:
        super().__init__(clients, people, key=settings.pop("key", rsa_key()), **settings)
        self.told = Told()
        self.sign: Callable[[dict[str, Any]], str] | None = None
        self.faults: dict[str, Fault] = {}
        self.before_tokens: Callable[[], Awaitable[None]] | None = None
        self.seen: list[Seen] = []
        self.audiences: tuple[str, ...] = ()  # the only ones that an assertion may name; empty: as the demo's provider
        self.forms = RequestForms()
        self.user: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        return self._listener is not None

    def count(self, endpoint: str) -> int:
        return sum(1 for request in self.seen if request.endpoint == endpoint)

    def add_routes(self, app: web.Application, prefix: str, sign_out: SignOut) -> None:
        app.middlewares.append(self._watch)
        app.router.add_post(f"{prefix}/par", self._push)
        super().add_routes(app, prefix, sign_out)

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        endpoint = request.path.rpartition("/")[2]
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.seen.append(Seen(endpoint=endpoint, method=request.method, headers=dict(request.headers), form=form))
        fault = self.faults.get(endpoint)
        if fault:
            return await fault(request)
        response: web.StreamResponse
        if endpoint == "authorize" and request.method == "GET":
            response = await self.forms.authorize(request, self.clients, handler)
        else:
            response = await handler(request)
        return self.forms.respond(response, self.user)

    async def _push(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        pushed = self.forms.push(form, request.headers.get("Authorization"), self.clients, self.url("/par"), self.now())
        if pushed.status != 201 or pushed.body is None:
            return pushed
        said = answer(_with(json.loads(str(pushed.text)), self.told.pushed))
        said.set_status(201)
        return said

    def metadata(self) -> dict[str, Any]:
        return _with(super().metadata(), self.told.metadata)

    def assertion_audiences(self) -> tuple[str, ...]:
        return self.audiences or super().assertion_audiences()

    async def serve_keys(self, request: web.Request) -> web.StreamResponse:
        return answer(self.told.jwks or self.signer.jwks())

    def authorization_response(self, parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return list(_with(dict(parameters), self.told.authorization).items())

    async def token_answer(self, request: web.Request, grant: Grant, issued: Issued) -> web.StreamResponse:
        if self.before_tokens is not None:
            await self.before_tokens()
        return await super().token_answer(request, grant, issued)

    def token_response(self, grant: Grant, issued: Issued) -> dict[str, Any]:
        return _with(super().token_response(grant, issued), self.told.token)

    def id_token_claims(self, grant: Grant, access_token: str) -> dict[str, Any]:
        return _with(super().id_token_claims(grant, access_token), self.told.id_token)

    def sign_id_token(self, claims: dict[str, Any]) -> str:
        return self.sign(claims) if self.sign else super().sign_id_token(claims)

    def userinfo(self, grant: Grant) -> dict[str, Any]:
        return _with(super().userinfo(grant), self.told.userinfo)

    def logout_token_claims(self, client: DemoClient, session: BrowserSession) -> dict[str, Any]:
        return _with(super().logout_token_claims(client, session), self.told.logout_token)


def earlier_sign_in(
    provider: MisbehavingProvider, subject: str = str(MIA["sub"]), client_id: str = "doorward"
) -> dict[str, Any]:
    """What a sign-in an hour ago left in a session: real tokens of `provider`, whose access token ends now."""
    verifier, now = "v" * 43, provider.now()
    grant = Grant(
        client_id=client_id,
        redirect_uri="",
        scopes=("openid", "email", "profile", "offline_access"),
        subject=subject,
        sid="provider-sid-1",
        auth_time=int(now.timestamp()) - 3600,
        acr="password",
        nonce="the nonce of that sign-in",
        code_challenge=create_s256_code_challenge(verifier),
    )
    grant, issued = provider.tokens.redeem(provider.tokens.code_for(grant), client_id, "", verifier)
    person = provider.people[subject]
    return {
        "identity": Identity(
            issuer=provider.issuer,
            subject=subject,
            email=person["email"],
            name=person["name"],
            preferred_username=person["preferred_username"],
            groups=tuple(person["groups"]),
        ),
        "provider_sid": grant.sid,
        "auth_time": datetime.fromtimestamp(grant.auth_time, UTC),
        "acr": grant.acr,
        "id_token": provider.sign_id_token(provider.id_token_claims(grant, issued.access_token)),
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "access_expires_at": now,
        "access_lifetime": timedelta(hours=1),
    }


# --- answers that no provider should give -----------------------------------------------------------------------------


def says(text: str, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Fault:
    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=content_type, headers=headers)

    return fault


async def endless(request: web.Request) -> web.StreamResponse:
    """A body without an end, as fast as it is read."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def dripping(request: web.Request) -> web.StreamResponse:
    """A byte now and then."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def broken_off(request: web.Request) -> web.StreamResponse:
    """A reset in the middle of the body."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"access_token": "')
    assert request.transport is not None
    request.transport.abort()
    return response


# --- a person at the login page ---------------------------------------------------------------------------------------


async def sign_in_at(http: aiohttp.ClientSession, url: str, subject: str = str(MIA["sub"])) -> str:
    """Follow an authorization request as a browser would, choose a person, and return where it leads: the callback's URL.

    `http` keeps the provider's cookies (an unsafe cookie jar: the provider is an address).
    """
    async with http.get(URL(url, encoded=True), allow_redirects=False) as page:
        if page.status == 303:
            return page.headers["Location"]
        assert page.status == 200, page.status
        html = await page.text()
    interaction = re.search(r'name="interaction" value="([^"]+)"', html)
    action = re.search(r'action="([^"]+)"', html)
    assert interaction is not None
    assert action is not None
    form = {"interaction": unescape(interaction[1]), "person": subject}
    async with http.post(urljoin(url, unescape(action[1])), data=form, allow_redirects=False) as answered:
        assert answered.status == 303, answered.status
        return answered.headers["Location"]


def parameters_of(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)
