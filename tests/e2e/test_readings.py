"""The rows of nginx, Apache with MultiViews, `php -S`, Express and Fastify are compared with the real servers.

Whatever reaches a handler or a file is among the readings that the row gives: the servers are asked without the gateway, with the target that
it would forward. Django, werkzeug and Starlette have theirs in `tests/attacks/test_readings_of_real_servers.py`.
"""

import itertools
import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.errors.requests import BadRequest
from gateway.policy.bodies import read_query
from gateway.policy.methods import OVERRIDE_NAMES
from gateway.policy.paths import parse_target
from tests.e2e.http_client import ask
from tests.e2e.needs import required
from tests.e2e.processes import Command, Program, free_port, listens
from tests.e2e.web_servers import start_apache, start_nginx
from tests.fakes.models import forwarded, model, predicts, predicts_method

HERE = Path(__file__).resolve().parent
NGINX = """
    root {site};
    index index.html;
    location ~ ^(?<script>.+?\\.php)(?<more>/.*)?$ {{ return 200 "$script"; }}
    location / {{ try_files $uri $uri.html $uri/ =404; }}
"""
APACHE = """
TypesConfig /dev/null
AddType text/html .html
AddType text/plain .txt
AcceptPathInfo On
DirectoryIndex index.html
DocumentRoot "{site}"
<Directory "{site}">
  Options +MultiViews
  Require all granted
</Directory>
"""
PHP = """<?php
header('Content-Type: application/json');
echo json_encode(['script' => $_SERVER['SCRIPT_NAME'], 'more' => $_SERVER['PATH_INFO'] ?? '',
    'names' => array_map('strval', array_keys($_GET + $_POST))]);
"""
#: What a handler's rule would be.
RULES = {
    "login": "* /login",
    "admin": "* /admin/**",
    "reset": "* /login/reset",
    "report": "* /reports/*",
    "root": "* /",
}
BEFORE = ("", "/", "/.", "/x/..", "/index.php", "/;x", "/sub", "/index", "/%69ndex.php")
PAGES = (
    "/login",
    "/login.php",
    "/login.html",
    "/admin",
    "/admin/x",
    "/reports/x",
    "/login/reset",
    "/%6cogin",
    "/Login",
    "/",
    "/home",
    "/admin/index.html",
    "/sub/page",
)
AFTER = (
    "",
    "/",
    ".",
    ".json",
    ".1",
    ".css",
    ";x=1",
    ";x/y",
    "%20",
    "/1",
    "/x.css",
    "/index",
    "/index.html",
    "/index.php/x",
    ".php",
    ".html",
    "%3f",
    "%23",
    "%C3%A9",
    "//",
)


def targets() -> Iterator[bytes]:
    """What would be forwarded of each of them, once."""
    seen: set[bytes] = set()
    for parts in itertools.product(BEFORE, PAGES, AFTER):
        wire = forwarded("".join(parts).encode())
        if wire is not None and wire not in seen:
            seen.add(wire)
            yield wire


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for site, extension in (("site", "html"), ("php", "php")):
            for file in ("index", "login", "admin/index", "sub/page", "sub/index"):
                path = folder / site / f"{file}.{extension}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(PHP if site == "php" else f"/{file}.html")
        found = {kind: free_port() for kind in ("nginx", "apache-multiviews", "php-fpm", "express", "fastify")}
        commands: dict[str, Command] = {
            "php-fpm": [required("php"), "-S", f"127.0.0.1:{found['php-fpm']}", "-t", folder / "php"],
            "express": ["node", HERE / "readings_upstream.mjs", "express", str(found["express"])],
            "fastify": ["node", HERE / "readings_upstream.mjs", "fastify", str(found["fastify"])],
        }
        running = [Program(command, folder / f"{kind}.log") for kind, command in commands.items()]
        for kind, child in zip(commands, running, strict=True):
            child.wait_until(partial(listens, found[kind]))
        nginx, apache = (text.format(site=folder / "site") for text in (NGINX, APACHE))
        running.append(start_nginx(folder, found["nginx"], nginx))
        running.append(start_apache(folder, found["apache-multiviews"], apache, "mime", "dir", "negotiation"))
        yield found
        for child in running:
            child.stop()


