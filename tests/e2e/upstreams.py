"""nginx, Apache httpd, Express, gunicorn and uvicorn as upstreams that say which of their routes a request reached.

Each routes by its own reading of the path, as leniently as it is commonly configured: letter case is ignored. All but Apache say the path
that they saw too, in hexadecimal digits or as it is.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.needs import program
from tests.e2e.processes import Program, free_port, listens

HERE = Path(__file__).resolve().parent
MODULES = Path("/usr/lib/apache2/modules")

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port};
    add_header X-Seen-Path "$uri";
    location ~* ^/login(/password)?/?$ {{ return 200 "reached login"; }}
    location ~* ^/api/token/?$ {{ return 200 "reached token"; }}
    location ~* ^/admin(/|$) {{ return 200 "reached admin"; }}
    location / {{ return 200 "plain"; }}
  }}
}}
"""

APACHE = """
ServerRoot "{folder}"
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/error.log"
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
User www-data
Group www-data
AllowEncodedSlashes On
DocumentRoot "{folder}/files"
<Directory "{folder}/files">
  Require all granted
</Directory>
AliasMatch "(?i)^/login(/password)?/?$" "{folder}/files/login"
AliasMatch "(?i)^/api/token/?$" "{folder}/files/token"
AliasMatch "(?i)^/admin(/.*)?$" "{folder}/files/admin"
AliasMatch "^" "{folder}/files/plain"
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    name: str
    port: int
    running: Program


def start_nginx(folder: Path) -> Upstream:
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port))
    return _start("nginx", port, [_path("nginx"), "-p", folder, "-e", folder / "error.log", "-c", file], folder)


def start_apache(folder: Path) -> Upstream:
    port = free_port()
    file = folder / "apache.conf"
    file.write_text(APACHE.format(folder=folder, port=port, modules=MODULES))
    (folder / "files").mkdir()
    for name in ("login", "token", "admin", "plain"):
        (folder / "files" / name).write_text("plain" if name == "plain" else f"reached {name}")
    return _start("apache", port, [_path("apache2"), "-f", file, "-D", "FOREGROUND"], folder)


def start_express(folder: Path) -> Upstream:
    port = free_port()
    return _start("express", port, ["node", HERE / "express_upstream.mjs", str(port)], folder)


def start_gunicorn(folder: Path) -> Upstream:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--worker-class",
        "gthread",
        "--threads",
        "4",
    ]
    return _start("gunicorn", port, [*command, "tests.e2e.lenient_apps:wsgi"], folder)


def start_uvicorn(folder: Path) -> Upstream:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "error"]
    return _start("uvicorn", port, [*command, "tests.e2e.lenient_apps:asgi"], folder)


STARTERS: dict[str, Callable[[Path], Upstream]] = {
    "nginx": start_nginx,
    "apache": start_apache,
    "express": start_express,
    "gunicorn": start_gunicorn,
    "uvicorn": start_uvicorn,
}


def _start(name: str, port: int, command: Sequence[str | Path], folder: Path) -> Upstream:
    running = Program(command, folder / f"{name}.log")
    running.wait_until(lambda: listens(port))
    return Upstream(name, port, running)


def _path(name: str) -> Path:
    found = program(name)
    assert found is not None, f"run `make e2e`: it installs {name}"
    return found
