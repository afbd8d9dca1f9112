"""What must hold whichever proxy stands in front of Doorward by a file of deploy/: the cases of test_proxies_in_front.py and of tests/fronts."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from tests.e2e.fronts import FRONTS, NAME
from tests.e2e.processes import free_port
from tests.fakes.browser import Browser
from tests.fakes.forged import FORGED, FORGED_BY_OTHERS, UNDERSCORED, is_forged
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider

DEEP: Final = "/bookings?day=2&room=1&q=%26%20x&rd=/elsewhere&prompt=none"
ADDRESSES: Final = (
    "/a//b/./c?x=%2F&y=a+b", "/caf%C3%A9/%E2%82%AC?q=%C3%A9", "/x;v=1/y%20z", "/a?b=?c=&&d",
)  # fmt: skip


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


@asynccontextmanager
async def behind(name: str, valkey: str, prefix: str, folder: Path) -> AsyncIterator[Behind]:
    port = free_port()
    provider = MisbehavingProvider()
    await provider.start()
    house = await House.open(
        valkey, prefix, provider=provider, trusted_proxies=["127.0.0.1/32"], external_url_scheme="https",
        apps={"portal": {"hosts": [f"{NAME}:{port}"], "public": ["GET,POST /open/**"]}},
    )  # fmt: skip
    front = await asyncio.to_thread(FRONTS[name], folder, port, house.port)
    try:
        yield Behind(house, port)
    finally:
        front.stop()
        await house.close()
        await provider.close()


async def a_person_signs_in_and_nothing_that_a_visitor_claims_arrives(front: Behind) -> None:
    """C-30, C-34, C-63: the file overwrites what Doorward believes of a proxy, and Doorward drops the rest."""
    browser = front.browser()
    page = await front.house.choose(browser, await browser.open(front.origin + DEEP), MIA["sub"])
    assert (page.status, page.url) == (200, front.origin + DEEP)
    assert browser.jar.named("__Host-doorward_session", NAME) is not None
    for target, claims in product(("/bookings", "/open/x"), (FORGED | FORGED_BY_OTHERS, UNDERSCORED)):
        page = await browser.open(front.origin + target, headers=claims)
        assert page.status == 200, page.text
        request = front.house.upstream.requests[-1]
        assert request.target == target
        assert [line for line in request.head.split(b"\r\n") if is_forged(line)] == []
        assert request.values("X-Forwarded-For") == [b"127.0.0.1, 127.0.0.1"]
        assert (request.values("X-Real-IP"), request.values("X-Forwarded-Proto")) == ([b"127.0.0.1"], [b"https"])
        assert request.values("X-Forwarded-Email") == ([str(MIA["email"]).encode()] if target == "/bookings" else [])
        assert b"doorward_session" not in request.head
    lines = b"".join(front.house.lines).splitlines()
    events = [json.loads(line) for line in lines if b'"event"' in line]
    assert {event["client"] for event in events if "client" in event} == {"127.0.0.1"}


async def an_address_arrives_as_doorward_judged_it(front: Behind) -> None:
    """C-64: no proxy in front decodes, joins or reorders what the rules are about."""
    for address in ADDRESSES:
        direct = await front.house.ask("/open" + address)
        through = await front.browser().open(front.origin + "/open" + address)
        assert (direct.status, through.status) == (200, 200)
        first, second = front.house.upstream.requests[-2:]
        assert first.target == second.target


async def a_large_upload_streams_through(front: Behind) -> None:
    body = b"x" * 3_000_000
    there, kind = front.origin + "/open/upload", {"Content-Type": "application/octet-stream"}
    answer = await front.browser().post_from(front.origin + "/x", there, body, kind)
    assert answer.status == 200
    assert front.house.upstream.requests[-1].body == body


async def no_visitor_gets_an_answer_that_is_for_the_proxy(front: Behind) -> None:
    """C-23: the answers of forward-auth have the assertion, which a script in a page must not read."""
    browser = front.browser()
    await front.house.choose(browser, await browser.open(front.origin + DEEP), MIA["sub"])
    described = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/", "X-Original-URI": "/"}
    for target in ("/oauth2/auth", "/oauth2/auth/x", "/oauth2/%61uth", "/oauth2//auth"):
        answer = await browser.open(front.origin + target, headers=described)
        assert (answer.status // 100, answer.header("X-Doorward-Jwt-Assertion")) == (4, None), target


CASES: Final[tuple[Callable[[Behind], Awaitable[None]], ...]] = (
    a_person_signs_in_and_nothing_that_a_visitor_claims_arrives,
    an_address_arrives_as_doorward_judged_it,
    a_large_upload_streams_through,
    no_visitor_gets_an_answer_that_is_for_the_proxy,
)
