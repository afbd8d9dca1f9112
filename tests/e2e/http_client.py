"""Requests without a browser, byte for byte as a test wants them.

An HTTP library would mend the spellings that matter here.
"""

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # lower-case names, the last of each
    body: str


def ask(
    port: int,
    host: str,
    target: str | bytes,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request to 127.0.0.1:`port` under the name `host`; `target` travels as it is."""
    wire = target if isinstance(target, bytes) else target.encode()
    length = {"Content-Length": str(len(body))} if body else {}
    fields = {"Host": host, "Connection": "close", **length, **(headers or {})}
    head = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields.items())
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(method.encode() + b" " + wire + b" HTTP/1.1\r\n" + head + b"\r\n" + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        text = response.read().decode("utf-8", "replace")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)
