"""What a connection remembers of the requests before: it must never be told from a connection that remembers nothing."""

import asyncio
import random

import pytest

from tests.fakes.house import House
from tests.fakes.recorder import Recorded
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

APP = {
    "portal": {
        "public": ["GET /assets/**"],
        "require": {"groups": ["members"]},
        "rules": [
            {"match": ["* /admin/**"], "require": {"groups": ["staff"]}},
            {"match": ["GET /fresh"], "max_age": "1h"},
        ],
        "password_routes": "nexudus",
    }
}
CLOSED = {"prevent_password_login": True}
ROUNDS = 400


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join((line, *fields, "", "")).encode("latin-1")


async def steady(house: House, groups: tuple[str, ...], **more: str) -> str:
    """The cookie of a session that the worker has in its memory."""
    cookie = await house.session(groups=groups, **more)
    await house.worker.cache.load(house.worker.store.key_of(cookie.partition("=")[2]), house.host(), "portal")
    return cookie


def seen(house: House) -> tuple[bytes, bytes] | None:
    """The last request that arrived, without what is new each time."""
    if not house.upstream.requests:
        return None
    last: Recorded = house.upstream.requests[-1]
    lines = [
        line for line in last.head.split(b"\r\n") if not line.lower().startswith((b"x-request-id", b"x-doorward-jwt"))
    ]
    return b"\n".join(lines), last.body


async def tried(house: House, wire: Wire, data: bytes) -> tuple[int, bytes, tuple[bytes, bytes] | None]:
    house.upstream.requests.clear()
    await wire.send(data)
    answer = await wire.response(head_only=data.startswith(b"HEAD "))
    return answer.status, answer.body if answer.status == 200 else b"", seen(house)


async def test_what_came_before_on_a_connection_changes_nothing(open_house: OpenHouse) -> None:
    """B-54, C-09: generated requests arrive alike and are answered alike: on a connection that carried others before, on a new one, and from
    somebody whose session the worker has to read first.
    """
    house = await open_house(apps=APP, openid=CLOSED)
    cookies = [
        await steady(house, ("members",)),
        await steady(house, ("members", "staff"), subject="eve", email="eve@example.com"),
        await steady(house, ()),
        "doorward_session=" + "x" * 43,
    ]
    chance = random.Random(7)
    lines = [
        f"GET {path} HTTP/1.1"
        for path in (
            "/",
            "/a",
            "/a?x=1",
            "/admin/x",
            "/assets/x.css",
            "/fresh",
            "/%61",
            "/A;x=1",
            "/login",
            "/en/login",
        )
    ]
    lines += [
        "HEAD /a HTTP/1.1",
        "POST /a HTTP/1.1",
        "OPTIONS /a HTTP/1.1",
        "DELETE /admin/x HTTP/1.1",
        f"GET http://{house.host()}/a HTTP/1.1",
    ]
    rest = [
        "Accept: text/html",
        "X-Own: 1",
        "X-Own: 2",
        "X-Forwarded-User: admin",
        "X-Request-Id: mine",
        "Connection: x-own",
        "X-HTTP-Method-Override: DELETE",
    ]
    rest += [
        "Authorization: Basic YTpi",
        "Authorization: Bearer x",
        "Origin: http://elsewhere.example",
        "X-Forwarded-For: 1.2.3.4",
    ]
    used = await Wire.open(house.port)
    kept: list[str] = []
    repeated = 0
    for _ in range(ROUNDS):
        if not kept or chance.random() < 0.4:
            fields = chance.sample(rest, chance.randrange(3))
            sent = [f"Cookie: {chance.choice(cookies)}"] if chance.random() < 0.8 else []
            kept = [f"Host: {house.host()}", *fields, *sent, *(["Cookie: other=1"] if chance.random() < 0.2 else [])]
        else:
            repeated += 1
        line = chance.choice(lines)
        body = b"hello" if line.startswith("POST") and chance.random() < 0.5 else b""
        data = head(line, *kept, *([f"Content-Length: {len(body)}"] if body else [])) + body
        there = await tried(house, used, data)
        fresh = await Wire.open(house.port)
        here = await tried(house, fresh, data)
        await fresh.close()
        assert there == here, data
        for cookie in cookies:
            house.worker.cache.forget(house.worker.store.key_of(cookie.partition("=")[2]))
        cold = await Wire.open(house.port)
        assert there == await tried(house, cold, data), data
        await cold.close()
        if used.reader.at_eof() or there[0] >= 400:  # some refusals close
            await used.close()
            used = await Wire.open(house.port)
            await tried(house, used, head(line, *kept, *([f"Content-Length: {len(body)}"] if body else [])) + body)
            if used.reader.at_eof():
                used = await Wire.open(house.port)
    await used.close()
    assert repeated > ROUNDS / 3


