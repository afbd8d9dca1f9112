"""The nginx of deploy/guides/forward-auth.md, as it stands there, in front of an application and beside Doorward."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.processes import free_port
from tests.e2e.web_servers import start_nginx
from tests.fakes.browser import Browser
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.wire import Wire

ROOT = Path(__file__).resolve().parents[2]
DEEP = "/bookings?day=2&room=1"


@pytest.fixture
async def house(valkey: str, prefix: str) -> AsyncIterator[House]:
    provider = MisbehavingProvider()
    await provider.start()
    opened = await House.open(valkey, prefix, provider=provider, trusted_proxies=["127.0.0.1/32"])
    yield opened
    await opened.close()
    await provider.close()


async def test_a_person_signs_in_and_ends_on_the_whole_address(house: House, tmp_path: Path) -> None:
    guide = (ROOT / "deploy" / "guides" / "forward-auth.md").read_text()
    (server,) = re.findall(r"^```nginx\n(.*?)^```$", guide, re.M | re.S)
    names = {
        "127.0.0.1:4180": f"127.0.0.1:{house.port}",
        "127.0.0.1:8001": house.upstream.url.removeprefix("http://"),
        "/etc/nginx/doorward": str(ROOT / "deploy" / "forward-auth"),
    }
    for name, here in names.items():
        server = server.replace(name, here)
    port = free_port()
    nginx = start_nginx(tmp_path, port, server)
    try:
        browser = Browser({house.origin(): port})
        page = await house.sign_in(browser, at=DEEP)
        assert (page.status, page.url) == (200, house.origin() + DEEP)
        (request,) = (each for each in house.upstream.requests if each.target == DEEP)
        assert request.values("X-Forwarded-Email") == [str(MIA["email"]).encode()]
        wire = await Wire.open(port)
        await wire.send(f"GET /api/x HTTP/1.1\r\nHost: {house.host()}\r\nAccept: application/json\r\n\r\n".encode())
        program = await wire.response()
        await wire.close()
        assert (program.status, json.loads(program.body)["code"]) == (401, "login_required")
    finally:
        nginx.stop()
