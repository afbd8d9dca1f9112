"""Authorization requests that are pushed or signed, and responses by form_post, before a provider that knows plain queries only.

RFC 9126, RFC 9101, OAuth 2.0 Form Post Response Mode.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import JWKRegistry

from gateway.demo.provider.clients import ClientRefused, Clients
from gateway.demo.provider.pages import answer, oauth_error

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequestForms:
    """`pushed` are requests that wait for their browser; `headers` and `objects` are those of the request objects that came."""

    def __init__(self) -> None:
        self.pushed: dict[str, dict[str, str]] = {}
        self.headers: list[dict[str, Any]] = []
        self.objects: list[dict[str, Any]] = []
        self._by_form: set[str] = set()

    def push(
        self, form: Mapping[str, str], authorization: str | None, clients: Clients, url: str, now: Any
    ) -> web.Response:
        """The answer of the endpoint at `url`."""
        try:
            client = clients.authenticate(authorization, form, (url, url.replace("/par", "/token")), now)
        except ClientRefused as refused:
            return oauth_error("invalid_client", str(refused), 401)
        if form.get("client_id", client.client_id) != client.client_id or "request_uri" in form:
            return oauth_error("invalid_request", "not a request to push")
        uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(8)}"
        self.pushed[uri] = {name: value for name, value in form.items() if not name.startswith("client_")}
        self.pushed[uri]["client_id"] = client.client_id
        response = answer({"request_uri": uri, "expires_in": 60})
        response.set_status(201)
        return response

    async def authorize(self, request: web.Request, clients: Clients, handler: Handler) -> web.StreamResponse:
        """An authorization request in any form, answered by `handler`, which gets it as a plain query."""
        asked = dict(request.query)
        if "request_uri" in asked:
            asked = self.pushed.pop(asked["request_uri"])
        if "request" in asked:
            asked = self._opened(asked["request"], clients, asked["client_id"])
        if asked.pop("response_mode", None) == "form_post":
            self._by_form.add(asked["state"])
        return await handler(request.clone(rel_url=request.rel_url.with_query(asked)))

    def _opened(self, token: str, clients: Clients, client_id: str) -> dict[str, str]:
        client = clients.get(client_id)
        assert client is not None
        opened = jwt.decode(token, JWKRegistry.import_key(dict(client.public_jwk or {})), algorithms=["RS256", "ES256"])
        self.headers.append(opened.header)
        self.objects.append(opened.claims)
        ours = ("iss", "aud", "exp", "nbf", "iat", "jti")
        return {name: str(value) for name, value in opened.claims.items() if name not in ours}

    def respond(self, response: web.StreamResponse, user: Mapping[str, Any] | None) -> web.StreamResponse:
        """The response as a page with a form where form_post was asked for. `user`: what Apple sends beside it."""
        location = urlsplit(response.headers.get("Location", ""))
        fields = dict(parse_qsl(location.query, keep_blank_values=True))
        if fields.get("state") not in self._by_form:
            return response
        if user is not None:
            fields["user"] = json.dumps(user)
        inputs = "".join(f'<input type="hidden" name="{n}" value="{escape(v)}">' for n, v in fields.items())
        action = location._replace(query="").geturl()
        page = web.Response(text=f'<form method="post" action="{action}">{inputs}</form>', content_type="text/html")
        for cookie in response.headers.getall("Set-Cookie", []):
            page.headers.add("Set-Cookie", cookie)
        page.cookies.update(response.cookies)
        return page