async def test_a_password_in_authorization_meets_its_door_however_often_the_path_was_passed(
    open_house: OpenHouse,
) -> None:
    """B-54, C-18: on the same connection, on a new one, and from somebody whose session the worker has to read first."""
    house = await open_house(apps=APP, openid=CLOSED)
    cookie = await steady(house, ("members",))
    fields = (f"Host: {house.host()}", f"Cookie: {cookie}")
    wire = await Wire.open(house.port)
    assert [(await tried(house, wire, head("GET /a HTTP/1.1", *fields)))[0] for _ in range(3)] == [200] * 3
    basic = head("GET /a HTTP/1.1", *fields, "Authorization: Basic YTpi")
    assert (await tried(house, wire, basic))[0] == 403
    await wire.close()
    for cold in (False, True):
        if cold:
            house.worker.cache.forget(house.worker.store.key_of(cookie.partition("=")[2]))
        wire = await Wire.open(house.port)
        assert await tried(house, wire, basic) == (403, b"", None)
        await wire.close()


async def test_fields_of_a_request_before_never_travel_with_other_fields(open_house: OpenHouse) -> None:
    """B-54: a refused request stands between two that are forwarded, and has other fields than the first."""
    house = await open_house(apps=APP)
    cookie = await steady(house, ("members",))
    first = (f"Host: {house.host()}", f"Cookie: {cookie}", "X-Own: 1")
    other = (f"Host: {house.host()}", f"Cookie: {cookie}", "X-Own: 2")
    wire = await Wire.open(house.port)
    for line, fields, status in (("/a", first, 200), ("/admin/x", other, 403), ("/a", other, 200), ("/a", first, 200)):
        await wire.send(head(f"GET {line} HTTP/1.1", *fields))
        assert (await wire.response()).status == status
    await wire.close()
    assert [asked.values("x-own") for asked in house.upstream.requests] == [[b"1"], [b"2"], [b"1"]]
    assert all(asked.values("x-forwarded-user") == [b"bob"] for asked in house.upstream.requests)


async def test_a_session_that_ends_between_two_equal_requests_is_over_for_the_second(open_house: OpenHouse) -> None:
    """C-44, C-40."""
    house = await open_house(apps=APP)
    cookie = await steady(house, ("members",))
    data = head("GET /a HTTP/1.1", f"Host: {house.host()}", f"Cookie: {cookie}")
    wire = await Wire.open(house.port)
    for _ in range(3):
        await wire.send(data)
        assert (await wire.response()).status == 200
    key = house.worker.store.key_of(cookie.partition("=")[2])
    await house.worker.store.revoke(key)
    await eventually(lambda: house.worker.cache.peek(key, house.host()) is None)
    await wire.send(data)
    assert (await wire.response()).status == 401
    await wire.close()
    assert len(house.upstream.requests) == 3


