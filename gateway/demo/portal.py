"""The sample members portal of Harbour Desk: an ordinary application that knows nothing of OpenID Connect.

It believes the gateway's identity headers and has a password login of its own at the Nexudus routes. `password_logins`
counts who came in through that: with the doors closed it stays 0.
"""

from collections.abc import Callable
from datetime import datetime

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.demo.bookings import Bookings, local_now
from gateway.demo.listener import Listener
from gateway.demo.own_login import OwnLogin, Redeem
from gateway.demo.pages import ASSETS, favicon, render
from gateway.demo.portal_api import PortalApi
from gateway.demo.portal_pages import PortalPages
from gateway.demo.visitor import Guests, Reception


class SamplePortal:
    """The portal with its state; the dashboard shares `bookings` and `guests`.

    `keeps_sessions`: it reads no identity header, and has a session cookie of its own, as Nexudus does; `redeem` gives the
    person of the directory's token.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] = local_now,
        *,
        keeps_sessions: bool = False,
        redeem: Redeem = lambda token: None,
    ) -> None:
        self.bookings = Bookings(clock)
        self.guests = Guests()
        self.own_login = OwnLogin(_login_page, redeem=redeem, same_site="Strict" if keeps_sessions else "Lax")
        self._reception = Reception(
            self.own_login, self.guests, clock, return_field="ReturnUrl", keeps_sessions=keeps_sessions
        )
        self._listener = Listener(create_portal_app(self))

    @property
    def middlewares(self) -> tuple[Middleware, ...]:
        return (self.own_login.middleware, self._reception.middleware)

    @property
    def password_logins(self) -> int:
        """People who were signed in by a password door of the portal's own."""
        return self.own_login.logins

    @property
    def password_visits(self) -> int:
        """Requests that reached a password door of the portal's own, let in or not."""
        return self.own_login.visits

    @property
    def url(self) -> str:
        return self._listener.url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await self._listener.start(host, port)

    async def close(self) -> None:
        await self._listener.close()


def create_portal_app(portal: SamplePortal) -> web.Application:
    """The aiohttp application; its state is `portal`'s."""
    app = web.Application(middlewares=portal.middlewares)
    app.add_routes(PortalPages(portal.bookings).routes())
    api = PortalApi(portal.bookings)
    app.add_routes(api.routes())
    app.on_shutdown.append(api.close_sockets)
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_static("/assets", ASSETS)
    return app


def _login_page(request: web.Request, problem: str, status: int) -> web.Response:
    where = request.query.get("ReturnUrl", "/")
    return render(
        request, "login.html", status=status, problem=problem, where=where, where_field="ReturnUrl", operators=False
    )
