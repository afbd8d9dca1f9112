"""A local reply: a response of our own, in HTTP/1.1."""

import asyncio
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

from gateway.http.framing import Body, SizedBody
from gateway.http.request_head import SERVER_METHODS, ParsedRequest

_DRAIN_LIMIT: Final = 64 * 1024


class LocalReply(Protocol):
    """A status, header fields, a body; `pages.renderer` makes them."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...

    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A local reply made of its parts, as a rule without a body."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = b""


#: The response to `OPTIONS *` (RFC 9110 section 9.3.7): what this server can do, for every application behind it.
ABOUT_THE_SERVER: Final = Plain(204, (("Allow", ", ".join(SERVER_METHODS)),))


def serialise(page: LocalReply, *, head_only: bool, keep_alive: bool) -> bytes:
    """The bytes of a response. `head_only`: the response to HEAD, whose Content-Length is that of GET. Raises ValueError."""
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
    options = ["Upgrade"] if any(name == "Upgrade" for name, _ in page.headers) else []
    if not keep_alive:
        options.append("close")
    if options:
        lines.append(f"Connection: {', '.join(options)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if head_only else head + page.body


def bare(status: int) -> bytes:
    """The shortest refusal, without a body, closing the connection: for one whose request is not read."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def may_go_on(request: ParsedRequest | None, body: Body | None) -> bool:
    """Whether another request may follow a local reply, which may come before the request's whole body."""
    if request is None or not request.keep_alive or request.upgrade is not None:
        return False  # what follows an upgrade that was refused may be in another protocol
    return body is None or (isinstance(body, SizedBody) and body.left <= _DRAIN_LIMIT and not request.expects_continue)


def break_off(transport: asyncio.Transport, request: ParsedRequest | None) -> None:
    """Close in the middle of a response. Where the closing is what ends it, a reset tells it from a clean end (B-45)."""
    sock = transport.get_extra_info("socket")
    if request is not None and request.version == "1.0" and sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
