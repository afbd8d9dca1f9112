"""What the API answers: the envelope of writes, the texts of refusals, and the table that finds a handler.

Paths are matched as ASP.NET does: any case, a doubled or trailing slash, one decoding, and any language segment in
front.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.demo.nexudus.world import Record

Handler = Callable[[web.Request, dict[str, str]], Awaitable[web.StreamResponse]]

_LANGUAGE = re.compile(r"^/[a-z]{2}(?:-[a-z]{2})?(?=/|$)")


def json_answer(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)


def done(message: str, value: Any, by: str) -> web.Response:
    """The envelope of a write that worked (HTTP 200, never 201)."""
    return json_answer(
        {
            "Status": 200, "Message": message, "Value": value, "OpenInDialog": False, "OpenInWindow": False,
            "RedirectURL": None, "JavaScript": None, "UpdatedOn": "2026-01-15T10:30:00Z", "UpdatedBy": by,
            "Errors": None, "WasSuccessful": True,
        }
    )  # fmt: skip


def invalid(errors: list[tuple[str, str]]) -> web.Response:
    """HTTP 400 with every field that is wrong; `Message` is the first of them."""
    listed = [{"AttemptedValue": None, "Message": text, "PropertyName": name} for name, text in errors]
    first = f"{errors[0][0]}: {errors[0][1]}"
    return json_answer({"Message": first, "Value": None, "Errors": listed, "WasSuccessful": False}, 400)


def failed(message: str) -> web.Response:
    """A failure dressed as HTTP 200."""
    body = {"Status": 500, "Message": message, "Value": None, "Errors": None, "WasSuccessful": False}
    return json_answer(body)


def text_answer(text: str, status: int) -> web.Response:
    """A bare JSON string, as `"Not found"`."""
    return json_answer(text, status)


def page(title: str, body: str, status: int = 200) -> web.Response:
    markup = f'<!doctype html><html lang="en"><title>{title}</title><body><h1>{title}</h1>{body}</body></html>'
    return web.Response(text=markup, status=status, content_type="text/html")


async def json_body(request: web.Request) -> Record:
    """The body as an object; anything else is an empty one."""
    try:
        value = json.loads(await request.read())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def form_or_json(request: web.Request) -> Record:
    """A login form's fields, however they were sent; names compare without case, as model binding does."""
    if "json" in request.content_type:
        fields: Record = await json_body(request)
    else:
        fields = dict(await request.post())
    return {str(name).lower(): value for name, value in (dict(request.query) | fields).items()}


class RouteTable:
    """`add("GET", "/api/x/{id}", handler)`; `find` gives the handler and the named segments."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, methods: str, pattern: str, handler: Handler) -> None:
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        for method in methods.split(","):
            self._routes.append((method, re.compile(expression), handler))

    def find(self, method: str, raw_path: str) -> tuple[Handler, dict[str, str]] | int:
        """The handler with its arguments, or the status to answer with: 404 or 405."""
        path = folded(raw_path)
        bare = _LANGUAGE.sub("", path) or "/"
        other_method = False
        for route_method, pattern, handler in self._routes:
            match = pattern.fullmatch(path) or pattern.fullmatch(bare)
            if match is None:
                continue
            if route_method in (method, "*") or (method == "HEAD" and route_method == "GET"):
                return handler, match.groupdict()
            other_method = True
        return 405 if other_method else 404


def folded(raw_path: str) -> str:
    path = unquote(raw_path.partition("?")[0]).lower()
    return re.sub(r"/{2,}", "/", path).rstrip("/") or "/"
