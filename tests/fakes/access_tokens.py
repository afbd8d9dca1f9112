"""Access tokens as providers write them: of RFC 9068, of Keycloak, Auth0 and Entra ID, and opaque ones with their introspection."""

import json
from typing import Any, Final

from aiohttp import web

from tests.fakes.forge import rsa_key, sign
from tests.fakes.provider import MIA, MISSING, MisbehavingProvider

AUDIENCE: Final = "https://api.portal.example"


def claims_of(provider: MisbehavingProvider, **told: Any) -> dict[str, Any]:
    """Of a good token of Mia's; `told` overrides, MISSING leaves out."""
    now = int(provider.now().timestamp())
    honest = {
        "iss": provider.issuer, "aud": AUDIENCE, "sub": MIA["sub"], "client_id": "robot", "jti": "t-1", "iat": now, "exp": now + 300,
        "scope": "read write", "email": MIA["email"], "email_verified": True, "name": MIA["name"], "groups": ["members"],
    }  # fmt: skip
    return {name: value for name, value in {**honest, **told}.items() if value is not MISSING}


def at_jwt(provider: MisbehavingProvider, **told: Any) -> str:
    """A token of RFC 9068."""
    return sign(claims_of(provider, **told), rsa_key(), typ="at+jwt")


def keycloak_jwt(provider: MisbehavingProvider, **told: Any) -> str:
    """As stock Keycloak writes it: typ JWT, and the claim typ says Bearer."""
    return sign(
        claims_of(provider, typ="Bearer", azp="robot", client_id=MISSING, aud=[AUDIENCE, "account"], **told),
        rsa_key(),
        typ="JWT",
    )


def auth0_jwt(provider: MisbehavingProvider, **told: Any) -> str:
    """As Auth0 writes it: several audiences, permissions beside scope."""
    audiences = [AUDIENCE, f"{provider.issuer}/userinfo"]
    more = {"aud": audiences, "azp": "robot", "scope": "openid", "permissions": ["read", "write"], "jti": MISSING}
    return sign(claims_of(provider, **{**more, **told}), rsa_key(), typ="JWT")


class Introspecting:
    """Answers for `/introspect` of a provider; `answers` are by token, any other token is not active. `asked` are the tokens in order."""

    def __init__(self, provider: MisbehavingProvider) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.status = 200
        provider.told.metadata["introspection_endpoint"] = f"{provider.issuer}/introspect"
        provider.faults["introspect"] = self._answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"].startswith("Basic ")
        token = str((await request.post())["token"])
        self.asked.append(token)
        body = json.dumps(self.answers.get(token, {"active": False}))
        return web.Response(status=self.status, text=body, content_type="application/json")


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n"
