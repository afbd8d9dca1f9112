"""Applications that say what reached them: as WSGI under gunicorn and werkzeug, as ASGI under uvicorn. Each reads a path in its own way."""

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The path as WSGI has it (decoded), and every HTTP_ variable."""
    said = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    body = json.dumps({"path": environ["PATH_INFO"], "query": environ.get("QUERY_STRING", ""), "names": said}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """The path as ASGI has it (decoded), and the header names CGI-style."""
    if scope["type"] == "lifespan":
        return
    said = {
        "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
        for name, value in scope["headers"]
    }
    body = json.dumps({"path": unquote(scope["path"]), "query": scope["query_string"].decode(), "names": said}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(sys.argv[1]), wsgi, threaded=True)
