"""What an app's `responses` change on the way: password forms are hidden in pages, rival cookies stay out. All else passes as it came."""

import asyncio
import gzip
import re
import zlib
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.rewriting.style import HidingStyle
from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import Recorded
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

HIDE = ["form#login", "a.forgot"]
STYLE = HidingStyle(HIDE)
PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body><form id=login>" + b"x" * 5000
CHANGED = PAGE.replace(b"<head>", b"<head>" + STYLE.element)
HTML = "Content-Type: text/html; charset=utf-8"


class Scripted:
    """Answers with these header lines and this body; `chunks` cut it, each a write of its own."""

    def __init__(self, body: bytes = PAGE, *headers: str, status: str = "200 OK", step: int = 0) -> None:
        self.body, self.headers, self.status, self.step = body, headers, status, step

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {self.status}", *self.headers]
        if not self.step:
            head = "\r\n".join([*lines, f"Content-Length: {len(self.body)}"]) + "\r\n\r\n"
            writer.write(head.encode() + (b"" if request.line.startswith(b"HEAD ") else self.body))
            return
        writer.write(("\r\n".join([*lines, "Transfer-Encoding: chunked"]) + "\r\n\r\n").encode())
        for start in range(0, len(self.body), self.step):
            piece = self.body[start : start + self.step]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


async def a_house(open_house: OpenHouse, **responses: Any) -> House:
    app = {"public": ["* /**", "WEBSOCKET /live"], "responses": responses or {"hide": HIDE}}
    return await open_house(apps={"portal": app})


async def page_of(house: House, answer: Scripted, fields: str = BROWSER, **request: Any) -> WireResponse:
    house.upstream.answer = answer
    return await house.ask("/login", fields=fields, **request)


async def test_a_page_gets_the_style_and_a_length_that_is_right(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(PAGE, HTML))
    assert answer.body == CHANGED
    assert answer.complete
    assert answer.values("Content-Length") == []
    assert answer.value("Transfer-Encoding") == "chunked"


@pytest.mark.parametrize("step", [1, 3, 4000])
async def test_a_page_that_comes_in_pieces_gets_it_too(open_house: OpenHouse, step: int) -> None:
    house = await a_house(open_house)
    assert (await page_of(house, Scripted(PAGE[:1500], HTML, step=step))).body == CHANGED[: 1500 + len(STYLE.element)]


async def test_one_connection_carries_changed_pages_and_other_answers_in_turn(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    wire = await Wire.open(house.port)
    head = f"GET /login HTTP/1.1\r\nHost: {house.host()}\r\n{BROWSER}\r\n".encode()
    for body, headers, wanted in (
        (PAGE, HTML, CHANGED),
        (b"{}", "Content-Type: application/json", b"{}"),
        (PAGE, HTML, CHANGED),
    ):
        house.upstream.answer = Scripted(body, headers)
        await wire.send(head)
        assert (await wire.response()).body == wanted
    await wire.close()
    assert house.upstream.connections == 1


async def test_a_client_of_http_1_0_gets_a_page_that_ends_with_the_connection(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    house.upstream.answer = Scripted(PAGE, HTML)
    head = f"GET /login HTTP/1.0\r\nHost: {house.host()}\r\nAccept: text/html\r\n\r\n"
    answer = await house.raw(head.encode())
    assert (answer.body, answer.value("Connection")) == (CHANGED, "close")


# --- codings, validators, ranges --------------------------------------------------------------------------------------


async def test_the_upstream_is_asked_for_a_whole_page_without_a_coding(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    asked = 'Accept-Encoding: gzip, br\r\nIf-None-Match: "v1"\r\nIf-Modified-Since: x\r\nRange: bytes=0-9\r\nIf-Range: "v1"\r\n'
    await page_of(house, Scripted(PAGE, HTML), BROWSER + asked)
    request = house.upstream.requests[-1]
    assert request.values("Accept-Encoding") == [b"identity"]
    for name in ("If-None-Match", "If-Modified-Since", "Range", "If-Range"):
        assert request.values(name) == [], name


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(PAGE)),
        ("x-gzip", gzip.compress(PAGE)),
        ("deflate", zlib.compress(PAGE)),
        ("identity", PAGE),
    ],
    ids=["gzip", "x-gzip", "deflate", "identity"],
)
@pytest.mark.parametrize("step", [0, 11])
async def test_a_coding_that_comes_all_the_same_is_undone(
    open_house: OpenHouse, coding: str, body: bytes, step: int
) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(body, HTML, f"Content-Encoding: {coding}", step=step))
    assert answer.body == CHANGED
    assert answer.values("Content-Encoding") == []


