"""The upstream and the peers, each set up to do this work well, with one worker or thread.

No peer keeps an access log. nginx and haproxy know nothing of sessions: they are the price of passing a request on. Envoy's oauth2
filter keeps its session in signed cookies; the cookie with the ID Token is switched off, so that its requests are as small as can be.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from tests.bench import cores
from tests.bench.children import BenchFailed, Child, listens
from tests.bench.parties import CLIENT_ID, CLIENT_SECRET

KIB: Final = 1024
UPLOAD: Final = 1024 * KIB
_ALSO: Final = "/usr/sbin:/usr/local/sbin:/sbin"

_NGINX: Final = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_max_body_size 0;
  proxy_max_temp_file_size 0;
  client_body_temp_path {folder}/{name}.body;
  proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.fastcgi;
  uwsgi_temp_path {folder}/{name}.uwsgi;
  scgi_temp_path {folder}/{name}.scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  {servers}
}}
"""

# The sink answers when it has read all of the body: the body is buffered, and then only the head goes on to a server that says 204.
_UPSTREAM: Final = """
upstream echo {{ server 127.0.0.1:{echo}; }}
server {{
  listen 127.0.0.1:{port} backlog=4096;
  root {folder}/www;
  location = /whoami {{ default_type text/plain; return 200 "$http_x_forwarded_email\\n"; }}
  location = /page.html {{ ssi on; ssi_types *; }}
  location = /live {{
    proxy_pass http://echo;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
  }}
  location = /upload {{
    client_body_buffer_size 2m;
    proxy_pass http://unix:{folder}/sink.sock:/;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
  }}
}}
server {{ listen unix:{folder}/sink.sock; return 204; }}
"""

# With nginx's default buffers (4 KiB each) a page of 100 KiB costs it twice as much: that would be too easy a unit.
_PLAIN: Final = """
upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
server {{
  listen 127.0.0.1:{port} backlog=4096;
  location / {{
    proxy_pass http://app;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    client_body_buffer_size 64k;
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    proxy_busy_buffers_size 64k;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Upgrade $http_upgrade;
  }}
}}
"""

_ASKING: Final = """
upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
upstream door {{ server 127.0.0.1:{door}; keepalive 64; keepalive_requests 100000000; }}
server {{
  listen 127.0.0.1:{port} backlog=4096;
  location / {{
    auth_request /door;
    auth_request_set $email $upstream_http_x_forwarded_email;
    proxy_pass http://app;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-Email $email;
  }}
  location = /door {{
    internal;
    proxy_pass http://door/oauth2/auth;
    proxy_http_version 1.1;
    proxy_pass_request_body off;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header Content-Length "";
    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Original-URI $request_uri;
  }}
}}
"""

_HAPROXY: Final = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend door
  bind 127.0.0.1:{port} backlog 4096
  default_backend app
backend app
  server app 127.0.0.1:{upstream}
"""


def program(name: str) -> str:
    """Where it is. Raises BenchFailed."""
    here = str(Path(sys.executable).parent)
    found = shutil.which(name) or shutil.which(name, path=f"{here}:{_ALSO}")
    if found is None:
        raise BenchFailed(f"{name} is not here")
    return found


def _nginx(name: str, servers: str, folder: Path, port: int, on: set[int]) -> Child:
    user = "user root;" if Path("/proc/self").owner() == "root" else ""
    file = folder / f"{name}.conf"
    file.write_text(_NGINX.format(user=user, folder=folder, name=name, servers=servers))
    command: list[str | Path] = [program("nginx"), "-p", folder, "-e", folder / f"{name}.log", "-c", file]
    return Child(name, command, folder, on).wait_until(lambda: listens(port))


def start_upstream(folder: Path, port: int, echo: int) -> Child:
    """Static files, one page that is put together and so has no length, `/whoami`, a sink for uploads, and the way to the WebSocket echo."""
    files = folder / "www"
    files.mkdir()
    for size in (0, 1, 100):  # wrk waits for the body that an answer to HEAD announces: 0 bytes
        (files / f"{size}k").write_bytes(b"x" * (size * KIB))
    (files / "page.html").write_bytes(b"x" * KIB)
    return _nginx("upstream", _UPSTREAM.format(port=port, folder=folder, echo=echo), folder, port, cores.OTHERS)


def start_nginx(folder: Path, port: int, upstream: int) -> Child:
    return _nginx("nginx", _PLAIN.format(port=port, upstream=upstream), folder, port, cores.MEASURED)


def start_nginx_that_asks(folder: Path, port: int, upstream: int, door: int) -> Child:
    return _nginx("nginx-asking", _ASKING.format(port=port, upstream=upstream, door=door), folder, port, cores.MEASURED)


def start_haproxy(folder: Path, port: int, upstream: int) -> Child:
    file = folder / "haproxy.conf"
    file.write_text(_HAPROXY.format(port=port, upstream=upstream))
    command = [program("haproxy"), "-db", "-f", str(file)]
    return Child("haproxy", command, folder, cores.MEASURED).wait_until(lambda: listens(port))


def start_envoy(folder: Path, port: int, upstream: int, issuer: str) -> Child:
    file = folder / "envoy.json"
    file.write_text(json.dumps(_envoy(port, upstream, issuer), indent=1))
    command = [
        program("envoy"),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]
    return Child("envoy", command, folder, cores.MEASURED).wait_until(lambda: listens(port))


_TYPE: Final = "type.googleapis.com/envoy.extensions"


def _envoy(port: int, upstream: int, issuer: str) -> dict[str, Any]:
    oauth2 = {
        "@type": f"{_TYPE}.filters.http.oauth2.v3.OAuth2",
        "config": {
            "token_endpoint": {"cluster": "provider", "uri": f"{issuer}/token", "timeout": "5s"},
            "authorization_endpoint": f"{issuer}/authorize",
            "redirect_uri": "http://%REQ(:authority)%/callback",
            "redirect_path_matcher": {"path": {"exact": "/callback"}},
            "signout_path": {"path": {"exact": "/signout"}},
            "credentials": {"client_id": CLIENT_ID, "token_secret": {"name": "token"}, "hmac_secret": {"name": "hmac"}},
            "auth_scopes": ["openid", "email", "profile"],
            "disable_id_token_set_cookie": True,
            "use_refresh_token": False,
        },
    }
    everything = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "door",
        "codec_type": "HTTP1",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [everything]}],
        },
        "http_filters": [
            {"name": "oauth2", "typed_config": oauth2},
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}},
        ],
    }
    secrets = [
        {"name": name, "generic_secret": {"secret": {"inline_string": value}}}
        for name, value in (("token", CLIENT_SECRET), ("hmac", "a key that only this run knows"))
    ]
    listener = {"address": _address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
    return {
        "static_resources": {
            "secrets": secrets,
            "listeners": [listener],
            "clusters": [_cluster("app", upstream), _cluster("provider", int(issuer.rpartition(":")[2]))],
        }
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
