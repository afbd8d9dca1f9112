"""What still works, and what people are told, while Redis, the application or the provider does not answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.config import schema
from gateway.redis_client.client import connect
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.runtime.readiness import readiness
from tests.fakes.house import BROWSER, House, free_port
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.recorder import Recorded, RecordingUpstream
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import open_socket

APPS = {"portal": {"public": ["GET /assets/**"]}, "guests": {"unauthenticated": "pass"}}


@pytest.fixture
async def link(valkey: str) -> AsyncIterator[FlakyLink]:
    async with FlakyLink(valkey) as flaky:
        yield flaky


@pytest.fixture
async def house(open_house: OpenHouse, link: FlakyLink, prefix: str, provider: MisbehavingProvider) -> House:
    """Its Redis can be taken away."""
    return await open_house(apps=APPS, provider=provider, redis={"url": link.url, "key_prefix": prefix})


def is_store_refusal(response: WireResponse) -> bool:
    return (
        response.status == 503
        and int(response.value("retry-after") or 0) > 0
        and json.loads(response.body)["code"] == "session_store_unavailable"
    )


# --- Redis ------------------------------------------------------------------------------------------------------------


async def test_without_redis_protected_pages_are_503_public_ones_work_and_nobody_is_signed_out(
    house: House, link: FlakyLink
) -> None:
    """C-43."""
    browser = house.browser()
    await house.sign_in(browser, at="/before")
    token = browser.jar.named("doorward_session")
    assert token is not None
    cookie = f"doorward_session={token.value}"
    link.refuse()
    await eventually(lambda: not house.worker.cache.trusted)
    for _ in range(3):
        assert is_store_refusal(await house.ask("/x", cookie=cookie))
    page = await browser.open(house.origin() + "/x")
    assert page.status == 503
    assert "You are still signed in" in page.text
    assert page.all("Set-Cookie") == []
    assert browser.jar.named("doorward_session") is not None
    assert (await house.ask("/assets/x.css", cookie=cookie)).status == 200
    assert (await house.ask("/x", app="guests")).status == 200
    # Who has no cookie needs no Redis to be told to sign in; the login ends on a page, not on a session.
    assert (await house.ask("/x")).status == 401
    stranger = house.browser()
    page = await house.sign_in(stranger, at="/deep")
    assert page.status == 503
    assert stranger.jar.named("doorward_session") is None
    link.restore()
    await eventually(lambda: house.worker.cache.trusted)
    assert (await browser.open(house.origin() + "/after")).text == "you asked for /after"
    assert (await house.sign_in(stranger, at="/deep")).text == "you asked for /deep"
    targets = [request.target for request in house.upstream.requests]
    assert targets == ["/before", "/assets/x.css", "/after", "/deep"]


async def test_a_redis_that_does_not_answer_is_503_in_bounded_time(house: House, link: FlakyLink) -> None:
    """C-43, C-42: also for a session that was in the cache, once the cache cannot be sure any more."""
    cookie = await house.session()
    assert (await house.ask("/x", cookie=cookie)).status == 200
    link.stall()
    unknown = f"doorward_session={'A' * 43}"
    async with asyncio.timeout(60):
        assert is_store_refusal(await house.ask("/x", cookie=unknown))
        await eventually(lambda: not house.worker.cache.trusted)
    async with asyncio.timeout(60):
        assert is_store_refusal(await house.ask("/x", cookie=cookie))
    link.restore()
    await eventually(lambda: house.worker.cache.trusted)
    assert (await house.ask("/x", cookie=cookie)).status == 200


async def test_signing_out_without_redis_is_503_and_the_session_lives(house: House, link: FlakyLink) -> None:
    """C-43, A-20: nobody is told that they are signed out while they are not."""
    browser = house.browser()
    await house.sign_in(browser)
    link.refuse()
    await eventually(lambda: not house.worker.cache.trusted)
    page = await browser.post_from(house.origin() + "/", house.origin() + "/oauth2/sign_out")
    assert page.status == 503
    assert page.location == ""
    assert (await browser.open(house.origin() + "/oauth2/userinfo")).status == 503
    link.restore()
    await eventually(lambda: house.worker.cache.trusted)
    assert (await browser.open(house.origin() + "/x")).status == 200


async def test_with_serve_cached_people_who_are_here_go_on_and_everybody_else_is_told_the_truth(
    open_house: OpenHouse, link: FlakyLink, prefix: str, provider: MisbehavingProvider
) -> None:
    """C-43, C-44: pages are served from memory; signing in, signing out and strangers get 503; an operator sees it everywhere."""
    redis = {"url": link.url, "key_prefix": prefix, "outage": "serve_cached for 5m"}
    house = await open_house(apps=APPS, provider=provider, redis=redis)
    browser = house.browser()
    await house.sign_in(browser, at="/before")
    token = browser.jar.named("doorward_session")
    assert token is not None
    cookie = f"doorward_session={token.value}"
    link.refuse()
    await eventually(lambda: house.worker.cache.outlasting)
    assert (await house.ask("/x", cookie=cookie)).status == 200
    assert is_store_refusal(await house.ask("/x", cookie=f"doorward_session={'A' * 43}"))
    page = await browser.post_from(house.origin() + "/", house.origin() + "/oauth2/sign_out")
    assert page.status == 503
    assert (await house.sign_in(house.browser(), at="/deep")).status == 503
    assert (await house.ask("/x", cookie=cookie)).status == 200
    status, ready = await eventually(lambda: _ready(house, "serving_cached"))
    assert status == 200
    assert ready["status"] == "degraded"
    redis_now = ready["dependencies"]["redis"]
    assert redis_now["last_error"] == "session_store_unavailable"
    assert redis_now["last_error_at"] >= redis_now["since"]
    assert not redis_now["unready"]
    link.restore()
    await eventually(lambda: _ready(house, "ok"))
    told = [
        event
        for event in map(json.loads, b"".join(house.lines).splitlines())
        if str(event.get("event")).startswith("store.")
    ]
    assert [line["event"] for line in told] == ["store.unavailable", "store.recovered"]
    assert told[0]["policy"] == "serve_cached"
    assert (await browser.post_from(house.origin() + "/", house.origin() + "/oauth2/sign_out")).status in (302, 303)
    assert (await house.ask("/x", cookie=cookie)).status == 401


async def test_without_it_a_worker_is_unready_while_redis_is_away(house: House, link: FlakyLink) -> None:
    """C-43: a load balancer asks another replica, whose Redis may be reached."""
    await eventually(lambda: _ready(house, "ok"))
    link.refuse()
    status, ready = await eventually(lambda: _ready(house, "failing"))
    assert status == 503
    assert ready["status"] == "unavailable"
    assert ready["dependencies"]["redis"]["unready"]
    assert ready["dependencies"]["redis"]["workers"] == 1
    link.restore()
    status, ready = await eventually(lambda: _ready(house, "ok"))
    assert status == 200
    assert ready["dependencies"]["redis"]["last_error"] == "session_store_unavailable"


def _ready(house: House, redis: str) -> tuple[int, dict[str, Any]] | None:
    """What /ready says, once Redis is in the given state."""
    answer = readiness([house.worker.report()], 1)
    known = answer[1]["dependencies"].get("redis")
    return answer if known is not None and known["state"] == redis else None


async def test_a_redis_that_turns_into_a_replica_is_read_no_more(
    open_house: OpenHouse, own_valkey: EmbeddedValkey, provider: MisbehavingProvider
) -> None:
    """C-43: READONLY, as after a failover behind one address; open connections are given up too, and nobody is signed out."""
    house = await open_house(apps=APPS, provider=provider, redis={"url": own_valkey.url})
    cookie = await house.session()
    assert (await house.ask("/x", cookie=cookie)).status == 200
    async with connect(schema.Redis(url=SecretStr(own_valkey.url))) as admin:
        await admin.ping()
        await admin.replicaof("127.0.0.1", "1")
        await eventually(lambda: not house.worker.cache.trusted)
        await eventually(lambda: _refused(house, cookie))
        await admin.replicaof("NO", "ONE")
    await eventually(lambda: house.worker.cache.trusted)
    assert (await house.ask("/x", cookie=cookie)).status == 200


async def _refused(house: House, cookie: str) -> bool:
    answer = await house.ask("/x", cookie=cookie)
    assert answer.status in (200, 503)
    return is_store_refusal(answer) if answer.status == 503 else False


async def test_a_connection_that_redis_dropped_is_replaced_without_a_word(house: House, link: FlakyLink) -> None:
    """C-42: a restart of Redis, or its idle timeout, is no outage for people."""
    cookies = [await house.session() for _ in range(5)]
    for number in range(3):
        link.cut()
        for cookie in cookies:
            assert (await house.ask(f"/{number}", cookie=cookie)).status == 200


async def test_an_open_socket_survives_a_short_outage_and_a_sign_out_during_it_is_noticed(
    house: House, link: FlakyLink, valkey: str, prefix: str
) -> None:
    """C-43, C-44: streams are looked at again when Redis is back."""
    from redis.asyncio import Redis

    stays, ends = await house.session(), await house.session(subject="eve")
    first, second = await open_socket(house, stays), await open_socket(house, ends)
    link.refuse()
    await eventually(lambda: not house.worker.cache.trusted)
    other: Redis = Redis.from_url(valkey)
    store = house.worker.store
    await other.delete(f"{prefix}s:{store.key_of(ends.partition('=')[2])}")
    await other.aclose()
    link.restore()
    assert await second.ended()
    await first.send(b"still here")
    assert await first.reader.readexactly(10) == b"still here"
    await first.close()


@pytest.mark.parametrize("value", [b"", b"x", b"\x80\x04N.", b'{"v":99}', b"\x00" * 5000])
async def test_a_record_that_cannot_be_read_is_no_session_and_no_error(
    open_house: OpenHouse, valkey: str, prefix: str, value: bytes
) -> None:
    """C-43, C-51: foreign, truncated, a pickle, another version."""
    house = await open_house()
    cookie = await house.session()
    key = f"{prefix}s:{house.worker.store.key_of(cookie.partition('=')[2])}"
    await house.worker.redis.set(key, value)
    assert (await house.ask("/x", cookie=cookie)).status == 401
    assert (await house.ask("/x", cookie=cookie, fields=BROWSER)).status == 503  # there is no provider here
    assert house.upstream.requests == []


# --- the application --------------------------------------------------------------------------------------------------


async def answered(house: House, app: str = "portal", fields: str = BROWSER) -> WireResponse:
    return await house.ask("/x", app=app, cookie=await house.session(app), fields=fields)


async def test_an_application_that_is_down_is_503_and_comes_back_alone(open_house: OpenHouse) -> None:
    port = free_port()
    house = await open_house(upstreams={"portal": f"http://127.0.0.1:{port}"})
    page = await answered(house)
    assert (page.status, page.value("retry-after") is not None) == (503, True)
    assert b"The application is not available" in page.body
    assert json.loads((await answered(house, fields="")).body)["code"] == "upstream_unavailable"
    back = RecordingUpstream()
    await back.start(port)
    assert (await answered(house)).body == b"you asked for /x"
    await back.close()


async def test_an_application_that_is_slow_is_504(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"timeouts": {"response_headers": "300ms"}}})

    async def never(request: Recorded, reader: Any, writer: Any) -> None:
        await reader.read()

    house.upstream.answer = never
    page = await answered(house)
    assert page.status == 504
    assert b"took too long" in page.body
    assert json.loads((await answered(house, fields="")).body)["code"] == "upstream_timeout"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["nothing", "garbage", "two lengths", "endless head", "NUL"],
)
async def test_an_application_that_answers_nonsense_is_502_and_the_next_request_is_served(
    open_house: OpenHouse, said: bytes
) -> None:
    """B-47."""
    house = await open_house()
    cookie = await house.session()

    async def nonsense(request: Recorded, reader: Any, writer: Any) -> None:
        if request.target == "/x":
            writer.write(said)
            writer.close()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    house.upstream.answer = nonsense
    wire = await Wire.open(house.port)
    head = f"HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{BROWSER}\r\n"
    await wire.send(f"POST /x {head}".encode())
    page = await wire.response()
    assert page.status == 502
    assert b"sent an invalid response" in page.body
    if page.value("connection") == "close":
        await wire.close()
        wire = await Wire.open(house.port)
    await wire.send(f"GET /ok {head}".encode())
    assert (await wire.response()).body == b"ok"
    await wire.close()


async def test_one_application_that_is_down_leaves_the_other_alone(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {}, "dashboard": {}}, upstreams={"portal": "http://127.0.0.1:9"})
    assert (await answered(house)).status == 503
    assert (await answered(house, "dashboard")).status == 200
