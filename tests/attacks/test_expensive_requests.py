"""Requests of strangers that are small for them and dear for us."""

import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType

import pytest

from gateway.errors.requests import BadRequest
from gateway.gate.admission import decide
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy.bodies import Unreadable, read_body, read_query
from gateway.policy.paths import casefold, parse_target
from tests.flows.conftest import OpenHouse


def nested(size: int) -> bytes:
    """Long names around many short ones: half of the bytes for each."""
    members = ",".join(f'"{number:x}":0' for number in range(size // 16))
    body, name = "{" + members + "}", "k" * (size // 60)
    for _ in range(30):
        body = f'{{"{name}":{body}}}'
    return body.encode()


def test_long_names_in_json_are_not_multiplied() -> None:
    """C-12: 64 KiB became 130 MB, and seconds in which the worker did nothing else."""
    body = nested(64 * 1024)
    assert len(body) <= 70 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable):
            read_body("json", body)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert ("a_" * 30 + "b", "1") in read_body("json", ('{"a":' * 30 + '{"b":1}' + "}" * 30).encode())


async def test_a_stranger_cannot_keep_a_worker_busy_with_one_body(open_house: OpenHouse) -> None:
    """C-12: the doors are judged before anybody is known."""
    house = await open_house(apps={"portal": {"password_routes": ["nexudus"]}}, openid={"prevent_password_login": True})
    begun = time.process_time()
    response = await house.ask(
        "/profile", method="POST", fields="Content-Type: application/json\r\n", body=nested(60 * 1024)
    )
    assert response.status == 403
    assert time.process_time() - begun < 1.0
    assert house.upstream.requests == []


LETTER = b"%EF%B7%BA"  # one letter, which folds to eighteen
SIZE = 63_000  # bytes of a query, just below what a head may have
QUERIES = {
    "one long name": LETTER * (SIZE // 9),
    "a thousand names": b"&".join([LETTER * 6 + b"=1"] * 1000),
    "a thousand values that name a path": b"&".join([b"r=/" + LETTER * 6] * 1000),
    "one long value that names a path": b"rest_route=/" + LETTER * (SIZE // 9),
    "a thousand names in three readings": b"&".join([b"%25" + LETTER[1:] * 2 + b"%u006f=1"] * 1000),
}


def calls(function: Callable[..., object], work: Callable[[], object]) -> list[dict[str, object]]:
    """The arguments of each call of `function` in `work`."""
    found: list[dict[str, object]] = []

    def on_event(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is function.__code__:
            found.append(dict(frame.f_locals))

    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_query_is_read_once_and_little_of_it_is_folded(
    open_house: OpenHouse, query: bytes, method: str
) -> None:
    """B-35, C-66: rules, methods, readings of the path and password routes ask for the parameters, each by itself."""
    rule = {"match": ["DELETE /wp-json/**"], "require": {"groups": ["staff"]}}
    app = {"password_routes": ["wordpress"], "rules": [rule]}
    house = await open_house(apps={"portal": app}, openid={"prevent_password_login": True})
    site = house.worker.sites.of(house.host())
    fields = [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"3")]
    if method == "OPTIONS":
        fields = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"GET")]
    head = RequestHead(method, b"/index.php?" + query, site.host_bytes, fields)
    body = b"a=b" if method == "POST" else None
    folded = calls(casefold, lambda: decide(Request(site, head, None, None, body=body)))
    texts = [str(call["text"]) for call in folded]
    assert sum(len(text) for text in texts if not text.isascii()) < 20_000


def test_a_query_that_is_asked_for_again_is_not_read_again() -> None:
    """B-35."""
    query = b"&".join([b"%41=1"] * 1000)
    assert len(calls(casefold, lambda: [read_query(query) for _ in range(5)])) <= 2000


@pytest.mark.parametrize("part", [b"a", b"%41", b"%2541", b"%EF%B7%BA=1"])
def test_a_query_of_thousands_of_parameters_is_refused_before_it_is_read(part: bytes) -> None:
    """B-35: read in every way, it would cost a tenth of a second."""
    with pytest.raises(BadRequest):
        read_query(b"&".join([b"_method", *[part] * 1000]))
    assert len(read_query(b"&".join([b"a=1"] * 1000))) == 1000


@pytest.mark.parametrize(
    "form",
    [b"&".join([b"a=1"] * 1001), b"n" * 300 + b"=1", b'{"' + b"n" * 300 + b'": 1}'],
    ids=["many", "long", "json"],
)
def test_a_body_has_the_same_limits(form: bytes) -> None:
    """C-12: what is beyond them counts as a password request on a password route."""
    with pytest.raises(Unreadable):
        read_body("json" if form.startswith(b"{") else "form", form)
    assert len(read_body("form", b"&".join([b"a=1"] * 1000))) == 1000


def test_a_name_may_be_long_where_folding_it_is_cheap() -> None:
    """A query may be one opaque value: base64, or JSON in some language."""
    assert len(read_query(b"%41" + b"x" * 20_000)) == 2
    assert read_query(b"%E6%97%A5" * 1000) != ()


@pytest.mark.parametrize("segment", [b"/%C3%A9", b"/%41", b"/(a(x)", b"/a;b"])
def test_a_path_that_must_be_rewritten_has_a_bounded_length(segment: bytes) -> None:
    """C-12."""
    with pytest.raises(BadRequest):
        parse_target(segment * (8200 // len(segment) + 1))
    assert len(parse_target(b"/" + b"x" * 20_000).path) == 20_001


async def test_they_are_answered_with_400(open_house: OpenHouse) -> None:
    house = await open_house()
    cookie = await house.session()
    for target in ("/?" + "%61&" * 1500, "/?" + "a&" * 1000, "/?" + "a;" * 1000, "/%61" * 4000):
        assert (await house.ask(target, cookie=cookie)).status == 400
    assert house.upstream.requests == []
