"""A password, or the proof of one, in a field of any request to an app whose doors are closed."""

from typing import Any

import pytest

from tests.flows.conftest import OpenHouse
from tests.unit.policy.test_credentials import OTHERS, PASSWORDS

CLOSED = {"prevent_password_login": True}


@pytest.mark.parametrize("opened", [{"public": ["* /**"]}, {"unauthenticated": "pass"}], ids=["public", "pass"])
async def test_no_scheme_that_carries_a_password_passes_a_closed_app(
    open_house: OpenHouse, opened: dict[str, Any]
) -> None:
    """C-78: with a session and without."""
    house = await open_house(openid=CLOSED, apps={"portal": opened})
    cookie = await house.session()
    for _, value in PASSWORDS:
        for fields in (
            f"Authorization: {value}\r\n",
            f"aUTHORIZATION:Bearer x, {value}\r\n",
            f"X-Authorization: {value}\r\n",
        ):
            response = await house.ask("/api/me", fields=fields)
            assert (response.status, b"password_login_disabled" in response.body) == (403, True), fields
        assert (await house.ask("/", fields=f"Authorization: {value}\r\n", cookie=cookie)).status == 403, value
    for fields in ("X-WSSE: UsernameToken Username=a, PasswordDigest=b\r\n", "Authorization: Custom a:b\r\n"):
        assert (await house.ask("/api/me", fields=fields)).status == 403, fields
    twice = "Authorization: Bearer x\r\nAuthorization: NTLM TlRM\r\n"
    assert (await house.ask("/api/me", fields=twice)).status in (400, 403)
    assert house.upstream.requests == []


async def test_tokens_pass_a_closed_app_and_everything_passes_an_open_one(open_house: OpenHouse) -> None:
    """The honest client beside."""
    keys = {"unauthenticated": "pass", "authorization_schemes": ["FMID"]}
    house = await open_house(
        openid=CLOSED, apps={"portal": keys, "api": {"surface": "dashboard", "unauthenticated": "pass"}}
    )
    for value in (*OTHERS, "FMID x"):
        assert (await house.ask("/api/me", fields=f"Authorization: {value}\r\n")).status == 200, value
    assert house.upstream.requests[0].values("authorization") == [OTHERS[0].encode()]
    for _, value in PASSWORDS:
        fields = f"Authorization: {value}\r\nX-WSSE: x\r\n"
        assert (await house.ask("/api/me", app="api", fields=fields)).status == 200, value
    assert house.upstreams["api"].requests[-1].values("x-wsse") == [b"x"]


async def test_proxy_authorization_never_arrives_and_shuts_no_door(open_house: OpenHouse) -> None:
    """C-78: it is for the proxy that it was sent to."""
    house = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass"}})
    assert (await house.ask("/", fields="Proxy-Authorization: NTLM TlRM\r\n")).status == 200
    assert house.upstream.requests[0].values("proxy-authorization") == []


async def test_underscores_and_other_names_bring_no_password_either(open_house: OpenHouse) -> None:
    """C-78, C-30: `X_WSSE` and `X_Authorization` are X-WSSE and X-Authorization to CGI."""
    house = await open_house(openid=CLOSED, apps={"portal": {"unauthenticated": "pass"}})
    for name in ("X_WSSE", "X_Authorization", "x.authorization"):
        await house.ask("/", fields=f"{name}: Basic YTpi\r\n")
    assert not any(b"Basic" in request.head for request in house.upstream.requests)


async def test_forward_auth_refuses_the_same_schemes(open_house: OpenHouse) -> None:
    """C-78, C-01."""
    house = await open_house(openid=CLOSED, apps={"portal": {"public": ["* /**"]}}, trusted_proxies=["127.0.0.0/8"])
    described = f"X-Forwarded-Method: GET\r\nX-Forwarded-Host: {house.host()}\r\nX-Forwarded-Uri: /api/me\r\n"
    assert (await house.ask("/oauth2/auth", fields=described + "Authorization: Bearer x\r\n")).status == 202
    for fields in (
        "Authorization: Digest username=a\r\n",
        "X-WSSE: x\r\n",
        "X-Authorization: SCRAM-SHA-256 data=x\r\n",
    ):
        assert (await house.ask("/oauth2/auth", fields=described + fields)).status == 403
