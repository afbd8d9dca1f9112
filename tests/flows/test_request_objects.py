"""Authorization requests as JWTs that we sign (RFC 9101): in the URL, and pushed."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.demo.provider import DemoClient
from tests.fakes.forge import ec_key
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MISSING, MisbehavingProvider
from tests.flows.conftest import OpenHouse

VAULT = {"portal": {"rules": [{"match": ["* /vault"], "max_age": "5m"}]}}
SIGNED: dict[str, Any] = {
    "client_private_key": ec_key().as_pem(private=True).decode(),
    "client_key_id": "request-key",
    "request_object_signing_alg": "ES256",
    "extra_authorization_parameters": {"kc_idp_hint": "corporate"},
}


async def opened(open_house: OpenHouse, provider: MisbehavingProvider, **keys: Any) -> House:
    house = await open_house(provider=provider, apps=VAULT, openid={**SIGNED, **keys})
    provider.register(
        DemoClient(
            client_id="doorward",
            client_secret="secret",
            public_jwk=ec_key().as_dict(private=False),
            redirect_uris=(house.origin() + "/oauth2/callback",),
        )
    )
    return house


@pytest.mark.parametrize("pushed", [False, True])
async def test_a_request_is_signed_for_its_provider_and_for_five_minutes(
    open_house: OpenHouse, provider: MisbehavingProvider, pushed: bool
) -> None:
    """A-93: with all parameters in it, of which the browser carries those that OpenID Connect wants beside it, or none."""
    provider.told.metadata["request_parameter_supported"] = True
    if pushed:
        provider.told.metadata["pushed_authorization_request_endpoint"] = f"{provider.issuer}/par"
    wish = {"pushed_authorization_requests": "always" if pushed else "never"}
    house = await opened(open_house, provider, **wish)
    for at in ("/vault", "/vault?again"):
        browser = house.browser()
        away = await browser.open(house.origin() + at, follow=False)
        query = parse_qs(urlsplit(away.location).query)
        assert sorted(query) == (
            ["client_id", "request_uri"] if pushed else ["client_id", "request", "response_type", "scope"]
        )
        await browser.follow_all()
        assert (await house.choose(browser, browser.page)).text == f"you asked for {at}"
    for seen in (each for each in provider.seen if each.endpoint == "par"):
        assert sorted(seen.form) == ["client_id", "request"]
    assert provider.forms.headers == [{"alg": "ES256", "typ": "oauth-authz-req+jwt", "kid": "request-key"}] * 2
    first, second = provider.forms.objects
    assert {name: first[name] for name in ("iss", "aud", "client_id", "kc_idp_hint", "max_age", "response_type")} == {
        "iss": "doorward", "aud": provider.issuer, "client_id": "doorward", "kc_idp_hint": "corporate", "max_age": 300,
        "response_type": "code",
    }  # fmt: skip
    assert {"state", "nonce", "code_challenge", "redirect_uri", "scope"} < first.keys()
    assert "sub" not in first
    assert (first["exp"] - first["iat"], first["iat"] - first["nbf"]) == (300, 30)
    assert abs(first["iat"] - datetime.now(UTC).timestamp()) < 60
    assert len(first["jti"]) == 32
    assert first["jti"] != second["jti"]


async def test_discovery_says_whether_requests_must_be_signed_and_how(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A provider that cannot be asked as it requires is asked nothing; the reason is in `check --online` and /ready."""
    plain = dict.fromkeys(("client_private_key", "request_object_signing_alg", "client_key_id"))
    for told, keys, fault in (
        ({"require_signed_request_object": True}, plain | {"client_key_id": []}, "it requires signed request objects, and"),
        ({"request_object_signing_alg_values_supported": ["RS256", "none"]}, {}, "with ES256 (request_object_signing_alg); it lists RS256"),
        ({"request_parameter_supported": False}, {}, "it takes no request objects (request_parameter_supported), and"),
        ({"request_parameter_supported": MISSING}, {}, None),
    ):  # fmt: skip
        provider.told.metadata = {"request_parameter_supported": True, **told}
        house = await opened(open_house, provider, **keys)
        answer = await house.ask("/", fields=BROWSER)
        problem = house.worker.providers["openid"].provider.problem
        assert (answer.status, problem is None) == ((302, True) if fault is None else (503, False))
        assert fault is None or fault in str(problem)
