"""Requests of strangers that are small for them and dear for us."""

import time
import tracemalloc

import pytest

from gateway.errors.requests import BadRequest
from gateway.policy.bodies import Unreadable, read_body, read_query
from gateway.policy.paths import parse_target
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


@pytest.mark.parametrize("part", [b"a", b"%41", b"%2541", b"%EF%B7%BA=1"])
def test_a_query_of_thousands_of_parameters_is_refused_before_it_is_read(part: bytes) -> None:
    """B-35: read in every way, it would cost a tenth of a second."""
    with pytest.raises(BadRequest):
        read_query(b"&".join([b"_method", *[part] * 2000]))
    assert len(read_query(b"&".join([b"a=1"] * 1000))) == 1000


@pytest.mark.parametrize("segment", [b"/%C3%A9", b"/%41", b"/(a(x)", b"/a;b"])
def test_a_path_that_must_be_rewritten_has_a_bounded_length(segment: bytes) -> None:
    """C-12."""
    with pytest.raises(BadRequest):
        parse_target(segment * (8200 // len(segment) + 1))
    assert len(parse_target(b"/" + b"x" * 20_000).path) == 20_001


async def test_both_are_answered_with_400(open_house: OpenHouse) -> None:
    house = await open_house()
    cookie = await house.session()
    for target in ("/?" + "%61&" * 1500, "/%61" * 4000):
        assert (await house.ask(target, cookie=cookie)).status == 400
    assert house.upstream.requests == []
