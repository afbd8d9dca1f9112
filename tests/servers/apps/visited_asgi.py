"""The application for ASGI servers."""

from collections.abc import Awaitable, Callable
from typing import Any

from visited import ETAG, FILES, method_of, told

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def asgi(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _echo(receive, send)
    if scope["type"] != "http":
        return
    path, query = scope["path"], scope["query_string"].decode("latin-1")
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    given = dict(fields)
    if path in ("/assets/pay", "/assets/large"):
        with open(FILES + path.removeprefix("/assets"), "rb") as file:
            await _answer(send, 200, file.read(), b"application/octet-stream")
    elif path == "/assets/cached":
        known = given.get("if-none-match") == ETAG
        await _answer(send, 304 if known else 200, b"" if known else b"cached", etag=ETAG.encode())
    elif path in ("/assets/empty", "/assets/kept"):
        with open(f"{FILES}/pay", "rb") as file:
            await _answer(send, 204 if path.endswith("empty") else 304, file.read())
    else:
        body = await _body(receive)
        override, kind = given.get("x-http-method-override", ""), given.get("content-type", "")
        method = method_of(scope["method"], override, query, kind, body)
        await _answer(send, 200, told(method, path, query, fields, body))


async def _answer(send: Send, status: int, body: bytes, kind: bytes = b"text/plain", etag: bytes = b"") -> None:
    headers = [(b"content-type", kind), *([(b"etag", etag)] if etag else [])]
    if status == 200:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
