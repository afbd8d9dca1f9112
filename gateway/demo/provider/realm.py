"""The state of one provider, and all that its endpoints answer with.

Methods without an underscore are seams: the tests' misbehaving provider overrides them, one lie at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from joserfc.jwk import RSAKey

from gateway.demo.provider.clients import ASSERTION_ALGORITHMS, Clients, DemoClient
from gateway.demo.provider.pages import answer
from gateway.demo.provider.requests import ACR_VALUES, BrowserSession
from gateway.demo.provider.signer import Signer, at_hash
from gateway.demo.provider.tokens import ACCESS_LIFETIME, Grant, Issued, Tokens
from gateway.demo.provider.vault import Vault

_COOKIE = "login_session"
_SESSION_LIFETIME = timedelta(hours=12)
_ID_TOKEN_LIFETIME = timedelta(minutes=10)
_SCOPES: Mapping[str, Sequence[str]] = {
    "email": ("email", "email_verified"),
    "profile": ("name", "preferred_username", "given_name", "family_name", "picture", "locale", "groups"),
    "phone": ("phone_number", "phone_number_verified"),
    "address": ("address",),
}


class Realm:
    """`people` are claims (`sub` and `email` at least); a `note` among them is shown on the page and sent to no client.

    `issuer` is where browsers and clients find it; without one, it is the address that it listens on.
    """

    def __init__(
        self,
        clients: Sequence[DemoClient] = (),
        people: Sequence[Mapping[str, Any]] = (),
        *,
        issuer: str = "",
        title: str = "Sample sign-in",
        key: RSAKey | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.issuer = issuer
        self.title = title
        self.clients = Clients(tuple(clients))
        self.people: dict[str, dict[str, Any]] = {str(person["sub"]): dict(person) for person in people}
        self.signer = Signer(key)
        self.now = now
        self.tokens = Tokens(now)
        self.sessions: Vault[BrowserSession] = Vault(_SESSION_LIFETIME, now)

    def url(self, path: str) -> str:
        return self.issuer.rstrip("/") + path

    # --- browsers -----------------------------------------------------------------------------------------------------

    def session_of(self, request: web.Request) -> BrowserSession | None:
        return self.sessions.get(request.cookies.get(_COOKIE))

    def remember(self, request: web.Request, response: web.Response, session: BrowserSession) -> None:
        """A new cookie at every sign-in; the old one is worth nothing any more."""
        self.sessions.pop(request.cookies.get(_COOKIE))
        secure = self.issuer.startswith("https:")
        name = self.sessions.put(session)
        response.set_cookie(_COOKIE, name, httponly=True, samesite="Lax", secure=secure, path="/")

    def forget(self, request: web.Request, response: web.Response) -> BrowserSession | None:
        """The session that ended, with all its tokens."""
        session = self.sessions.pop(request.cookies.get(_COOKIE))
        response.del_cookie(_COOKIE, path="/")
        if session is not None:
            self.tokens.end_session(session.sid)
        return session

    def authorization_response(self, parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return parameters

    # --- documents ----------------------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "jwks_uri": self.url("/jwks"),
            "userinfo_endpoint": self.url("/userinfo"),
            "end_session_endpoint": self.url("/sign-out"),
            "revocation_endpoint": self.url("/revoke"),
            "scopes_supported": ["openid", *_SCOPES, "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "acr_values_supported": list(ACR_VALUES),
            "id_token_signing_alg_values_supported": [self.signer.algorithm],
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
                "none",
            ],
            "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }

    async def serve_metadata(self, request: web.Request) -> web.StreamResponse:
        return answer(self.metadata())

    async def serve_keys(self, request: web.Request) -> web.StreamResponse:
        return answer(self.signer.jwks())

    def assertion_audiences(self) -> tuple[str, ...]:
        """What the `aud` of a client's assertion may name."""
        return self.issuer, self.url("/token"), self.url("/revoke")

    # --- tokens -------------------------------------------------------------------------------------------------------

    async def token_answer(self, request: web.Request, grant: Grant, issued: Issued) -> web.StreamResponse:
        return answer(self.token_response(grant, issued))

    def token_response(self, grant: Grant, issued: Issued) -> dict[str, Any]:
        body: dict[str, Any] = {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": int(ACCESS_LIFETIME.total_seconds()),
            "scope": " ".join(grant.scopes),
            "id_token": self.sign_id_token(self.id_token_claims(grant, issued.access_token)),
        }
        return body | ({"refresh_token": issued.refresh_token} if issued.refresh_token else {})

    def id_token_claims(self, grant: Grant, access_token: str) -> dict[str, Any]:
        now = self.now()
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": grant.subject,
            "aud": grant.client_id,
            "iat": int(now.timestamp()),
            "exp": int((now + _ID_TOKEN_LIFETIME).timestamp()),
            "auth_time": grant.auth_time,
            "acr": grant.acr,
            "sid": grant.sid,
            "at_hash": at_hash(access_token),
        }
        return claims | ({"nonce": grant.nonce} if grant.nonce is not None else {})

    def sign_id_token(self, claims: dict[str, Any]) -> str:
        return self.signer.sign(claims)

    async def userinfo_answer(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        return answer(self.userinfo(grant))

    def userinfo(self, grant: Grant) -> dict[str, Any]:
        """What the scopes open of the person's claims (OpenID Connect Core 1.0 section 5.4)."""
        person = self.people.get(grant.subject, {})
        names = [name for scope in grant.scopes for name in _SCOPES.get(scope, ())]
        return {"sub": grant.subject, **{name: person[name] for name in names if name in person}}

    def logout_token_claims(self, client: DemoClient, session: BrowserSession) -> dict[str, Any]:
        now = self.now()
        return {
            "iss": self.issuer,
            "aud": client.client_id,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(minutes=2)).timestamp()),
            "sub": session.subject,
            "sid": session.sid,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }

    def sign_logout_token(self, claims: dict[str, Any]) -> str:
        return self.signer.sign(claims, "logout+jwt")