async def test_a_coding_that_is_not_known_passes_as_it_is(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(b"not really br", HTML, "Content-Encoding: br", 'ETag: "v1"'))
    assert (answer.body, answer.value("Content-Encoding"), answer.value("ETag")) == (b"not really br", "br", '"v1"')
    assert answer.value("Content-Length") == "13"


async def test_a_page_that_is_no_gzip_or_a_bomb_is_shown_as_broken(open_house: OpenHouse) -> None:
    """B-45, D-20: the client must see that it is not whole."""
    house = await a_house(open_house)
    for body in (b"this is no gzip", gzip.compress(b"\0" * 5_000_000)):
        answer = await page_of(house, Scripted(body, HTML, "Content-Encoding: gzip"))
        assert answer.status == 502 or not answer.complete


async def test_what_is_said_about_the_bytes_does_not_outlive_them(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    about = ['ETag: "v1"', "Last-Modified: x", "Accept-Ranges: bytes", "Content-MD5: x", "Digest: x", "Repr-Digest: x"]
    answer = await page_of(house, Scripted(PAGE, HTML, *about, "X-Kept: yes"))
    assert answer.value("X-Kept") == "yes"
    assert [name for name in (line.partition(":")[0] for line in about) if answer.values(name)] == []


async def test_a_head_says_what_the_page_would_say(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(PAGE, HTML, 'ETag: "v1"'), method="HEAD")
    assert answer.status == 200
    assert answer.values("Content-Length") + answer.values("ETag") == []


@pytest.mark.parametrize("status", ["304 Not Modified", "204 No Content", "206 Partial Content"])
async def test_what_is_no_whole_page_passes_as_it_is(open_house: OpenHouse, status: str) -> None:
    house = await a_house(open_house)
    body = b"" if status < "206" or status > "300" else PAGE[:20]
    answer = await page_of(house, Scripted(body, HTML, 'ETag: "v1"', status=status))
    assert answer.value("ETag") == '"v1"'
    assert answer.body == body


# --- what is a page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Type: application/xhtml+xml",),
        ("Content-Type: text/plain",),
        ("Content-Type: text/html; charset=UTF-16LE",),
        ('Content-Type: text/html; charset="utf-32"',),
        (HTML, "Content-Disposition: attachment; filename=a.html"),
        (HTML, HTML),
        (),
    ],
)
async def test_other_answers_pass_byte_for_byte(open_house: OpenHouse, headers: Sequence[str]) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(PAGE, *headers, 'ETag: "v1"'))
    assert (answer.body, answer.value("ETag"), answer.value("Content-Length")) == (PAGE, '"v1"', str(len(PAGE)))


@pytest.mark.parametrize(
    "fields", ["Accept: */*\r\n", "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nAccept: text/html\r\n"]
)
async def test_a_script_that_fetches_html_gets_it_as_it_is(open_house: OpenHouse, fields: str) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(PAGE, HTML), fields + "Accept-Encoding: gzip\r\n")
    assert answer.body == PAGE
    assert house.upstream.requests[-1].values("Accept-Encoding") == [b"gzip"]


