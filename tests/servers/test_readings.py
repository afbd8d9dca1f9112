"""The rows of the table of readings beside the real servers: what a server routes to a page is among the readings of its row.

Each server is asked without the gateway, for the target that the gateway would forward of each spelling. `make e2e` compares Express, Fastify,
nginx, Apache and `php -S` in more detail (`tests/e2e/test_readings.py`). Run by `make servers`.
"""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.operations.probe.row_spellings import row_spellings
from gateway.operations.probe.spellings import spellings
from gateway.policy.readings import EVERY
from gateway.policy.routes import parse_match
from tests.e2e.processes import Command, Program, free_port
from tests.fakes.models import forwarded, predicts
from tests.servers import debian, small
from tests.servers.attacks import request
from tests.servers.door import Kind, listening, make_files
from tests.servers.wire import ask, each


def framework(application: str, server: str, *options: str) -> Kind:
    """An application of `apps/frameworks.py`, on a server of the tests' own environment."""

    def start(folder: Path, port: int) -> list[Program]:
        command: Command = [sys.executable, "-m", server, *(option.format(port=port) for option in options)]
        return listening([*command, f"frameworks:{application}"], folder, port, {"PYTHONPATH": str(small.APPS)})

    return Kind(f"{application} on {server}", start)


FRAMEWORKS = (
    framework("django_app", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "error"),
    framework("werkzeug_app", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "error"),
    framework("starlette_app", "uvicorn", "--port", "{port}", "--log-level", "error"),
)
#: The row of each server. Those that have no router of their own give a WSGI or ASGI application the path as Django and Starlette get it.
ROW_OF: Final = {
    **{kind.name: "django" for kind in small.KINDS if kind.name.startswith("gunicorn")},
    **dict.fromkeys(("waitress", "cheroot", "uWSGI http-socket", "uWSGI http11-socket", "uWSGI http"), "django"),
    "django_app on gunicorn": "django",
    "werkzeug_app on gunicorn": "werkzeug",
    "werkzeug": "werkzeug",
    "starlette_app on uvicorn": "starlette",
    "uvicorn": "starlette",
    "express": "express",
    "php -S": "php-fpm",
    "PHP-FPM behind nginx": "php-fpm",
    "Symfony on PHP-FPM": "symfony",
    "nginx WebDAV": "nginx",
    "Rack on puma": "rack",
    "Rack on WEBrick": "rack",
    "Rails on puma": "rails",
    "Tomcat 10": "tomcat",
    "Jetty 9": "tomcat",
}
KINDS = (*FRAMEWORKS, *debian.KINDS, *small.KINDS)
#: The guarded pages, and the rule of each.
PAGES: Final = {page: f"* {page}" for page in ("/login", "/login/index", "/signin")} | {"/admin/users": "* /admin/**"}
BEFORE = ("", "/", "/.", "/x/..", "/;x", "/index.php", "/x/index.php", "/index.php/x/..", "/en")
AFTER = ("", "/", ".", ".json", ".1", ".php", ".css", ";x=1", ";x/y", "%20", "/1", "/index", "/index.php", "/..;", "%3f", "%23x", "%00", "//", "/.")  # fmt: skip


def targets() -> list[bytes]:
    """What the gateway would forward of each spelling, once."""
    sent = ["".join(parts).encode() for parts in itertools.product(BEFORE, PAGES, AFTER)]
    for page, rule in PAGES.items():
        sent += [spelling.target for spelling in row_spellings(page, parse_match(rule), EVERY)]
        sent += [spelling.target for spelling in itertools.islice(spellings(page, method="GET"), 0, None, 5)]
    return [wire for wire in dict.fromkeys(map(forwarded, sent)) if wire is not None]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """The row of a server, and its port."""
    kind: Kind = request.param
    with tempfile.TemporaryDirectory(prefix="doorward-readings-") as name:
        make_files(Path(name))
        port = free_port()
        programs = kind.start(Path(name), port)
        yield ROW_OF[kind.name], port
        for program in reversed(programs):
            program.stop()


def test_what_a_server_routes_to_a_page_is_among_the_readings_of_its_row(server: tuple[str, int]) -> None:
    """C-65."""
    row, port = server
    by_request = {request("localhost", wire): wire for wire in targets()}
    answered = asyncio.run(each(port, by_request, ask))
    wrong, reached = [], set()
    for sent, reply in answered:
        if reply is None or reply.status != 200 or reply.told("route") not in ("admin", "login"):
            continue
        wire, where = by_request[sent], reply.told("uri").lower().rstrip("/")
        rules = [PAGES["/admin/users"]] if reply.told("route") == "admin" else list(PAGES.values())[:3]
        if f"* {where}" in rules:
            rules = [f"* {where}"]
        reached.add((reply.told("route"), wire))
        if not any(predicts(row, rule, wire) for rule in rules):
            wrong.append((where, wire))
    assert wrong == []
    # The comparison means something: each page was reached, and not only in its plain spelling.
    assert all(len([wire for route, wire in reached if route == name]) > 1 for name in ("admin", "login"))
