"""Clients: the token endpoint, userinfo and revocation (RFC 6749 section 3.2, RFC 7009)."""

from aiohttp import web

from gateway.demo.provider.clients import ClientRefused, DemoClient
from gateway.demo.provider.pages import answer, oauth_error
from gateway.demo.provider.realm import Realm
from gateway.demo.provider.tokens import GrantRefused


class BackChannel:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm

    async def token(self, request: web.Request) -> web.StreamResponse:
        try:
            client, form = await self._client_of(request)
            if form.get("grant_type") == "authorization_code":
                code, verifier, redirect_uri = (
                    form.get(name, "") for name in ("code", "code_verifier", "redirect_uri")
                )
                grant, issued = self._realm.tokens.redeem(code, client.client_id, redirect_uri, verifier)
            elif form.get("grant_type") == "refresh_token":
                grant, issued = self._realm.tokens.refresh(form.get("refresh_token", ""), client.client_id)
            else:
                return oauth_error("unsupported_grant_type", "authorization_code or refresh_token")
        except ClientRefused:
            return _unknown_client()
        except GrantRefused:
            return oauth_error("invalid_grant", "This code or token is not, or no longer, good")
        return await self._realm.token_answer(request, grant, issued)

    async def userinfo(self, request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        grant = self._realm.tokens.access(token) if scheme.lower() == "bearer" else None
        if grant is None:
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return oauth_error("invalid_token", "No such access token", 401, challenge)
        return await self._realm.userinfo_answer(request, grant)

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        try:
            client, form = await self._client_of(request)
        except ClientRefused:
            return _unknown_client()
        self._realm.tokens.revoke(form.get("token", ""), client.client_id)
        return answer({})

    async def _client_of(self, request: web.Request) -> tuple[DemoClient, dict[str, str]]:
        """The authenticated client and the form. Raises ClientRefused."""
        form = await request.post()
        values = {name: value for name, value in form.items() if isinstance(value, str)}
        if len(values) != len(form):
            raise ClientRefused("a parameter is given twice")
        authorization, audiences = request.headers.get("Authorization"), self._realm.assertion_audiences()
        return self._realm.clients.authenticate(authorization, values, audiences, self._realm.now()), values


def _unknown_client() -> web.Response:
    return oauth_error("invalid_client", "Unknown client", 401, {"WWW-Authenticate": 'Basic realm="token"'})