async def test_an_idle_connection_is_not_closed_when_its_session_ends_and_a_busy_one_is(open_house: OpenHouse) -> None:
    """C-44."""
    house = await open_house(apps=APP)
    cookie = await steady(house, ("members",))
    data = head("GET /a HTTP/1.1", f"Host: {house.host()}", f"Cookie: {cookie}")
    idle, busy = await Wire.open(house.port), await Wire.open(house.port)
    await idle.send(data)
    assert (await idle.response()).status == 200
    waiting = asyncio.Event()

    async def silent(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.set()
        await reader.read()

    usual, house.upstream.answer = house.upstream.answer, silent
    await busy.send(data)
    await waiting.wait()
    await house.worker.store.revoke(house.worker.store.key_of(cookie.partition("=")[2]))
    assert await busy.ended()
    house.upstream.answer = usual
    await idle.send(head("GET /assets/x.css HTTP/1.1", f"Host: {house.host()}", f"Cookie: {cookie}"))
    assert (await idle.response()).status == 200
    await idle.close()


@pytest.mark.parametrize(
    ("second", "statuses"),
    [
        (b"\r\nGET /a HTTP/1.1", [200]),
        (b"GET /a HTTP/1.1\r\nX-New: 1", [200]),
        (b"GET /a HTTP/1.0", [200]),
        (b"GET /a", [400]),
        (b"GET  /a HTTP/1.1", [400]),
        (b"TRACE /a HTTP/1.1", [405]),
        (b"GET /a\nb HTTP/1.1", [400]),
        (b"GET /%00 HTTP/1.1", [400]),
        (b"GET //elsewhere.example/a HTTP/1.1", [200]),
        (b"GET http://elsewhere.example/a HTTP/1.1", [421]),
    ],
)
async def test_a_first_line_before_known_fields_is_read_like_any_other(
    open_house: OpenHouse, second: bytes, statuses: list[int]
) -> None:
    """C-14, B-12, B-31, B-33."""
    house = await open_house()
    cookie = await steady(house, ())
    fields = f"\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode()
    wire = await Wire.open(house.port)
    await wire.send(b"GET /a HTTP/1.1" + fields)
    assert (await wire.response()).status == 200
    await wire.send(second + fields)
    assert [(await wire.response()).status for _ in statuses] == statuses
    assert len(house.upstream.requests) == 1 + statuses.count(200)
    await wire.close()


async def test_two_requests_in_one_piece_with_the_fields_of_the_one_before_are_two(open_house: OpenHouse) -> None:
    """B-16, B-14: the second head hides nothing, and no field of it belongs to the first."""
    house = await open_house()
    cookie = await steady(house, ())
    fields = f"\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode()
    wire = await Wire.open(house.port)
    await wire.send(b"GET /a HTTP/1.1" + fields)
    await wire.response()
    await wire.send(b"GET /a HTTP/1.1" + fields + b"GET /b HTTP/1.1" + fields)
    assert [(await wire.response()).body for _ in "ab"] == [b"you asked for /a", b"you asked for /b"]
    await wire.send(b"POST /c HTTP/1.1\r\nContent-Length: 14\r\nX: GET /d HTTP/1.1" + fields + b"GET / HTTP/1.1")
    assert (await wire.response()).body == b"you asked for /c"
    await wire.send(fields)
    assert (await wire.response()).status == 400  # the body took the line that these fields would have belonged to
    await wire.close()
    assert "/d" not in [asked.target for asked in house.upstream.requests]


async def test_responses_with_the_head_of_the_one_before_keep_their_own_bodies(open_house: OpenHouse) -> None:
    """B-54, B-44: equal heads, other bodies; a body in two pieces; the answer to HEAD; one that breaks off."""
    house = await open_house()
    cookie = await steady(house, ())
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    pieces: list[tuple[bytes, ...]] = [
        (said + b"one1",),
        (said + b"two2",),
        (said, b"thr3"),
        (said + b"fo", b"ur"),
        (said,),
        (said + b"six6",),
    ]

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces.pop(0):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # two packets, so that they arrive as two

    house.upstream.answer = answer
    wire = await Wire.open(house.port)
    bodies = []
    for method in ("GET", "GET", "GET", "GET", "HEAD", "GET"):
        await wire.send(head(f"{method} /a HTTP/1.1", f"Host: {house.host()}", f"Cookie: {cookie}"))
        answered: WireResponse = await wire.response(head_only=method == "HEAD")
        bodies.append(answered.body)
    assert bodies == [b"one1", b"two2", b"thr3", b"four", b"", b"six6"]
    assert [asked.connection for asked in house.upstream.requests] == [1, 1, 1, 1, 1, 2]  # HEAD ends its connection
    await wire.close()


async def test_bytes_behind_a_response_spoil_its_connection_even_when_its_head_is_known(open_house: OpenHouse) -> None:
    """B-54: what an upstream says unasked is nobody's answer."""
    house = await open_house()
    cookie = await steady(house, ())
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    answers = [said, said, said + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", said]

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    house.upstream.answer = answer
    wire = await Wire.open(house.port)
    for _ in range(4):
        await wire.send(head("GET /a HTTP/1.1", f"Host: {house.host()}", f"Cookie: {cookie}"))
        assert (await wire.response()).body == b"ok"
    assert [asked.connection for asked in house.upstream.requests] == [1, 1, 1, 2]
    await wire.close()


async def test_what_a_person_may_do_on_a_path_says_nothing_of_what_its_form_asks_for(open_house: OpenHouse) -> None:
    """B-35, C-09: an allowed POST stands before one whose form asks to be taken for a DELETE."""
    rules = [{"match": ["DELETE /things/**"], "require": {"groups": ["staff"]}}]
    house = await open_house(apps={"portal": {"require": {"groups": ["members"]}, "rules": rules}})
    cookie = await steady(house, ("members",))
    form = "Content-Type: application/x-www-form-urlencoded"
    wire = await Wire.open(house.port)
    for body, status in ((b"", 200), (b"name=x", 200), (b"name=x&_method=DELETE", 403)):
        fields = (f"Host: {house.host()}", f"Cookie: {cookie}", form, f"Content-Length: {len(body)}")
        await wire.send(head("POST /things/1 HTTP/1.1", *fields) + body)
        assert (await wire.response()).status == status
    await wire.close()
    assert len(house.upstream.requests) == 2
