"""The application for WSGI servers (`wsgi`). Standard library only: each server's own virtual environment imports it."""

import os
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

FILES = os.environ["VISITED_FILES"]
REACHED = os.environ["VISITED_REACHED"]
ETAG = '"1"'
_CHANGES = frozenset({"PUT", "PATCH", "DELETE"})


def route_of(method: str, path: str, query: str, body: bytes) -> str:
    """Letter case is ignored, as many frameworks do; so is a slash at the end."""
    found = path.lower().rstrip("/") or "/"
    if found == "/admin" or found.startswith("/admin/"):
        return "admin"
    if re.fullmatch(r"/(login(/(index|login|password))?|signin)", found):
        return "login"
    if found == "/api/token":
        return "token" if b"grant_type=password" in body or "grant_type=password" in query else "refresh"
    return "records" if found.startswith("/records/") and method in _CHANGES else "plain"


def method_of(method: str, override: str, query: str, kind: str, body: bytes) -> str:
    """As the middlewares for browsers' forms have it: a POST may ask to be another method. `kind`: the Content-Type."""
    if method != "POST":
        return method
    is_form = kind.partition(";")[0].strip().lower() in ("", "application/x-www-form-urlencoded")
    form = dict(parse_qsl(body.decode("latin-1"))) if is_form else {}
    asked = dict(parse_qsl(query)).get("_method") or form.get("_method")
    return (override or asked or method).upper()


def told(method: str, path: str, query: str, seen: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """The answer; what was reached is kept."""
    route = route_of(method, path, query, body)
    if route in ("admin", "login", "token", "records"):
        with open(REACHED, "a") as reached:
            reached.write(f"{route} {method} {path!r}\n")
    given = "\n".join(f"{name}: {value}" for name, value in seen).encode("utf-8", "surrogateescape").hex()
    shown = path.replace("\n", "?")
    text = f"route={route}\nmethod={method}\nuri={shown}\nseen={given}\nbody={body[:500].hex()}\n"
    return text.encode("utf-8", "surrogateescape")


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    if path in ("/assets/pay", "/assets/large"):
        return _stored(path.rpartition("/")[2], environ, start_response)
    if path == "/assets/cached":
        if environ.get("HTTP_IF_NONE_MATCH") == ETAG:
            start_response("304 Not Modified", [("ETag", ETAG)])
            return []
        start_response("200 OK", [("ETag", ETAG), ("Content-Type", "text/plain"), ("Content-Length", "6")])
        return [b"cached"]
    if path in ("/assets/empty", "/assets/kept"):
        with open(f"{FILES}/pay", "rb") as file:
            stored = file.read()
        start_response("204 No Content" if path.endswith("empty") else "304 Not Modified", [])
        return [stored]
    body = _body(environ)
    override, kind = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", ""), environ.get("CONTENT_TYPE", "")
    method = method_of(environ["REQUEST_METHOD"], override, query, kind, body)
    own = os.environ.keys()
    seen = [(name, value) for name, value in environ.items() if isinstance(value, str) and name not in own]
    answer = told(method, path, query, seen, body)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


def _stored(name: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """As most applications do: the file for HEAD too, and the server is trusted to leave the body out."""
    length = os.path.getsize(f"{FILES}/{name}")
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(length))])
    file = open(f"{FILES}/{name}", "rb")  # noqa: SIM115 - the server closes it
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(file, 8192) if wrapper else iter(lambda: file.read(8192), b"")


def _body(environ: dict[str, Any]) -> bytes:
    if environ.get("wsgi.input_terminated"):
        return bytes(environ["wsgi.input"].read())
    length = environ.get("CONTENT_LENGTH") or "0"
    return bytes(environ["wsgi.input"].read(int(length))) if length.isdigit() and int(length) else b""
