"""The recipes of deploy/guides/forward-auth.md for nginx, Caddy and ingress-nginx, in front of an application and beside Doorward."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.asking import CASES, Asking, asking
from tests.fakes.provider import MIA


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("name", ["nginx", "caddy"])
async def test_a_recipe_holds(
    name: str, case: Callable[[Asking], Awaitable[None]], valkey: str, prefix: str, tmp_path: Path
) -> None:
    """C-62."""
    async with asking(name, valkey, prefix, tmp_path) as front:
        await case(front)


async def test_the_annotations_of_ingress_nginx_hold(valkey: str, prefix: str, tmp_path: Path) -> None:
    """C-31, C-35, C-62: it asks under another host, and overwrites the fields that they name and no others."""
    async with asking("ingress-nginx", valkey, prefix, tmp_path) as front:
        assert (await front.send("/page?a=1&b=2")).status == 401
        browser = await front.signed_in()
        claims = {
            "X-Forwarded-User": "forged",
            "X-Doorward-Jwt-Assertion": "forged",
            "Cookie": "a=1; " + front.cookies(browser),
        }
        page = await browser.send("GET", front.house.origin() + "/page?a=1&b=2", claims)
        assert page.status == 200
        request = front.house.upstream.requests[-1]
        assert (request.target, request.values("X-Forwarded-User")) == ("/page?a=1&b=2", [str(MIA["sub"]).encode()])
        assert (request.values("Cookie"), b"forged" in request.head) == ([b"a=1"], False)
        for name in ("Remote-User", "X-Script-Name", "X-Auth-Request-Access-Token"):
            refused = await browser.send(
                "GET", front.house.origin() + "/page", {"Cookie": front.cookies(browser), name: "forged"}
            )
            assert (refused.status, b"forged" in front.house.upstream.requests[-1].head) in (
                (403, False),
                (200, True),
            ), name
        assert (await front.send("/oauth2/auth", f"Cookie: {front.cookies(browser)}\r\n")).status == 403
