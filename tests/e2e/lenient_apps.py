"""Applications under gunicorn (WSGI) and uvicorn (ASGI) that say which of their routes a request reached, by what their server made of the path."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

ROUTES = (("login", r"/login(/password)?/?"), ("token", r"/api/token/?"), ("admin", r"/admin(/.*)?"))


def reached(path: str) -> str:
    """Letter case is ignored, as many frameworks do."""
    found = next((name for name, pattern in ROUTES if re.fullmatch(pattern, path, re.IGNORECASE | re.DOTALL)), None)
    return "plain" if found is None else f"reached {found}"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """PATH_INFO is decoded; what it says goes back in a field that takes any byte."""
    path = environ["PATH_INFO"]
    body = reached(path).encode()
    seen = path.encode("latin-1").hex()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Seen", seen)])
    return [body]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """`path` is decoded, as UTF-8."""
    if scope["type"] == "lifespan":
        return
    body = reached(scope["path"]).encode()
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(body)),
        (b"x-seen", scope["path"].encode("utf-8", "surrogatepass").hex().encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
