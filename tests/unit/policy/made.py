"""What the policy tests make over and over: an app, a person, a request's head and its target."""

from typing import Any

from hypothesis import settings

from gateway.config.schema import App
from gateway.http.message import RequestHead
from gateway.identity.claims import Identity
from gateway.policy.paths import Target, parse_target
from gateway.policy.readings import EVERY, Readings
from gateway.policy.rules import RouteRules

patient = settings(deadline=None)  # a busy machine is not a bug

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"


def app(**settings: Any) -> App:
    return App.model_validate({"hosts": ["portal.example.com"], "upstream": "http://127.0.0.1:8001", **settings})


def rules(**settings: Any) -> RouteRules:
    return RouteRules(app(**settings))


def person(email: str | None = "ana@company.com", groups: tuple[str, ...] = ()) -> Identity:
    return Identity(issuer="https://login.example.com/", subject="s1", email=email, groups=groups)


def target(text: str | bytes) -> Target:
    return parse_target(text if isinstance(text, bytes) else text.encode())


def read(text: str | bytes) -> Readings:
    """What every row of servers makes of a target."""
    return EVERY.read(target(text))


def head(
    method: str,
    path: str | bytes,
    *fields: tuple[bytes, bytes],
    body: bytes | None = None,
    content_type: bytes | None = FORM,
) -> RequestHead:
    """A request's head; with a `body` it has that body's length and type."""
    raw = path if isinstance(path, bytes) else path.encode()
    framing = [] if body is None else [(b"Content-Length", b"%d" % len(body))]
    typed = [] if body is None or content_type is None else [(b"Content-Type", content_type)]
    return RequestHead(method, raw, b"portal.example.com", [*framing, *typed, *fields])
