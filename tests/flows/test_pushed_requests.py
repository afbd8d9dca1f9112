"""Authorization requests that are pushed to the provider before the browser is redirected (RFC 9126)."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from aiohttp import web
from joserfc.jwk import RSAKey

from gateway.demo.provider import DemoClient
from gateway.oidc.authorization_client import MOST_UNDER_WAY
from gateway.oidc.calls import Calls, open_session
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MISSING, Fault, MisbehavingProvider, broken_off, dripping, says
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

REQUIRED = "require_pushed_authorization_requests"


@pytest.fixture
async def provider(provider: MisbehavingProvider) -> MisbehavingProvider:
    """One that requires pushed requests."""
    provider.told.metadata |= {
        REQUIRED: True,
        "pushed_authorization_request_endpoint": f"{provider.issuer}/par",
    }
    return provider


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(provider=provider)


def reasons(house: House) -> list[str]:
    return [json.loads(line)["reason"] for line in house.lines if b'"login.refused"' in line]


async def test_the_browser_carries_nothing_of_the_request_but_its_name(
    house: House, provider: MisbehavingProvider
) -> None:
    """From a protected page and from /oauth2/start, each to its deep link."""
    for at in ("/bookings/7?day=1", "/oauth2/start?rd=%2Fbookings%2F7%3Fday%3D1"):
        browser = house.browser()
        away = await browser.open(house.origin() + at, follow=False)
        query = parse_qs(urlsplit(away.location).query)
        assert (away.status, sorted(query)) == (302, ["client_id", "request_uri"])
        (pushed,) = provider.forms.pushed.values()
        assert pushed["redirect_uri"] == house.origin() + "/oauth2/callback"
        assert {"state", "nonce", "code_challenge", "scope", "response_type"} < pushed.keys()
        await browser.follow_all()
        page = await house.choose(browser, browser.page)
        assert page.text == "you asked for /bookings/7?day=1"
    assert house.worker.audit.counts["login.started", "portal"] == 2


@pytest.mark.parametrize("method", ["client_secret_post", "private_key_jwt", "none"])
async def test_the_client_authenticates_as_at_the_token_endpoint(
    open_house: OpenHouse, provider: MisbehavingProvider, method: Any
) -> None:
    """With each parameter once."""
    key = RSAKey.generate_key(2048, auto_kid=True)
    secret = "secret" if method == "client_secret_post" else None
    keys: dict[str, Any] = {"client_authentication": method, "client_secret": secret}
    if method == "private_key_jwt":
        keys["client_private_key"] = key.as_pem(private=True).decode()
    house = await open_house(provider=provider, openid=keys)
    provider.register(
        DemoClient(
            client_id="doorward",
            client_secret=secret,
            authentication=method,
            public_jwk=key.as_dict(private=False),
            redirect_uris=(house.origin() + "/oauth2/callback",),
        )
    )
    assert (await house.sign_in(house.browser())).status == 200
    (seen,) = [each for each in provider.seen if each.endpoint == "par"]
    assert seen.form["client_id"] == "doorward"


REFUSED = '{"error": "invalid_request", "error_description": "redirect_uri\\u001b is not registered"}'


@pytest.mark.parametrize(
    ("fault", "told", "status", "seen"),
    [
        (says(REFUSED, status=400), {}, 502, "status 400, the provider returned invalid_request: 'redirect_uri  is not registered'"),
        (says('{"error": "invalid_client"}', status=401), {}, 502, "status 401, the provider returned invalid_client"),
        (says("<html>no</html>", status=403, content_type="text/html"), {}, 502, "status 403"),
        (says("", status=404, content_type="text/html"), {}, 502, "status 404"),
        (says("{}", status=302, Location="http://127.0.0.1:9/"), {}, 502, "is a redirect"),
        (says("{}", status=500), {}, 503, "status 500"),
        (says("{}", status=429), {}, 503, "status 429"),
        (broken_off, {}, 502, "broke off"),
        (says("[]", status=201), {}, 502, "JSON"),
        (None, {"request_uri": MISSING}, 502, "request_uri is not a URI"),
        (None, {"request_uri": "not a uri"}, 502, "request_uri is not a URI"),
        (None, {"request_uri": ["urn:a:b"]}, 502, "request_uri is not a URI"),
        (None, {"request_uri": "urn:a:" + "b" * 1024}, 502, "request_uri is not a URI"),
        (None, {"expires_in": MISSING}, 502, "expires_in"),
        (None, {"expires_in": 0}, 502, "expires_in"),
        (None, {"expires_in": -1}, 502, "expires_in"),
        (None, {"expires_in": True}, 502, "expires_in"),
    ],
)  # fmt: skip
async def test_a_request_that_was_not_pushed_leads_to_no_provider(
    house: House,
    provider: MisbehavingProvider,
    caplog: pytest.LogCaptureFixture,
    fault: Fault | None,
    told: dict[str, Any],
    status: int,
    seen: str,
) -> None:
    """A-87: a page with a way on, an event with the reason, and the cause in the log."""
    if fault is not None:
        provider.faults["par"] = fault
    provider.told.pushed |= told
    browser = house.browser()
    page = await browser.open(house.origin() + "/bookings", follow=False)
    assert (page.status, page.location, page.all("Set-Cookie")) == (status, "", [])
    assert page.document.link("Try again") == "/bookings"
    assert reasons(house) == ["provider_unavailable" if status == 503 else "provider_fault"]
    assert house.worker.audit.counts["login.started", "portal"] == 0
    assert seen in caplog.text
    assert house.upstream.requests == []
    provider.faults.clear()
    provider.told.pushed.clear()
    assert (await house.sign_in(browser, at="/bookings")).text == "you asked for /bookings"


async def test_a_provider_that_takes_its_time_is_not_waited_for(
    house: House, provider: MisbehavingProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """A-87: the answer must be whole within the time of a call."""
    client = house.worker.providers["openid"]
    async with open_session() as http:
        client.provider.calls = Calls(http, timeout=timedelta(seconds=0.3))
        provider.faults["par"] = dripping
        answer = await house.ask("/bookings", fields=BROWSER)
    assert (answer.status, reasons(house)) == (503, ["provider_unavailable"])
    assert "pushed_authorization_request: " in caplog.text
    assert "no complete answer in 0.3 s" in caplog.text


async def test_only_navigations_of_people_cost_the_provider_a_call(house: House, provider: MisbehavingProvider) -> None:
    """A-87: nothing is pushed for scripts, images, prefetches, and pages of other sites that load /oauth2/start."""
    prefetch = "Sec-Purpose: prefetch;prerender\r\n"
    elsewhere = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n"
    frame = f"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n{BROWSER}"
    for target in ("/app.js", "/oauth2/start?rd=/x"):
        for fields in ("Accept: */*\r\n", elsewhere, frame, frame.replace("iframe", "object"), BROWSER + prefetch):
            answer = await house.ask(target, fields=fields)
            assert (answer.status, answer.values("location")) == (401, []), (target, fields)
    assert provider.count("par") == 0
    assert (await house.ask("/app.js", fields=BROWSER)).status == 302
    for chosen in (frame.replace("iframe", "document"), frame.replace("cross-site", "same-site")):
        assert (await house.ask("/app.js", fields=chosen)).status == 302
    assert provider.count("par") == 3


async def test_one_address_has_a_bounded_number_of_requests_pushed(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-87: 429 with a page and Retry-After; sessions are not affected, and callbacks are not."""
    house = await open_house(provider=provider, limits={"pushed_requests_per_address": "3/min"})
    browser = house.browser()
    assert (await house.sign_in(browser)).status == 200
    answers = [await house.ask("/" if n % 2 else "/oauth2/start", fields=BROWSER) for n in range(6)]
    assert [answer.status for answer in answers] == [302, 302, 429, 429, 429, 429]
    assert provider.count("par") == 3
    assert 15 <= int(answers[-1].values("retry-after")[0]) <= 20
    assert b"Too many sign-ins have been started" in answers[-1].body
    assert reasons(house) == ["too_many_sign_ins"] * 4
    assert (await browser.open(house.origin() + "/")).status == 200


