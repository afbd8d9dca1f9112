"""nginx, Apache httpd, Express, gunicorn and uvicorn as upstreams that say which of their routes a request reached.

Each routes by its own reading of the path, as leniently as it is commonly configured: letter case is ignored. All but Apache say the path
that they saw too, in hexadecimal digits or as it is.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import web_servers
from tests.e2e.processes import Program, free_port, listens

HERE = Path(__file__).resolve().parent
NGINX = """
    add_header X-Seen-Path "$uri";
    location ~* ^/login(/password)?/?$ { return 200 "reached login"; }
    location ~* ^/api/token/?$ { return 200 "reached token"; }
    location ~* ^/admin(/|$) { return 200 "reached admin"; }
    location / { return 200 "plain"; }
"""
APACHE = """
DocumentRoot "{files}"
<Directory "{files}">
  Require all granted
</Directory>
AliasMatch "(?i)^/login(/password)?/?$" "{files}/login"
AliasMatch "(?i)^/api/token/?$" "{files}/token"
AliasMatch "(?i)^/admin(/.*)?$" "{files}/admin"
AliasMatch "^" "{files}/plain"
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    name: str
    port: int
    running: Program


def start_nginx(folder: Path) -> Upstream:
    port = free_port()
    return Upstream("nginx", port, web_servers.start_nginx(folder, port, NGINX))


def start_apache(folder: Path) -> Upstream:
    port, files = free_port(), folder / "files"
    files.mkdir()
    for name in ("login", "token", "admin", "plain"):
        (files / name).write_text("plain" if name == "plain" else f"reached {name}")
    return Upstream("apache", port, web_servers.start_apache(folder, port, APACHE.format(files=files), "alias"))


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