def among(row: str, path: str, wire: bytes) -> bool:
    """Whether a path that a server has come to is among the readings of what was sent."""
    try:
        wanted = parse_target(quote(path, safe="/").encode()).folded
        return wanted in model(row).read(parse_target(wire)).paths
    except BadRequest:
        return True


@pytest.mark.parametrize("row", ["express", "fastify"])
def test_what_a_router_routes_is_among_the_readings_of_its_row(row: str, ports: dict[str, int]) -> None:
    """C-65, C-67."""
    wrong, reached = [], set()
    asked = itertools.cycle(
        [("GET", {}, b""), ("POST", {"X-HTTP-Method-Override": "DELETE"}, b""), ("POST", {"X-Method-Override": "PUT"}, b""), ("POST", {}, b"_method=DELETE"), ("POST", {}, b"_method[]=DELETE")]
    )  # fmt: skip
    for wire, query in zip(targets(), itertools.cycle((b"", b"?_method=DELETE", b"?a=1&%5fmethod=put"))):
        method, fields, body = next(asked)
        typed = {**fields, "Content-Type": "application/x-www-form-urlencoded"} if body else fields
        answer = ask(ports[row], "localhost", wire + query, method=method, headers=typed, body=body)
        name, _, became = answer.body.partition(" ")
        if answer.status != 200 or name not in RULES:
            continue
        reached.add((name, became))
        said = [(key.encode(), value.encode()) for key, value in typed.items()]
        if not predicts(row, RULES[name], wire) or not predicts_method(method, wire + query, said, body, became):
            wrong.append((name, became, method, wire + query, fields, body))
    assert wrong == []
    assert {name for name, _ in reached} == set(RULES)
    assert row != "express" or {"DELETE", "PUT"} <= {became for _, became in reached}


@pytest.mark.parametrize("row", ["nginx", "apache-multiviews"])
def test_a_file_that_a_server_finds_is_among_the_readings_of_its_row(row: str, ports: dict[str, int]) -> None:
    """C-65: the answer says which file it is; a rule for it holds for whatever was sent."""
    wrong: list[tuple[str, bytes]] = []
    reached: dict[str, bytes] = {}
    for wire in targets():
        answer = ask(ports[row], "localhost", wire)
        if answer.status == 200 and answer.body.startswith("/"):
            reached.setdefault(answer.body, wire)
            if not predicts(row, f"* {answer.body}", wire):
                wrong.append((answer.body, wire))
    assert wrong == []
    assert {"/login.html", "/admin/index.html", "/index.html", "/sub/page.html"} <= set(reached)


def test_what_php_runs_and_routes_is_among_the_readings_of_its_row(ports: dict[str, int]) -> None:
    """C-65: PHP says which script it runs, and which path it gives to it."""
    wrong, reached = [], set()
    for wire in targets():
        answer = ask(ports["php-fpm"], "localhost", wire)
        if answer.status != 200 or not answer.body.startswith("{"):
            continue
        said = json.loads(answer.body)
        script, more = said["script"], said["more"]
        reached.add((script, bool(more)))
        if not script.endswith("/index.php") and not predicts("php-fpm", f"* {script}", wire):
            wrong.append((said, wire))
        folder = script.rpartition("/")[0]
        if (
            more
            and script.endswith("/index.php")
            and not (among("php-fpm", more, wire) or among("php-fpm", folder + more, wire))
        ):
            wrong.append((said, wire))
    assert wrong == []
    assert {("/login.php", True), ("/login.php", False), ("/index.php", True), ("/sub/index.php", True)} <= reached


@pytest.mark.parametrize(
    "name",
    ["_method", "%5fmethod", "_method%00x", "_method%00", "+_method", "_method[]", "_method[", ".method", "%20_method", "_method%5b", "+.method", "[method", "_method.x", "_method=1&_method", "x%00_method"],
)  # fmt: skip
def test_a_name_that_php_takes_for_the_override_is_taken_for_it_here(name: str, ports: dict[str, int]) -> None:
    """C-67."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = f"{name}=DELETE".encode()
    for target, body in ((b"/?" + sent, b""), (b"/", sent)):
        answer = ask(ports["php-fpm"], "localhost", target, method="POST", headers=form if body else {}, body=body)
        if "_method" in json.loads(answer.body)["names"]:
            assert any(field in OVERRIDE_NAMES and value == "DELETE" for field, value in read_query(sent)), (
                name,
                target,
            )