async def test_a_provider_that_does_not_answer_holds_a_bounded_number_of_strangers(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-87: the others get 503 at once, sessions are served, and who leaves makes room."""
    cookie = await house.session()
    silence = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await silence.wait()
        raise web.HTTPServiceUnavailable

    provider.faults["par"] = silent
    request = f"GET /x HTTP/1.1\r\nHost: {house.host()}\r\n{BROWSER}\r\n".encode()
    wires = [await Wire.open(house.port) for _ in range(MOST_UNDER_WAY)]
    for wire in wires:
        await wire.send(request)
    await eventually(lambda: provider.count("par") == MOST_UNDER_WAY)
    assert (await house.ask("/x", fields=BROWSER)).status == 503
    assert provider.count("par") == MOST_UNDER_WAY
    assert (await house.ask("/x", cookie=cookie)).status == 200
    for wire in wires:
        await wire.close()
    provider.faults.clear()
    client = house.worker.providers["openid"].authorization
    await eventually(lambda: client.under_way == 0)
    assert (await house.ask("/x", fields=BROWSER)).status == 302
    silence.set()


async def test_discovery_says_whether_requests_are_pushed(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """`always` pushes where the provider does not require it, `never` is no client of one that does."""
    provider.told.metadata[REQUIRED] = False
    for wish, pushed in (("when_required", False), ("never", False), ("always", True)):
        house = await open_house(provider=provider, openid={"pushed_authorization_requests": wish})
        location = (await house.ask("/", fields=BROWSER)).values("location")[0]
        assert (dict(parse_qsl(urlsplit(location).query)).keys() == {"client_id", "request_uri"}) == pushed
    provider.told.metadata[REQUIRED] = True
    house = await open_house(provider=provider, openid={"pushed_authorization_requests": "never"})
    assert (await house.ask("/", fields=BROWSER)).status == 503
    problem = house.worker.providers["openid"].provider.problem or ""
    assert problem.startswith(
        "discovery: it requires pushed authorization requests, and pushed_authorization_requests is never"
    )
