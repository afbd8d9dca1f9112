"""`deploy/nginx.conf` in front, as an operator would have it: TLS ends there, Doorward believes its headers and nobody else's."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.demo.people import MEMBER
from tests.e2e.backstage import Backstage
from tests.e2e.fronts import nginx
from tests.e2e.processes import free_port
from tests.e2e.stack import Behind, CertifiedProvider, settings, start_gateway
from tests.e2e.steps import visit_as


@dataclass(frozen=True, slots=True)
class Front:
    origin: str
    behind: Behind


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("behind-nginx")
    port, door_port = free_port(), free_port()
    here = f"https://portal.localhost:{port}"
    provider = CertifiedProvider([here])
    backstage, behind = Backstage(), Behind()
    backstage.run(behind.start())
    config = settings(door_port, free_port(), provider, behind, {})
    config["apps"] = {"portal": config["apps"]["portal"] | {"hosts": [f"portal.localhost:{port}"]}}
    config |= {"external_url_scheme": "https", "trusted_proxies": ["127.0.0.1/32"]}
    gateway = start_gateway(config, folder)
    proxy = nginx(folder, port, door_port)
    yield Front(here, behind)
    proxy.stop()
    gateway.stop()
    backstage.run(behind.close())
    backstage.close()
    provider.stop()


@pytest.fixture
def secure_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


def test_a_person_signs_in_over_tls_and_gets_a_cookie_for_this_host_alone(front: Front, secure_page: Page) -> None:
    """C-16, C-17: the forwarded headers are the proxy's."""
    visit_as(secure_page, front.origin + "/api/whoami", MEMBER)
    expect(secure_page).to_have_url(front.origin + "/api/whoami")
    told = json.loads(secure_page.locator("body").inner_text())
    assert told["headers"]["X-Forwarded-Email"] == MEMBER.email
    assert told["headers"]["X-Forwarded-Proto"] == "https"
    assert told["headers"]["X-Forwarded-For"].split(",")[0].strip() == "127.0.0.1"
    assert told["assertion"]["iss"] == front.origin
    session = next(cookie for cookie in secure_page.context.cookies() if cookie["name"] == "__Host-doorward_session")
    assert session["secure"]
    assert session["httpOnly"]
    assert session["sameSite"] == "Lax"


def test_a_websocket_echoes_through_both(front: Front, secure_page: Page) -> None:
    visit_as(secure_page, front.origin + "/bookings", MEMBER)
    expect(secure_page).to_have_url(front.origin + "/bookings")
    heard = secure_page.evaluate(
        """() => new Promise((resolve, reject) => {
            const socket = new WebSocket(`wss://${location.host}/ws`);
            socket.onopen = () => socket.send('ahoy');
            socket.onmessage = event => resolve(String(event.data));
            socket.onerror = () => reject(new Error('no socket'));
        })"""
    )
    assert "ahoy" in heard


def test_an_escaped_spelling_of_a_password_page_stays_closed_behind_the_proxy(front: Front, secure_page: Page) -> None:
    """C-12."""
    secure_page.goto(front.origin + "/LOGIN/%50assword;x")
    assert front.behind.portal.password_visits == 0
