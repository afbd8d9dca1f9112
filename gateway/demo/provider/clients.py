"""The registered clients, and how each proves that it is the one: the four methods of OpenID Connect Core 1.0 section 9."""

import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_plus

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_ALGORITHMS = ("RS256", "PS256", "ES256", "Ed25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoClient:
    """URIs are compared as they stand. `public_jwk` is for private_key_jwt."""

    client_id: str
    redirect_uris: tuple[str, ...]
    client_secret: str | None = field(default=None, repr=False)
    authentication: Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] = (
        "client_secret_basic"
    )
    public_jwk: Mapping[str, Any] | None = None
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or self.client_id


class ClientRefused(Exception):
    """The caller is not a client of ours, or did not prove it."""


class Clients:
    """Every client by its id."""

    def __init__(self, clients: tuple[DemoClient, ...]) -> None:
        self._clients = {client.client_id: client for client in clients}
        self._seen_assertions: set[str] = set()

    def __iter__(self) -> Any:
        return iter(self._clients.values())

    def get(self, client_id: str) -> DemoClient | None:
        return self._clients.get(client_id)

    def register(self, client: DemoClient) -> None:
        self._clients[client.client_id] = client

    def authenticate(
        self, authorization: str | None, form: Mapping[str, str], audiences: tuple[str, ...], now: datetime
    ) -> DemoClient:
        """The client that sent this request, by the one method it registered. Raises ClientRefused."""
        if authorization is not None:
            client_id, secret = _basic(authorization)
            client = self._known(client_id, "client_secret_basic")
            if form.get("client_id", client_id) != client_id or "client_secret" in form:
                raise ClientRefused("two authentications")
            _compare(client, secret)
        elif "client_assertion" in form:
            client = self._by_assertion(form, audiences, now)
        elif "client_secret" in form:
            client = self._known(form.get("client_id", ""), "client_secret_post")
            _compare(client, form["client_secret"])
        else:
            client = self._known(form.get("client_id", ""), "none")
        return client

    def _known(self, client_id: str, method: str) -> DemoClient:
        client = self._clients.get(client_id)
        if client is None or client.authentication != method:
            raise ClientRefused("no such client with this method")
        return client

    def _by_assertion(self, form: Mapping[str, str], audiences: tuple[str, ...], now: datetime) -> DemoClient:
        client = self._known(form.get("client_id", ""), "private_key_jwt")
        try:
            key = JWKRegistry.import_key(dict(client.public_jwk or {}))
            claims = jwt.decode(form["client_assertion"], key, algorithms=ASSERTION_ALGORITHMS).claims
        except (JoseError, ValueError) as error:
            raise ClientRefused("the assertion's signature") from error
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        jti, expires = claims.get("jti"), claims.get("exp")
        if (
            form.get("client_assertion_type") != ASSERTION_TYPE
            or (claims.get("iss"), claims.get("sub")) != (client.client_id, client.client_id)
            or not set(audiences) & set(named)
            or not isinstance(expires, int | float)
            or expires <= now.timestamp()
            or not isinstance(jti, str)
            or jti in self._seen_assertions
        ):
            raise ClientRefused("the assertion's claims")
        self._seen_assertions.add(jti)
        return client


def _basic(authorization: str) -> tuple[str, str]:
    """RFC 6749 section 2.3.1: both halves are form-urlencoded."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        pair = b64decode(encoded.strip(), validate=True).decode("ascii")
    except ValueError as error:
        raise ClientRefused("not Basic credentials") from error
    client_id, colon, secret = pair.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise ClientRefused("not Basic credentials")
    return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")


def _compare(client: DemoClient, secret: str) -> None:
    if client.client_secret is None or not hmac.compare_digest(client.client_secret.encode(), secret.encode()):
        raise ClientRefused("the secret")
