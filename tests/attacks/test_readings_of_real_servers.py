"""The rows of Django, werkzeug and Starlette are compared with their own routers: whatever reaches a handler is among the readings.

The other servers of the table are compared in `tests/e2e/test_readings.py` (nginx, Apache, `php -S`, Express, Fastify) and by `make servers`.
"""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import unquote_to_bytes

import django
import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path as django_path
from django.urls import re_path
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect, Rule

from gateway.config.values import READERS
from gateway.policy.servers import NAMES, ROWS, Trait
from tests.fakes.models import forwarded, predicts, predicts_method

#: A handler's name, and the rule that would restrict it.
RULES = {
    "login": "* /login",
    "admin": "* /admin/**",
    "reset": "* /login/reset",
    "report": "* /reports/*",
    "root": "* /",
}
Router = Callable[[str, bytes, list[tuple[bytes, bytes]], bytes], tuple[str | None, str]]


def environ(method: str, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> dict[str, Any]:
    """What gunicorn makes of a request."""
    import io

    path, _, query = target.partition(b"?")
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
        **{"HTTP_" + name.decode().upper().replace("-", "_"): value.decode("latin-1") for name, value in fields},
    }


def _django() -> Router:
    def handler(name: str) -> Callable[..., HttpResponse]:
        return lambda request, **_: HttpResponse(f"{name} {request.method}")

    urls = ModuleType("urls_of_the_readings")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        django_path("", handler("root")),
        django_path("login", handler("login")),
        django_path("login/", handler("login")),
        django_path("login/reset/", handler("reset")),
        re_path(r"^admin/", handler("admin")),
        django_path("reports/<str:name>", handler("report")),
    ]
    if not django_settings.configured:
        django_settings.configure(
            ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], MIDDLEWARE=["django.middleware.common.CommonMiddleware"]
        )
        django.setup(set_prefix=False)
    application = WSGIHandler()

    def ask(method: str, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> tuple[str | None, str]:
        answered: list[str] = []
        content = b"".join(
            application(environ(method, target, fields, body), lambda status, *_: answered.append(status))
        ).decode()
        name, _, became = content.partition(" ")
        return (name, became) if answered[0].startswith("200") else (None, method)

    return ask


def _werkzeug() -> Router:
    rules = Map(
        [
            Rule("/", endpoint="root"), Rule("/login", endpoint="login"), Rule("/login/reset/", endpoint="reset"), Rule("/admin/", endpoint="admin"),
            Rule("/admin/<path:more>", endpoint="admin"), Rule("/reports/<name>", endpoint="report"),
        ],
        strict_slashes=False,
    )  # fmt: skip

    def ask(method: str, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> tuple[str | None, str]:
        try:
            endpoint, _ = rules.bind_to_environ(environ(method, target, fields, body)).match()
        except (RequestRedirect, HTTPException):
            return None, method
        return str(endpoint), method

    return ask


def _starlette() -> Router:
    def handler(name: str) -> Callable[..., Any]:
        async def answer(request: Any) -> PlainTextResponse:
            return PlainTextResponse(f"{name} {request.method}")

        return answer

    every = ["GET", "POST", "DELETE"]
    application = Starlette(
        routes=[
            Route("/", handler("root"), methods=every),
            Route("/login", handler("login"), methods=every),
            Route("/login/reset", handler("reset"), methods=every),
            Mount("/admin", routes=[Route("/{more:path}", handler("admin"), methods=every)]),
            Route("/reports/{name}", handler("report"), methods=every),
        ]
    )

    def ask(method: str, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> tuple[str | None, str]:
        path, _, query = target.partition(b"?")
        scope = {
            "type": "http", "method": method, "path": unquote_to_bytes(path).decode(), "raw_path": path, "query_string": query, "root_path": "",
            "headers": [(name.lower(), value) for name, value in fields], "scheme": "http", "server": ("localhost", 80), "http_version": "1.1",
        }  # fmt: skip
        said: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        asyncio.run(application(scope, receive, send))
        name, _, became = said[1].get("body", b"").decode().partition(" ")
        return (name, became) if said[0]["status"] == 200 else (None, method)

    return ask


ROUTERS = {"django": _django(), "werkzeug": _werkzeug(), "starlette": _starlette()}

before = st.sampled_from(("", "", "", "/", "/.", "/x/..", "/index.php", "/;x", "/en"))
pages = st.sampled_from(
    ("/login", "/login", "/admin", "/admin/x", "/reports/x", "/login/reset", "/%6cogin", "/Login", "/", "/home")
)
after = st.sampled_from(
    ("", "/", ".", ".json", ".1", ".css", ";x=1", "%20", "/1", "/index", "%3f", "%23", "%C3%A9", "/..;", "/.", "//")
)
paths = st.tuples(before, pages, after, after).map(lambda parts: "".join(parts).encode())
queries = st.sampled_from((b"", b"", b"?_method=DELETE", b"?r=admin/x", b"?rest_route=/admin", b"?_method%00=DELETE"))
overrides = st.sampled_from(([], [(b"X-HTTP-Method-Override", b"DELETE")], [(b"X-Method-Override", b"DELETE")]))
forms = st.sampled_from((b"", b"_method=DELETE", b"_method%00x=DELETE", b"a=1"))


@pytest.mark.parametrize("row", ROUTERS)
def test_what_a_real_router_routes_is_among_the_readings_of_its_row(row: str) -> None:
    """C-65, C-67."""
    ask, reached = ROUTERS[row], set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(paths, queries, st.sampled_from(("GET", "POST")), overrides, forms)
    def run(path: bytes, query: bytes, method: str, fields: list[tuple[bytes, bytes]], form: bytes) -> None:
        wire = forwarded(path + query)
        if wire is None:
            return
        body = form if method == "POST" else b""
        name, became = ask(method, wire, fields, body)
        if name is not None:
            reached.add(name)
            assert predicts(row, RULES[name], wire, method), (name, wire)
            assert predicts_method(method, wire, fields, body, became), (wire, fields, body, became)

    run()
    assert {"login", "admin", "report"} <= reached


@pytest.mark.parametrize("row", ROUTERS)
def test_the_rule_of_a_page_holds_for_each_spelling_that_reaches_it(row: str) -> None:
    """C-65: what the generator makes reaches the pages plainly and in other spellings, so that the comparison means something."""
    for sent, name in (
        (b"/login", "login"),
        (b"/%6Cogin", "login"),
        (b"/admin/x.json", "admin"),
        (b"//reports/a.pdf", "report"),
    ):
        wire = forwarded(sent)
        assert wire is not None
        assert ROUTERS[row]("GET", wire, [], b"")[0] == name
        assert predicts(row, RULES[name], sent)
    assert not predicts(row, RULES["login"], b"/login.json")
    assert not predicts(row, RULES["admin"], b"/index.php/admin")


def test_every_row_has_its_name_its_source_and_a_name_that_reads_like_knows() -> None:
    assert sorted(NAMES) == sorted(READERS)
    assert len(set(NAMES)) == len(NAMES)
    assert all(row.source for row in ROWS)
    assert {row.name for row in ROWS if row.seen == "tested"} == {
        *ROUTERS,
        *("apache-multiviews", "express", "fastify", "nginx", "php-fpm"),
    }
    assert all((Trait.PARAMETER in row.traits) == bool(row.routes) for row in ROWS)
