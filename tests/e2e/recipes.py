"""The recipes of deploy/guides/forward-auth.md and of deploy/forward-auth, as they are printed, with a test's addresses."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.fronts import DEPLOY, listening, start_traefik
from tests.e2e.needs import required
from tests.e2e.processes import Program
from tests.e2e.web_servers import start_nginx

GUIDE: Final = DEPLOY / "guides" / "forward-auth.md"
FILES: Final = DEPLOY / "forward-auth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a proxy stands: its folder and port, Doorward's port, the application's `host:port`, and the Host that people ask for."""

    folder: Path
    port: int
    door: int
    application: str
    host: str

    def here(self, text: str) -> str:
        """A text of the guide, or of a file, with the addresses of this place."""
        for there, ours in {
            "127.0.0.1:4180": f"127.0.0.1:{self.door}",
            "127.0.0.1:8001": self.application,
            "portal.example.com": self.host,
            "/etc/nginx/doorward": str(FILES),
            "/etc/caddy/doorward": str(self.folder),
        }.items():
            text = text.replace(there, ours)
        return text


def blocks(heading: str, language: str) -> list[str]:
    """The code blocks of a section of the guide."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.M | re.S)
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)
    return found


def nginx(place: Place) -> Program:
    http, server = blocks("nginx", "nginx")
    return start_nginx(place.folder, place.port, place.here(server), http=http)


def ingress_nginx(place: Place) -> Program:
    """What the controller makes of the annotations, in nginx' own words; without Lua there is no $escaped_request_uri."""
    (text,) = blocks("ingress-nginx", "yaml kubernetes")
    annotation = {name.rpartition("/")[2]: value for name, value in yaml.safe_load(place.here(text)).items()}
    names = [name.strip() for name in annotation["auth-response-headers"].split(",")]
    asked = re.sub(r"//[^/]+/", f"//127.0.0.1:{place.door}/", annotation["auth-url"])
    copied = "".join(
        f"auth_request_set $copied{number} $upstream_http_{name.lower().replace('-', '_')};\nproxy_set_header '{name}' $copied{number};\n"
        for number, name in enumerate(names)
    )
    server = f"""
location ~ ^/oauth2/(start|callback|sign_out|signed_out|userinfo|form) {{
  proxy_pass http://127.0.0.1:{place.door};
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
}}
location = /_external-auth {{
  internal;
  proxy_pass_request_body off;
  proxy_set_header Content-Length "";
  proxy_set_header X-Forwarded-Proto "";
  proxy_set_header Host doorward.doorward.svc.cluster.local;
  proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
  proxy_set_header X-Original-Method $request_method;
  proxy_set_header X-Sent-From "nginx-ingress-controller";
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Auth-Request-Redirect $request_uri;
  proxy_pass {asked};
}}
location / {{
  auth_request /_external-auth;
  {copied}
  proxy_set_header Host $http_host;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header Proxy "";
  proxy_pass http://{place.application};
}}
"""
    return start_nginx(place.folder, place.port, server)


def caddy(place: Place) -> Program:
    (text,) = blocks("Caddy", "caddyfile")
    site = place.here(text).replace(
        f"{place.host} {{\n", f"http://{place.host.partition(':')[0]}:{place.port} {{\n\tbind 127.0.0.1\n"
    )
    (place.folder / "caddy-fields").write_text(place.here((FILES / "caddy-fields").read_text()))
    file = place.folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + site)
    command = [str(required("caddy")), "run", "--config", str(file), "--adapter", "caddyfile"]
    return listening(Program(command, place.folder / "caddy.log", environ={"HOME": str(place.folder)}), place.port)


def traefik(place: Place) -> Program:
    (text,) = blocks("Traefik", "yaml traefik")
    host = place.host.partition(":")[0]
    guide = place.here(text).replace(f"Host(`{place.host}`)", f"Host(`{host}`)")
    dynamic = _merged(yaml.safe_load(guide), yaml.safe_load(place.here((FILES / "traefik.yaml").read_text())))
    file = place.folder / "traefik.yaml"
    file.write_text(yaml.safe_dump(dynamic))
    return start_traefik(place.folder, place.port, file, entry_point="web", tls=False)


def envoy(place: Place) -> Program:
    (text,) = blocks("Envoy", "yaml envoy")
    type_of = "type.googleapis.com/envoy.extensions.filters"
    filters = yaml.safe_load(place.here((FILES / "envoy.yaml").read_text()))["http_filters"]
    manager = {
        "@type": f"{type_of}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "use_remote_address": True,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": yaml.safe_load(place.here(text)),
        "http_filters": [*filters, {"name": "router", "typed_config": {"@type": f"{type_of}.http.router.v3.Router"}}],
    }
    connection = {"name": "manager", "typed_config": manager}
    listener = {
        "name": "front",
        "address": _socket("127.0.0.1", place.port),
        "filter_chains": [{"filters": [connection]}],
    }
    host, _, port = place.application.partition(":")
    clusters = [_cluster("doorward", "127.0.0.1", place.door), _cluster("portal", host, int(port))]
    file = place.folder / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
    command = [
        str(Path(sys.executable).parent / "envoy"),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--log-level",
        "warning",
        "--use-dynamic-base-id",
    ]
    return listening(Program(command, place.folder / "envoy.log"), place.port)


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(name: str, host: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _socket(host, port)}}
    assigned = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assigned}


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two dynamic configurations of Traefik, which has a folder of them."""
    both = {**one, **other}
    for name in one.keys() & other.keys():
        if isinstance(one[name], dict):
            both[name] = _merged(one[name], other[name])
    return both


RECIPES: Final[Mapping[str, Callable[[Place], Program]]] = {
    "nginx": nginx, "ingress-nginx": ingress_nginx, "caddy": caddy, "traefik": traefik, "envoy": envoy,
}  # fmt: skip
