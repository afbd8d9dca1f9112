"""The sample provider as a server: its paths, its start and its end."""

from urllib.parse import urlsplit

from aiohttp import web

from gateway.demo.listener import Listener
from gateway.demo.provider.back_channel import BackChannel
from gateway.demo.provider.clients import DemoClient
from gateway.demo.provider.front_channel import FrontChannel
from gateway.demo.provider.realm import Realm
from gateway.demo.provider.sign_out import SignOut


class DemoProvider(Realm):
    """A Realm that listens. Clients may be registered while it runs: their URIs are often known only then."""

    _listener: Listener | None = None
    _sign_out: SignOut | None = None

    def register(self, client: DemoClient) -> None:
        self.clients.register(client)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises OSError when the port is taken. Port 0 takes a free one."""
        sign_out = SignOut(self)
        app = web.Application(client_max_size=64 * 1024)
        self.add_routes(app, urlsplit(self.issuer).path.rstrip("/"), sign_out)
        listener = Listener(app)
        await listener.start(host, port)
        await sign_out.start()
        self._listener, self._sign_out = listener, sign_out
        self.issuer = self.issuer or listener.url

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        if self._sign_out is not None:
            await self._sign_out.close()
        self._listener = self._sign_out = None

    def add_routes(self, app: web.Application, prefix: str, sign_out: SignOut) -> None:
        front, back = FrontChannel(self), BackChannel(self)
        app.add_routes(
            [
                web.get(prefix + "/", sign_out.home),
                web.get(prefix + "/.well-known/openid-configuration", self.serve_metadata),
                web.get(prefix + "/jwks", self.serve_keys),
                web.get(prefix + "/authorize", front.authorize),
                web.post(prefix + "/authorize", front.authorize),
                web.post(prefix + "/sign-in", front.sign_in),
                web.post(prefix + "/token", back.token),
                web.get(prefix + "/userinfo", back.userinfo),
                web.post(prefix + "/userinfo", back.userinfo),
                web.post(prefix + "/revoke", back.revoke),
                web.get(prefix + "/sign-out", sign_out.end_session),
                web.post(prefix + "/sign-out", sign_out.end_session),
                web.post(prefix + "/signed-out", sign_out.confirmed),
            ]
        )
