"""A street for hand-offs: a house before a portal that keeps sessions of its own, and an office that makes tickets for it."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.browser import Browser
from tests.fakes.house import House
from tests.fakes.own_sessions import COOKIE, OwnSessions, TicketOffice
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.recorder import RecordingUpstream

SERVICE = "Bearer service-secret-0123456789"
MIA_MAIL, ADA_MAIL = str(MIA["email"]), str(ADA["email"])


@dataclass
class Street:
    """A house before a portal that keeps sessions of its own, and the office that makes tickets for it."""

    house: House
    portal: OwnSessions
    office: TicketOffice
    office_server: RecordingUpstream

    @property
    def seen(self) -> list[str]:
        return [request.target for request in self.house.upstream.requests]

    @property
    def hand_offs(self) -> int:
        return len(self.office.made)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in b"".join(self.house.lines).splitlines()]
        return [line for line in lines if line.get("event") == name]

    def cookie_of(self, browser: Browser) -> str:
        cookie = browser.jar.named(COOKIE)
        return "" if cookie is None else cookie.value

    async def close(self) -> None:
        await self.office_server.close()


async def open_street(
    open_house: Callable[..., Awaitable[House]],
    provider: MisbehavingProvider,
    *,
    app: dict[str, Any] | None = None,
    doors: bool = True,
    **keys: Any,
) -> Street:
    """`keys` are those of `hand_off`, `app` further ones of the app; `doors`: passwords are prevented."""
    portal = OwnSessions()
    office = TicketOffice(portal, SERVICE)
    server = RecordingUpstream(answer=office)
    await server.start()
    hand_off = {
        "kind": "http",
        "session_cookies": [COOKIE],
        "token": {
            "url": f"{server.url}/tickets?for={{email}}",
            "headers": {"Authorization": SERVICE},
            "json": {"email": "{email}"},
            "pointer": "/data/ticket",
        },
        "redeem": {"path": "/sso?ticket={token}"},
        "login_pages": ["/login"],
        "who_am_i": {"path": "/me", "pointer": "/Email"},
        "log_out": "/logout",
        **keys,
    }
    given = {name: value for name, value in hand_off.items() if value is not None}
    routes = [{"match": "* /login", "answer": "sign_in"}]
    house = await open_house(
        apps={"portal": {"hand_off": given, "password_routes": routes, **(app or {})}},
        openid={"prevent_password_login": doors, "unregistered_when_sso_only": "create"},
        provider=provider,
    )
    house.upstream.answer = portal
    return Street(house, portal, office, server)
