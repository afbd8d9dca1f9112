"""The certified provider gets our authorization requests as it requires them, and answers by a form: PAR, JAR, form_post."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from gateway.config.client_keys import parse_client_key
from gateway.demo.people import ADMIN
from tests.e2e.conftest import Stand
from tests.e2e.stack import Door
from tests.e2e.steps import choose_person
from tests.e2e.test_client_authentication import new_key
from tests.fakes.authority import Authority

PUSHED = {"pushedAuthorizationRequests": {"enabled": True, "requirePushedAuthorizationRequests": True}}
SIGNED = {"requestObjects": {"enabled": True, "requireSignedRequestObject": True}}


def sign_in(door: Door, browser: Browser) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """A person signs in with a new profile; the parameters of the redirect to the provider, and the cookies of the door afterwards."""
    link = door.origin("dashboard") + "/members?day=1&room=a%20b"
    with browser.new_context(ignore_https_errors=True) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(link)
        choose_person(page, ADMIN)
        expect(page).to_have_url(link)
        away = next(url for url in asked if url.startswith(f"{door.provider.issuer}/auth?"))
        return parse_qs(urlsplit(away).query), list(map(dict, context.cookies(door.origin("dashboard"))))


def test_a_provider_that_requires_pushed_requests_gets_them(stand: Stand, browser: Browser) -> None:
    """A-87: with nothing configured here; the browser carries the name of the request alone."""
    door = stand({}, features=PUSHED)
    query, _ = sign_in(door, browser)
    assert sorted(query) == ["client_id", "request_uri"]


@pytest.mark.parametrize("features", [SIGNED, {**SIGNED, **PUSHED}], ids=["in-the-url", "pushed"])
def test_a_provider_that_requires_signed_requests_gets_them(
    stand: Stand, browser: Browser, features: dict[str, Any]
) -> None:
    """A-93."""
    key = new_key()
    known = {"jwks": {"keys": [parse_client_key(key).public_jwk()]}, "request_object_signing_alg": "ES256"}
    door = stand({"client_private_key": key, "request_object_signing_alg": "ES256"}, client=known, features=features)
    query, _ = sign_in(door, browser)
    assert ("request" in query) == ("pushedAuthorizationRequests" not in features)
    assert "state" not in query


def test_an_answer_by_form_ends_on_the_deep_link(stand: Stand, browser: Browser, tmp_path: Path) -> None:
    """A-88: a real browser brings the cookie that was set for it, and keeps the session's at home."""
    issued = Authority(tmp_path).issue("*.localhost", file="door")
    tls = {"certificate": str(issued.certificate), "key": str(issued.key)}
    door = stand({"response_mode": "form_post"}, tls=tls)
    query, cookies = sign_in(door, browser)
    assert query["response_mode"] == ["form_post"]
    same_site = {cookie["name"].removeprefix("__Host-doorward_")[:9]: cookie["sameSite"] for cookie in cookies}
    assert same_site == {"session": "Lax", "form_post": "None"}
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies)
