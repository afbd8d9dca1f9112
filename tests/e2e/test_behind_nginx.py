"""`deploy/nginx.conf` in front, as an operator would have it: TLS ends there, Doorward believes its headers and nobody else's."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Browser, Page, expect

from gateway.demo.people import MEMBER
from tests.e2e.backstage import Backstage
from tests.e2e.needs import program
from tests.e2e.processes import Program, free_port, listens
from tests.e2e.stack import Behind, CertifiedProvider, settings, start_gateway
from tests.e2e.steps import visit_as

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"


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
    nginx = start_nginx(folder, port, door_port)
    yield Front(here, behind)
    nginx.stop()
    gateway.stop()
    backstage.run(behind.close())
    backstage.close()
    provider.stop()


def start_nginx(folder: Path, port: int, door_port: int) -> Program:
    """The file as it is in the repository, with this test's ports and paths."""
    make_certificate(folder)
    text = CONFIGURATION.read_text().replace("/etc/nginx/tls", str(folder)).replace("/tmp/nginx.pid", f"{folder}/pid")
    text = text.replace("server doorward:4180;", f"server 127.0.0.1:{door_port};")
    text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{free_port()}", text)
    text = re.sub(r"listen 443\b", f"listen 127.0.0.1:{port}", text)
    file = folder / "nginx.conf"
    file.write_text(text)
    command = [program("nginx") or "nginx", "-p", folder, "-e", folder / "error.log", "-c", file, "-g", "daemon off;"]
    nginx = Program(command, folder / "nginx.log")
    nginx.wait_until(lambda: listens(port))
    return nginx


def make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "portal.localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)


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
