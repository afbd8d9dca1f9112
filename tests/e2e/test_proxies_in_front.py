"""deploy/nginx.conf, deploy/haproxy.cfg and deploy/Caddyfile in front of Doorward, which believes their addresses and nothing else."""

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from tests.e2e.fronts import FRONTS, NAME
from tests.e2e.processes import free_port
from tests.fakes.browser import Browser
from tests.fakes.forged import FORGED, FORGED_BY_OTHERS, UNDERSCORED, is_forged
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider

DEEP = "/bookings?day=2&room=1&q=%26%20x&rd=/elsewhere&prompt=none"


@dataclass(frozen=True, slots=True)
class Behind:
    """A house behind a proxy that ends TLS on `port`."""

    house: House
    port: int

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def browser(self) -> Browser:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return Browser({self.origin: self.port}, tls=trusting)


@pytest.fixture(params=FRONTS)
async def behind(request: pytest.FixtureRequest, valkey: str, prefix: str, tmp_path: Path) -> AsyncIterator[Behind]:
    port = free_port()
    provider = MisbehavingProvider()
    await provider.start()
    house = await House.open(
        valkey, prefix, provider=provider, trusted_proxies=["127.0.0.1/32"], external_url_scheme="https",
        apps={"portal": {"hosts": [f"{NAME}:{port}"], "public": ["GET,POST /open/**"]}},
    )  # fmt: skip
    front = FRONTS[request.param](tmp_path, port, house.port)
    yield Behind(house, port)
    front.stop()
    await house.close()
    await provider.close()


async def test_a_person_signs_in_and_nothing_that_a_visitor_claims_arrives(behind: Behind) -> None:
    """C-30, C-34, C-63: the file overwrites what Doorward believes of a proxy, and Doorward drops the rest."""
    browser = behind.browser()
    page = await behind.house.choose(browser, await browser.open(behind.origin + DEEP), MIA["sub"])
    assert (page.status, page.url) == (200, behind.origin + DEEP)
    assert browser.jar.named("__Host-doorward_session", NAME) is not None
    for target, claims in product(("/bookings", "/open/x"), (FORGED | FORGED_BY_OTHERS, UNDERSCORED)):
        page = await browser.open(behind.origin + target, headers=claims)
        assert page.status == 200, page.text
        request = behind.house.upstream.requests[-1]
        assert request.target == target
        assert [line for line in request.head.split(b"\r\n") if is_forged(line)] == []
        assert request.values("X-Forwarded-For") == [b"127.0.0.1, 127.0.0.1"]
        assert (request.values("X-Real-IP"), request.values("X-Forwarded-Proto")) == ([b"127.0.0.1"], [b"https"])
        assert request.values("X-Forwarded-Email") == ([str(MIA["email"]).encode()] if target == "/bookings" else [])
        assert b"doorward_session" not in request.head
    lines = b"".join(behind.house.lines).splitlines()
    events = [json.loads(line) for line in lines if b'"event"' in line]
    assert {event["client"] for event in events if "client" in event} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "target", ["/a//b/./c?x=%2F&y=a+b", "/caf%C3%A9/%E2%82%AC?q=%C3%A9", "/x;v=1/y%20z", "/a?b=?c=&&d"]
)
async def test_an_address_arrives_as_doorward_judged_it(behind: Behind, target: str) -> None:
    """C-64: no proxy in front decodes, joins or reorders what the rules are about."""
    direct = await behind.house.ask("/open" + target)
    through = await behind.browser().open(behind.origin + "/open" + target)
    assert (direct.status, through.status) == (200, 200)
    first, second = behind.house.upstream.requests[-2:]
    assert first.target == second.target


async def test_a_large_upload_streams_through(behind: Behind) -> None:
    body = b"x" * 3_000_000
    there, kind = behind.origin + "/open/upload", {"Content-Type": "application/octet-stream"}
    answer = await behind.browser().post_from(behind.origin + "/x", there, body, kind)
    assert answer.status == 200
    assert behind.house.upstream.requests[-1].body == body
