"""`doorward probe` through a proxy: what the proxy refuses itself is no bypass, and a hole in the proxy is one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.provider import DemoClient, DemoProvider
from gateway.operations.probe.verdicts import ProbeVerdict
from gateway.sessions.keyring import new_key
from tests.e2e.backstage import Backstage
from tests.e2e.needs import required
from tests.e2e.processes import Program, free_port, listens
from tests.e2e.stack import Behind, start_gateway
from tests.e2e.test_probe import probe
from tests.e2e.web_servers import start_nginx

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
#: What deploy/nginx.conf does with a request, and one path that it sends past the gateway where `hole` is an address.
HAPROXY = """
global
  log stderr local0 emerg
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  use_backend hole if {{ path /signin }}
  default_backend doorward
backend doorward
  option forwardfor
  server doorward 127.0.0.1:{door}
backend hole
  server hole 127.0.0.1:{hole}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy /signin 127.0.0.1:{hole}
  reverse_proxy 127.0.0.1:{door}
}}
"""


def nginx(folder: Path, port: int, door: int, hole: int) -> Program:
    """The location of deploy/nginx.conf as it is, without TLS."""
    text = CONFIGURATION.read_text()
    location = text[text.index("    location / {") : text.rindex("  }\n}")].replace(
        "http://doorward;", f"http://127.0.0.1:{door};"
    )
    http = text[text.index("  map $http_upgrade") : text.index("  upstream doorward")]
    past = f"location = /signin {{ proxy_pass http://127.0.0.1:{hole}; }}"
    limits = "large_client_header_buffers 8 64k; client_max_body_size 0; server_tokens off;"
    return start_nginx(folder, port, f"{limits}\n{past}\n{location}", http=http)


def haproxy(folder: Path, port: int, door: int, hole: int) -> Program:
    file = folder / "haproxy.cfg"
    file.write_text(HAPROXY.format(port=port, door=door, hole=hole))
    running = Program([required("haproxy"), "-f", file], folder / "haproxy.log")
    running.wait_until(lambda: listens(port))
    return running


def caddy(folder: Path, port: int, door: int, hole: int) -> Program:
    file = folder / "Caddyfile"
    file.write_text(CADDY.format(port=port, door=door, hole=hole))
    running = Program(
        [required("caddy"), "run", "--config", file, "--adapter", "caddyfile"],
        folder / "caddy.log",
        environ={"HOME": str(folder)},
    )
    running.wait_until(lambda: listens(port))
    return running


@dataclass(frozen=True, slots=True)
class Fronted:
    url: str
    folder: Path
    door: int
    application: int
    start: Callable[[int], Program]


@pytest.fixture(params=[nginx, haproxy, caddy], ids=lambda start: start.__name__)
def fronted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fronted]:
    port, door = free_port(), free_port()
    url = f"http://portal.localhost:{port}"
    backstage, behind = Backstage(), Behind()
    client = DemoClient(client_id="doorward", client_secret=new_key(), redirect_uris=(f"{url}/oauth2/callback",))
    provider = DemoProvider([client], [])
    backstage.run(behind.start())
    backstage.run(provider.start())
    config = {
        "listen": f"127.0.0.1:{door}",
        "admin_listen": f"127.0.0.1:{free_port()}",
        "external_url_scheme": "http",
        "trusted_proxies": ["127.0.0.1/32"],
        "workers": 1,
        "keys": [new_key()],
        "openid": {
            "authority_url": provider.issuer,
            "client_id": client.client_id,
            "client_secret": client.client_secret,
            "prevent_password_login": True,
        },
        "apps": {
            "portal": {
                "hosts": [f"portal.localhost:{port}"],
                "upstream": behind.portal.url,
                "password_routes": "nexudus",
                "unauthenticated": "pass",
            }
        },
    }
    gateway = start_gateway(config, tmp_path)
    application = int(behind.portal.url.rpartition(":")[2])

    def start(hole: int) -> Program:
        running: Program = request.param(tmp_path, port, door, hole)
        return running

    yield Fronted(url, tmp_path, door, application, start)
    gateway.stop()
    backstage.run(behind.close())
    backstage.run(provider.close())
    backstage.close()


def test_refusals_of_a_proxy_in_front_are_no_bypasses_and_a_hole_in_it_is_one(fronted: Fronted) -> None:
    front = fronted.start(fronted.door)
    status, said = probe(fronted.url, "--rate", "5000", "--every", "40", "--json")
    front.stop()
    found = json.loads(said)
    rules = {row["rule"]: row for row in found["rules"]}
    assert [(each["verdict"], each["said"], each["how"]) for each in found["requests"]][:9] == []
    assert (status, found["holes"], found["unanswered"]) == (0, 0, 0)
    assert sum(row[ProbeVerdict.FRONT] for row in rules.values()) > 0
    assert all(row[ProbeVerdict.CLOSED] for row in rules.values())
    # One path goes past the gateway: the application answers, whatever it says.
    front = fronted.start(fronted.application)
    status, said = probe(fronted.url, "--rate", "5000", "--every", "40", "--json")
    front.stop()
    found = json.loads(said)
    assert status == 1
    assert {each["rule"] for each in found["requests"]} <= {rule for rule in rules if "/signin" in rule}
    assert {each["verdict"] for each in found["requests"]} == {ProbeVerdict.THROUGH}
