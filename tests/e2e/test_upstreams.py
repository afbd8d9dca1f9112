"""Closed doors and restricted paths stay closed in every spelling, with nginx, Apache httpd, Express, gunicorn and uvicorn behind the door.

Whether a spelling got through is said by the upstream itself: it answers with the route that the request reached by its own reading, and with
the path that it saw. What it saw, the rules must have allowed, whatever was sent.
"""

import asyncio
import base64
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway.config.schema import App
from gateway.operations.probe.runner import Probe, plan
from gateway.operations.probe.spellings import Spelling, spellings
from gateway.operations.probe.wire import parse_gateway_address
from gateway.policy.passwords import PasswordRoutes, load_pack
from gateway.policy.paths import parse_target
from gateway.policy.rules import RouteRules
from tests.e2e.http_client import Answer, ask
from tests.e2e.processes import free_port
from tests.e2e.stack import CertifiedProvider, start_gateway
from tests.e2e.upstreams import STARTERS, Upstream

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
APP = {
    "surface": "portal",
    "unauthenticated": "pass",
    "password_routes": "nexudus",
    "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
}
_JUDGED = App.model_validate({**APP, "hosts": ["x.localhost"], "upstream": "http://127.0.0.1:1"})
DOORS, RULES = PasswordRoutes(_JUDGED, closed=True), RouteRules(_JUDGED)
PASSWORD = b"grant_type=password&username=a%40b.example&password=x"


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, Upstream]]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)  # Apache reads its files as another user
        running: dict[str, Upstream] = {}
        for kind, start in STARTERS.items():
            folder = root / kind
            folder.mkdir()
            running[kind] = start(folder)
        yield running
        for upstream in running.values():
            upstream.running.stop()


@pytest.fixture(scope="module")
def port(
    upstreams: Mapping[str, Upstream], provider: CertifiedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The gateway's port; each upstream is an app under `KIND.localhost`, where nobody has to sign in except for /admin."""
    port = free_port()
    apps = {
        kind: {**APP, "hosts": [f"{kind}.localhost:{port}"], "upstream": f"http://127.0.0.1:{upstream.port}"}
        for kind, upstream in upstreams.items()
    }
    program = start_gateway(settings(port, provider, apps), tmp_path_factory.mktemp("upstreams"))
    yield port
    program.stop()


def settings(port: int, provider: CertifiedProvider, apps: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "listen": f"127.0.0.1:{port}",
        "admin_listen": f"127.0.0.1:{free_port()}",
        "external_url_scheme": "http",
        "workers": 1,
        "keys": [base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()],
        "log": {"access": False},
        "openid": {
            "authority_url": provider.issuer,
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
            "prevent_password_login": True,
            "prevent_dashboard_password_login": True,
        },
        "apps": dict(apps),
    }


def send(port: int, host: str, spelling: Spelling, method: str, body: bytes = b"") -> Answer:
    fields = {name.decode(): value.decode() for name, value in spelling.fields}
    used = spelling.method or method
    sent = body if used != "GET" else b""
    headers = {"Accept": "application/json", **(FORM if sent else {}), **fields}
    return ask(port, host, spelling.target, method=used, headers=headers, body=sent)


@pytest.mark.parametrize("kind", STARTERS)
@pytest.mark.parametrize(
    ("path", "method", "body"),
    [("/login/password", "GET", b""), ("/api/token", "POST", PASSWORD), ("/admin/secret", "GET", b"")],
    ids=["password page", "password grant", "restricted path"],
)
def test_no_spelling_reaches_what_is_closed(
    kind: str, path: str, method: str, body: bytes, port: int, upstreams: Mapping[str, Upstream]
) -> None:
    """C-10, C-11, C-12, D-02."""
    tried = list(spellings(path, method=method))
    through = []
    for spelling in tried:
        answer = send(port, f"{kind}.localhost:{port}", spelling, method, body)
        if "reached" in answer.body or not allowed(answer, spelling.method or method):
            through.append((spelling.how, spelling.target, answer.status, answer.body))
    assert not through
    # Without the gateway several of the same spellings do arrive, so that this test means something.
    direct = [send(upstreams[kind].port, "localhost", spelling, method, body) for spelling in tried[:200]]
    assert sum("reached" in answer.body for answer in direct) >= 3


def allowed(answer: Answer, method: str) -> bool:
    """The oracle: what an upstream saw, judged as if it had been sent so."""
    if "x-seen" in answer.headers:
        seen = bytes.fromhex(answer.headers["x-seen"])
    elif "x-seen-path" in answer.headers:
        seen = answer.headers["x-seen-path"].encode("latin-1")
    else:
        return True  # nothing was forwarded, or nobody says what was
    target = parse_target(quote(seen, safe="/").encode())
    return not DOORS.candidates(method, target) and not RULES.decide(method, target).requirements


@pytest.mark.parametrize("kind", STARTERS)
def test_the_probe_gets_nothing_through(kind: str, port: int) -> None:
    """C-10 to C-13, B-31, B-35: a part of everything that `doorward probe` has; each server reads it in its own way."""
    rules = [(f"nexudus: {rule.match}", rule) for rule in load_pack("nexudus")]
    place = parse_gateway_address(f"http://{kind}.localhost:{port}")
    outcome = asyncio.run(Probe(5000).run([(place, plan(rules, every=40))]))
    assert (outcome.passed, outcome.unanswered) == ([], [])


@pytest.mark.parametrize("kind", STARTERS)
@pytest.mark.parametrize("path", ["/", "/bookings", "/en/bookings?room=1", "/caf%C3%A9", "/a;b/c", "/administration"])
def test_what_is_not_closed_passes(kind: str, path: str, port: int) -> None:
    answer = ask(port, f"{kind}.localhost:{port}", path)
    assert (answer.status, answer.body) == (200, "plain")


@pytest.mark.parametrize("kind", STARTERS)
def test_a_refresh_token_still_gets_a_new_one(kind: str, port: int) -> None:
    body = b"grant_type=refresh_token&refresh_token=x"
    answer = ask(port, f"{kind}.localhost:{port}", "/api/token", method="POST", headers=FORM, body=body)
    assert (answer.status, answer.body) == (200, "reached token")
