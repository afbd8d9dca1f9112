"""Who may open what: rules, public routes and requirements, for people who came in through the provider."""

import json
from typing import Any

import pytest

from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.flows.conftest import OpenHouse

APPS: dict[str, dict[str, Any]] = {
    "portal": {
        "public": ["GET /assets/**", "* /admin/open"],
        "require": {"email_domains": ["example.com"]},
        "rules": [
            {"match": ["* /admin/**"], "require": {"groups": ["staff"]}},
            {"match": ["GET /plans"], "public": True},
            {"match": ["* /ceo"], "require": {"emails": ["ada@example.com"]}},
            {"match": ["POST /notes"], "require": {"groups": ["staff", "writers"], "emails": ["ada@example.com"]}},
        ],
    }
}


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(apps=APPS, provider=provider)


async def cookie_for(house: House, person: object) -> str:
    browser = house.browser()
    await house.sign_in(browser, person)
    cookie = browser.jar.named("doorward_session")
    assert cookie is not None
    house.upstream.requests.clear()
    return f"doorward_session={cookie.value}"


async def test_each_rule_denies_one_person_and_permits_another(house: House) -> None:
    """C-20: groups, emails, e-mail domains, and several kinds at once."""
    mia, ada = await cookie_for(house, MIA["sub"]), await cookie_for(house, ADA["sub"])
    outside = await house.session(email="eve@example.com.evil.example", groups=("staff",))
    nobody = await house.session(email=None, groups=("staff",))
    table = {
        ("GET", "/"): (200, 200, 403, 403),
        ("GET", "/admin/x"): (403, 200, 403, 403),
        ("GET", "/admin"): (403, 200, 403, 403),
        ("GET", "/ceo"): (403, 200, 403, 403),
        ("POST", "/notes"): (403, 200, 403, 403),
        ("GET", "/notes"): (200, 200, 403, 403),
        ("GET", "/assets/x.css"): (200, 200, 200, 200),
        ("GET", "/plans"): (200, 200, 200, 200),
    }
    for (method, path), expected in table.items():
        body = b"" if method == "POST" else None
        found = [
            (await house.ask(path, method=method, cookie=c, body=body)).status for c in (mia, ada, outside, nobody)
        ]
        assert tuple(found) == expected, path
    assert len(house.upstream.requests) == sum(row.count(200) for row in table.values())


async def test_public_never_overrides_a_rule_that_requires(house: House) -> None:
    """docs/interface.md "Access rules"."""
    assert (await house.ask("/admin/open")).status == 401
    assert (await house.ask("/admin/open", cookie=await cookie_for(house, MIA["sub"]))).status == 403
    assert house.upstream.requests == []


async def test_a_public_route_is_public_for_its_methods_only_and_carries_no_identity(house: House) -> None:
    """C-32."""
    cookie = await cookie_for(house, MIA["sub"])
    assert (await house.ask("/plans")).status == 200
    assert (await house.ask("/plans", method="HEAD", cookie=cookie)).status == 200
    assert (await house.ask("/plans", method="POST", body=b"")).status == 401
    assert all(request.values("x-forwarded-user") == [] for request in house.upstream.requests)


@pytest.mark.parametrize(
    "path",
    [
        "/ADMIN/x",
        "/admin;x=1/y",
        "/Admin./x",
        "/admin%20/x",
        "/%61dmin/x",
        "/x/../admin/x",
        "//admin/x",
        "/admin/x/",
        "/./admin",
    ],
)
async def test_a_rule_holds_for_every_spelling_a_lenient_upstream_reads_as_its_path(house: House, path: str) -> None:
    """C-10, C-11, C-12."""
    cookie = await cookie_for(house, MIA["sub"])
    assert (await house.ask(path, cookie=cookie)).status in (400, 403)
    assert house.upstream.requests == []


async def test_what_was_judged_is_what_is_forwarded(house: House) -> None:
    """C-10: the canonical form, once decoded."""
    cookie = await cookie_for(house, ADA["sub"])
    for sent, arrived in {
        "/a/../admin/./x?y=%2e%2e/": "/admin/x?y=%2e%2e/", "/%61dmin/%7Eada": "/admin/~ada", "//admin//x": "/admin/x", "/caf%c3%a9": "/caf%C3%A9",
    }.items():  # fmt: skip
        assert (await house.ask(sent, cookie=cookie)).status == 200
        assert house.upstream.requests[-1].target == arrived


async def test_the_403_page_names_the_account_and_the_ways_on(house: House) -> None:
    cookie = await cookie_for(house, MIA["sub"])
    page = await house.ask("/admin/x", cookie=cookie, fields=BROWSER)
    assert page.status == 403
    for shown in (b"mia@example.com", b"Use another account", b"prompt=select_account", b"/oauth2/sign_out"):
        assert shown in page.body
    assert b"staff" not in page.body  # which group would have done is not told
    problem = json.loads((await house.ask("/admin/x", cookie=cookie)).body)
    assert (problem["code"], problem["account"]) == ("access_denied", "mia@example.com")
    assert house.worker.audit.counts["access.denied", "portal"] == 2


async def test_a_group_that_the_provider_took_away_is_gone_at_the_next_login(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-74: as far as a login goes."""
    ada = await cookie_for(house, ADA["sub"])
    assert (await house.ask("/admin/x", cookie=ada)).status == 200
    provider.told.userinfo["groups"] = ["members"]
    ada = await cookie_for(house, ADA["sub"])
    assert (await house.ask("/admin/x", cookie=ada)).status == 403


async def test_a_preflight_passes_only_where_it_may_and_without_identity(open_house: OpenHouse) -> None:
    """C-18."""
    house = await open_house(apps={"portal": {"cors_preflight": "pass"}, "api": {}})
    preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\nX-Forwarded-User: admin\r\n"
    cookie = await house.session()
    assert (await house.ask("/x", method="OPTIONS", fields=preflight, cookie=cookie)).status == 200
    assert (await house.ask("/x", app="api", method="OPTIONS", fields=preflight)).status == 401
    (request,) = house.upstream.requests
    assert request.values("x-forwarded-user") == []
    assert house.upstreams["api"].requests == []


async def test_a_person_with_a_look_alike_address_does_not_match_a_domain_rule(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-58, A-59: judged at the login or by the rule, never let through."""
    for address in (
        "mia@evil.example@example.com",
        "mia@example.com.evil.example",
        "mia@exämple.com",
        "mia@example.com\n",
        ["mia@example.com"],
    ):
        provider.told.userinfo["email"] = address
        page = await house.sign_in(house.browser())
        assert 400 <= page.status < 500, address
    provider.told.userinfo["email"] = "mia@EXAMPLE.com"
    for verified in (False, "false", 0):
        provider.told.userinfo["email_verified"] = verified
        assert (await house.sign_in(house.browser())).status == 403, verified
    assert house.upstream.requests == []
    provider.told.userinfo["email_verified"] = True
    assert (await house.sign_in(house.browser())).status == 200
