"""A form that asks the application to take a POST for another method is judged as that method, too."""

from urllib.parse import urlencode

import pytest

from tests.fakes.house import House
from tests.flows.conftest import OpenHouse

RULES = {
    "rules": [{"match": ["DELETE /items/**"], "require": {"groups": ["staff"]}}],
    "public": ["POST /hooks/*"],
}
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
PARTS = "Content-Type: multipart/form-data; boundary=b\r\n"


def part(name: str, content: bytes = b"DELETE") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n--b--\r\n"


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(apps={"portal": RULES})


async def post(house: House, target: str, fields: str, body: bytes, cookie: str | None) -> int:
    """The status; a 200 means that the upstream got just this body."""
    before = len(house.upstream.requests)
    status = (await house.ask(target, method="POST", cookie=cookie, fields=fields, body=body)).status
    arrived = [request.body for request in house.upstream.requests[before:]]
    assert arrived == ([body] if status == 200 else [])
    return status


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (FORM, b"_method=DELETE"), (FORM, b"a=1&_METHOD=delete"), (FORM, b"%5fmethod=DEL%45TE"), ("Content-Type: application/json\r\n", b'{"_method":"DELETE"}'),
        (PARTS, part("_method")), (FORM + "Content-Encoding: gzip\r\n", b"a=1"),
    ],
)  # fmt: skip
async def test_a_form_that_asks_for_a_delete_needs_what_a_delete_needs(house: House, fields: str, body: bytes) -> None:
    """B-35."""
    assert await post(house, "/items/1", fields, body, await house.session(groups=["members"])) == 403
    assert await post(house, "/items/1", fields, body, await house.session(groups=["members", "staff"])) == 200
    assert await post(house, "/items/1", fields, body, None) == 401


async def test_other_forms_of_the_same_person_pass_as_they_are(house: House) -> None:
    """B-35."""
    cookie = await house.session(groups=["members"])
    for fields, body in (
        (FORM, b"title=method"),
        (FORM, b"_method=PATCH"),
        (PARTS, part("title", b"_method=DELETE" * 100)),
        ("Content-Type: image/png\r\n", b"_method=DELETE" * 20_000),
        ("Content-Type: application/json\r\n", b'{"method":"card"}'),
    ):
        assert await post(house, "/items/1", fields, body, cookie) == 200
    assert await post(house, "/elsewhere", FORM, b"_method=DELETE", cookie) == 200


async def test_a_form_too_long_to_be_read_is_refused_only_to_those_who_may_not_do_everything(house: House) -> None:
    """B-35."""
    body = urlencode({"text": "x" * 100_000}).encode() + b"&_method=DELETE"
    assert await post(house, "/items/1", FORM, body, await house.session(groups=["members"])) == 403
    assert await post(house, "/items/1", FORM, body, await house.session(groups=["members", "staff"])) == 200


async def test_a_route_that_is_public_for_post_is_not_for_what_a_form_makes_of_it(house: House) -> None:
    """B-35."""
    assert await post(house, "/hooks/a", FORM, b"event=1", None) == 200
    assert await post(house, "/hooks/a", FORM, b"_method=PUT", None) == 401
    assert await post(house, "/hooks/a", "Content-Type: text/xml\r\n", b"<a/>" * 50_000, None) == 200
    assert (await house.ask("/hooks/a", method="POST")).status == 200


async def test_an_application_without_such_forms_is_not_read(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {**RULES, "form_methods": "ignore"}})
    assert await post(house, "/items/1", FORM, b"_method=DELETE", await house.session(groups=["members"])) == 200


async def test_forward_auth_cannot_see_the_form_and_takes_it_for_everything(open_house: OpenHouse) -> None:
    """B-35, C-01."""
    house = await open_house(apps={"portal": RULES}, trusted_proxies=["127.0.0.0/8"])
    asked = "X-Original-Method: POST\r\nX-Original-URI: /items/1\r\n"
    member, staff = await house.session(groups=["members"]), await house.session(groups=["staff"])
    for fields in (asked, asked + FORM):
        assert (await house.ask("/oauth2/auth", cookie=member, fields=fields)).status == 403
        assert (await house.ask("/oauth2/auth", cookie=staff, fields=fields)).status == 202
    assert (await house.ask("/oauth2/auth", cookie=member, fields=asked + "Content-Type: image/png\r\n")).status == 202
