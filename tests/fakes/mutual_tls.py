"""A provider whose second listener asks for client certificates (RFC 8705): it knows its client by one, and binds access tokens to it."""

import hashlib
import ssl
from base64 import urlsafe_b64encode
from typing import Any

from aiohttp import web

from gateway.demo.provider.pages import answer, oauth_error
from gateway.demo.provider.sign_out import SignOut
from gateway.demo.provider.tokens import Grant, Issued
from tests.fakes.authority import Authority, Pair
from tests.fakes.provider import MisbehavingProvider


def thumbprint(pair: Pair) -> str:
    """`x5t#S256` of a certificate."""
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    return urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


class MutualTlsProvider(MisbehavingProvider):
    """Discovery, keys and pages on http; `mtls_endpoint_aliases` on https, for certificates of `authority`.

    `known` is the thumbprint of the client's certificate; `presented` has endpoint and thumbprint of each request to the second listener.
    """

    def __init__(self, authority: Authority, **settings: Any) -> None:
        super().__init__(**settings)
        self._authority = authority
        self._secure: web.AppRunner | None = None
        self._bound: dict[str, str] = {}
        self.known = ""
        self.presented: list[tuple[str, str]] = []
        self.aliases: dict[str, str] = {}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await super().start(host, port)
        app = web.Application(middlewares=[self._identify])
        self.add_routes(app, "", SignOut(self))
        context = self._authority.issue("127.0.0.1", file="provider").server()
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(self._authority.ca)
        self._secure = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._secure.setup()
        await web.TCPSite(self._secure, host, 0, ssl_context=context).start()
        origin = f"https://{host}:{self._secure.addresses[0][1]}"
        paths = {"token_endpoint": "/token", "revocation_endpoint": "/revoke", "userinfo_endpoint": "/userinfo"}
        self.aliases = {name: origin + path for name, path in paths.items()}

    async def close(self) -> None:
        await super().close()
        if self._secure is not None:
            await self._secure.cleanup()

    def metadata(self) -> dict[str, Any]:
        offered = {"mtls_endpoint_aliases": self.aliases, "tls_client_certificate_bound_access_tokens": True}
        return offered | super().metadata()

    @web.middleware
    async def _identify(self, request: web.Request, handler: Any) -> web.StreamResponse:
        presented, endpoint = _presented(request), request.path.rpartition("/")[2]
        self.presented.append((endpoint, presented))
        if endpoint in ("token", "revoke") and presented != self.known:
            return oauth_error("invalid_client", "No certificate of a client", 401)
        token = request.headers.get("Authorization", "").partition(" ")[2]
        if endpoint == "userinfo" and self._bound.get(token) != presented:
            return oauth_error("invalid_token", "The token is bound to another certificate", 401)
        response: web.StreamResponse = await handler(request)
        return response

    async def token_answer(self, request: web.Request, grant: Grant, issued: Issued) -> web.StreamResponse:
        self._bound[issued.access_token] = _presented(request)
        return answer(self.token_response(grant, issued))


def _presented(request: web.Request) -> str:
    assert request.transport is not None
    tls = request.transport.get_extra_info("ssl_object")
    der = tls.getpeercert(True) if tls is not None else None
    return urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode() if der else ""
