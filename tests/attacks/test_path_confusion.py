"""Paths that one server reads as public and the next as private. The oracle: what a server saw, the rules must have allowed."""

import json

import pytest

from gateway.policy.paths import parse_target
from gateway.policy.rules import RouteRules
from tests.flows.conftest import OpenHouse

TRAVERSALS = [
    "/public/../admin", "/public/%2e%2e/admin", "/public/.%2e/admin", "/public/%2e./admin", "/public/..;/admin", "/public/..%2fadmin",
    "/public%2f..%2fadmin", "/public/..%5cadmin", "/public/..\\admin", "/public/%252e%252e/admin", "/public/x/../../admin", "/public../admin",
    "//admin", "///admin", "//public/../admin", "//evil.test/admin", "/%2fadmin", "/./admin", "/admin/.", "/ADMIN", "/%61dmin", "/admin/", "/admin;x=1",
    "/admin%20", "/admin%09", "/admin%00", "/admin.", "/public/;/../admin", "/public/%c0%ae%c0%ae/admin", "/public/%u002e%u002e/admin", "/public/\xef\xbc\x8e\xef\xbc\x8e/admin",
    "/public%00/../admin", "/public/..%00/admin", "/%61%64%6d%69%6e", "/public/%2e%2e%2fadmin", "/admin%3f/public/x", "/\xef\xbd\x81dmin", "/ad%6din%2e", "/..%2f/admin",
]  # fmt: skip


@pytest.mark.parametrize("signed_in", [False, True])
async def test_no_spelling_of_an_admin_path_reaches_a_real_server(
    open_house: OpenHouse, echo_server: str, signed_in: bool
) -> None:
    """C-10, C-11, C-12."""
    apps = {
        "portal": {
            "public": ["GET /public/**"],
            "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
        }
    }
    house = await open_house(apps=apps, upstreams={"portal": echo_server})
    cookie = await house.session() if signed_in else None
    rules = RouteRules(house.worker.config.apps["portal"])
    for target in TRAVERSALS:
        response = await house.ask(target, cookie=cookie)
        if response.status != 200:
            assert response.status in (400, 401, 403, 404), target
            continue
        seen = json.loads(response.body)["path"]
        assert "admin" not in seen.lower().split(";")[0].strip("/. \t").split("/")[:1], (target, seen)
        assert ".." not in seen.split("/"), (target, seen)
        ruling = rules.decide("GET", parse_target(target.encode("latin-1")))
        assert not ruling.requirements, (target, seen)
        assert ruling.public or signed_in, (target, seen)


async def test_what_is_forwarded_is_the_canonical_form_that_was_judged(open_house: OpenHouse) -> None:
    """C-10, C-11."""
    house = await open_house()
    cookie = await house.session()
    for sent, forwarded in {
        "/a/../b?x=/../y": "/b?x=/../y", "/%61%62c": "/abc", "//x//y": "/x/y", "/./a/.": "/a/", "/caf%c3%a9": "/caf%C3%A9", "/a%7Eb": "/a~b", "/?": "/?",
    }.items():  # fmt: skip
        assert (await house.ask(sent, cookie=cookie)).status == 200
        assert house.upstream.requests[-1].target == forwarded