async def test_a_frame_is_a_page(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    assert (await page_of(house, Scripted(PAGE, HTML), "Sec-Fetch-Dest: iframe\r\n")).body == CHANGED


async def test_an_error_page_is_a_page(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    answer = await page_of(house, Scripted(PAGE, HTML, status="404 Not Found"))
    assert (answer.status, answer.body) == (404, CHANGED)


async def test_the_policy_of_the_page_allows_the_style_by_its_hash(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    policies = ["Content-Security-Policy: default-src 'self'", "Content-Security-Policy: style-src 'none'"]
    answer = await page_of(house, Scripted(PAGE, HTML, *policies))
    source = STYLE.source.decode()
    assert answer.values("Content-Security-Policy") == [
        f"default-src 'self'; style-src-elem 'self' {source}",
        f"style-src {source}",
    ]


async def test_an_app_without_these_settings_gets_everything_as_it_came(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"public": ["* /**"]}})
    answer = await page_of(house, Scripted(PAGE, HTML, 'ETag: "v1"', "Set-Cookie: rival=1"))
    assert (answer.body, answer.value("ETag"), answer.values("Set-Cookie")) == (PAGE, '"v1"', ["rival=1"])
    assert house.worker.context.filters == {}


# --- rival cookies ----------------------------------------------------------------------------------------------------


async def test_a_rival_cookie_is_neither_set_nor_sent_back(open_house: OpenHouse) -> None:
    """C-37: other spellings of its name count, too."""
    house = await a_house(open_house, drop_cookies=["rival", "old.session"])
    answer = await page_of(
        house,
        Scripted(b"ok", "Set-Cookie: rival=1; Path=/", "Set-Cookie: kept=1", "Set-Cookie: old.session=2; HttpOnly"),
        fields="Cookie: a=1; rival=9; kept=1; %72ival=9; old_session=3; b=2\r\n",
    )
    assert answer.values("Set-Cookie") == ["kept=1"]
    assert house.upstream.requests[-1].values("Cookie") == [b"a=1; kept=1; b=2"]
    assert answer.body == b"ok"


async def test_a_rival_cookie_does_not_come_with_an_upgrade_or_an_early_hint(open_house: OpenHouse) -> None:
    house = await a_house(open_house, drop_cookies=["rival"])
    key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cookies = "Set-Cookie: rival=1\r\nSet-Cookie: kept=1\r\n"
        writer.write(f"HTTP/1.1 103 Early Hints\r\n{cookies}\r\nHTTP/1.1 101 Switching Protocols\r\n{cookies}".encode())
        writer.write(f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())

    house.upstream.answer = answer
    wire = await Wire.open(house.port)
    upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    origin = f"Origin: {house.origin()}\r\n"
    await wire.send(f"GET /live HTTP/1.1\r\nHost: {house.host()}\r\n{upgrade}{origin}\r\n".encode())
    for status in (103, 101):
        response = await wire.response()
        assert (response.status, response.values("Set-Cookie")) == (status, ["kept=1"])
    await wire.close()


async def test_a_request_of_rival_cookies_alone_has_no_cookie_field(open_house: OpenHouse) -> None:
    house = await a_house(open_house, drop_cookies=["rival"])
    await page_of(house, Scripted(b"ok"), fields="Cookie: rival=9\r\n")
    assert house.upstream.requests[-1].values("Cookie") == []


async def test_a_page_is_changed_in_bounded_memory_and_streams(open_house: OpenHouse) -> None:
    house = await a_house(open_house)
    first, rest = asyncio.Event(), asyncio.Event()

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{HTML}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        writer.write(b"%x\r\n%b\r\n" % (len(PAGE), PAGE))
        first.set()
        await rest.wait()
        writer.write(b"3\r\nend\r\n0\r\n\r\n")

    house.upstream.answer = answer
    wire = await Wire.open(house.port)
    await wire.send(f"GET / HTTP/1.1\r\nHost: {house.host()}\r\n{BROWSER}\r\n".encode())
    head = await wire.reader.readuntil(b"\r\n\r\n")
    assert first.is_set()
    size = int(await wire.reader.readuntil(b"\r\n"), 16)
    assert re.search(rb"^Transfer-Encoding: chunked\r$", head, re.MULTILINE)
    assert await wire.reader.readexactly(size) == CHANGED
    rest.set()
    assert await wire.reader.readuntil(b"0\r\n\r\n") == b"\r\n3\r\nend\r\n0\r\n\r\n"
    await wire.close()
