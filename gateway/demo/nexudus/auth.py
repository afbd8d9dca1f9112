"""Who is asking: the token endpoint, Bearer and Basic, and the table of rights.

Follows the vendor's words for failures: 400 `invalid_grant` and its siblings from the token endpoint, 401 for
everything that a missing, expired or too weak credential asks for (403 does not exist here).
"""

import base64
import hmac
import secrets

from aiohttp import web

from gateway.demo.nexudus.answers import json_answer
from gateway.demo.nexudus.world import Grant, Record, World

_FORM = "application/x-www-form-urlencoded"
_REFRESH_DAYS = 15


class Auth:
    """Tokens and rights over one `World`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def token(self, request: web.Request, _: dict[str, str]) -> web.Response:
        """`POST /api/token`: grant types password and refresh_token, form-encoded only."""
        form = await request.post() if request.content_type == _FORM else {}
        fields = {name: str(value) for name, value in form.items()}
        grant = fields.get("grant_type")
        client = request.headers.get("client_id", "")
        if grant == "password":
            self._world.counters["token.password"] += 1
            return self._by_password(fields, client)
        if grant == "refresh_token":
            self._world.counters["token.refresh"] += 1
            return self._by_refresh(fields.get("refresh_token", ""), client)
        return _refused("unsupported_grant_type", "The grant type is not supported.")

    def check_password(self, email: object, password: object) -> Record | None:
        """The active user with this address and password."""
        user = self._world.user_by_email(email) if isinstance(email, str) else None
        right = user is not None and hmac.compare_digest(str(user["Password"]).encode(), str(password).encode())
        return user if user is not None and right and user["Active"] else None

    def bearer(self, user: Record, client: str) -> Record:
        """A fresh pair of tokens; an earlier refresh token of the same client is worth nothing from now on."""
        world = self._world
        client = client or user["Email"]
        for old in [
            text for text, grant in world.refresh.items() if (grant.user, grant.client) == (user["Id"], client)
        ]:
            del world.refresh[old]
        access, refresh = "jwt." + secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        world.access[access] = Grant(user=user["Id"], until=world.clock() + world.token_lifetime, client=client)
        world.refresh[refresh] = Grant(user=user["Id"], until=world.clock() + _REFRESH_DAYS * 86_400, client=client)
        return {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": int(world.token_lifetime),
            "refresh_token": refresh,
        }

    def user_of(self, request: web.Request) -> Record | None:
        """The person whom the Authorization header proves, or None."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            grant = self._world.access.get(credentials.strip())
            live = grant is not None and grant.until > self._world.clock()
            user = self._world.users.get(grant.user) if grant is not None and live else None
        elif scheme.lower() == "basic":
            user = self._basic(credentials)
        else:
            user = None
        return user if user is not None and user["Active"] else None

    def need(self, request: web.Request, role: str | None) -> Record:
        """The caller, who must hold `role` and may use the API. Raises 401 for every lack."""
        user = self.user_of(request)
        if user is None or not user["APIAccess"] or (role is not None and role not in self._world.role_names(user)):
            self._world.counters["unauthorized"] += 1
            raise web.HTTPUnauthorized(text="")
        return user

    def _by_password(self, fields: dict[str, str], client: str) -> web.Response:
        user = self.check_password(fields.get("username"), fields.get("password", ""))
        if user is None:
            return _refused("invalid_grant", "The user name or password is incorrect.")
        if user["MustResetPassword"]:
            return _refused("must_reset_password", "The password must be changed first.")
        if user["TotpSecret"] is not None and fields.get("totp") != user["TotpSecret"]:
            return _refused("two_factor_auth_check", "A second factor is needed.")
        self._world.accept("token", user)
        return json_answer(self.bearer(user, client))

    def _by_refresh(self, text: str, client: str) -> web.Response:
        grant = self._world.refresh.get(text)
        user = self._world.users.get(grant.user) if grant is not None else None
        if (
            grant is None
            or user is None
            or not user["Active"]
            or grant.until <= self._world.clock()
            or grant.client != client
        ):
            return _refused("invalid_grant", "The refresh token is not valid.")
        return json_answer(self.bearer(user, client))

    def _basic(self, credentials: str) -> Record | None:
        self._world.counters["door.basic"] += 1
        try:
            email, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            return None
        user = self.check_password(email, password)
        if user is not None:
            self._world.accept("basic", user)
        return user


def _refused(error: str, description: str) -> web.Response:
    return json_answer({"error": error, "error_description": description}, 400)
