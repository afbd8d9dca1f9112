"""Django, werkzeug and Starlette with routers of their own, for gunicorn and uvicorn: each says which of its routes a request came to."""

from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

LOGIN = ("login", "login/index", "signin")
METHODS = ["GET", "POST"]


def told(route: str, method: str | None, where: str) -> str:
    shown = where.replace("\n", "?")
    return f"route={route}\nmethod={method}\nuri={shown}\n"


def _view(route: str) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, **_: str) -> HttpResponse:
        return HttpResponse(told(route, request.method, request.path_info), content_type="text/plain")

    return view


urlpatterns = [
    *(path(each, _view("login")) for each in LOGIN),
    path("login/", _view("login")),
    re_path(r"^admin(?:/|$)", _view("admin")),
    re_path(r"", _view("plain")),
]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
django.setup(set_prefix=False)
django_app = WSGIHandler()

_RULES = Map(
    [
        *(Rule(f"/{each}", endpoint="login") for each in LOGIN),
        Rule("/admin", endpoint="admin"),
        Rule("/admin/<path:more>", endpoint="admin"),
        Rule("/<path:more>", endpoint="plain"),
        Rule("/", endpoint="plain"),
    ],
    strict_slashes=False,
)


def werkzeug_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    request = WerkzeugRequest(environ)
    try:
        endpoint, _ = _RULES.bind_to_environ(environ).match()
    except HTTPException as error:  # a redirect is one too
        return error(environ, start_response)
    return WerkzeugResponse(told(str(endpoint), request.method, request.path))(environ, start_response)


def _answer(route: str) -> Callable[[Request], PlainTextResponse]:
    def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(told(route, request.method, request.url.path))

    return answer


starlette_app = Starlette(
    routes=[
        *(Route(f"/{each}", _answer("login"), methods=METHODS) for each in LOGIN),
        Mount("/admin", routes=[Route("/{more:path}", _answer("admin"), methods=METHODS)]),
        Route("/{more:path}", _answer("plain"), methods=METHODS),
    ]
)
