"""An answer of our own, on the wire."""

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol


class Page(Protocol):
    """What `web.pages` renders: a status, header fields, a body."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...

    @property
    def body(self) -> bytes: ...


def serialise(page: Page, *, head_only: bool, keep_alive: bool) -> bytes:
    """The bytes of a response. `head_only`: the answer to HEAD, whose Content-Length is that of GET."""
    status = HTTPStatus(page.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Date: {formatdate(usegmt=True)}"]
    lines += [
        f"{name}: {value}"
        for name, value in page.headers
        if name.lower() not in ("content-length", "connection", "date")
    ]
    # SECURITY: a value with a line break would write a header of its own choosing (C-38).
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a header field")
    if page.status != 204:
        lines.append(f"Content-Length: {len(page.body)}")
    if not keep_alive:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if head_only else head + page.body


#: The shortest refusal: for a connection whose request could not even be parsed.
def bare(status: int) -> bytes:
    """A response without a body, closing the connection."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
