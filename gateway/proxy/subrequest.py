"""Requests of our own to an app's upstream: over its pool, with its TLS and its time-outs, each bounded in size and time.

They are sent on behalf of one client: with the Host, the forwarding fields and the User-Agent that its own requests carry, because some
upstreams bind their sessions to these. Responses are read whole; nothing is decoded, redirected or kept.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors.dependencies import UpstreamFault, UpstreamTimeout
from gateway.errors.refusal import Refusal
from gateway.http.header_policy import names_connection_scheme
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.pool import Pool
from gateway.proxy.upstream import Reuse, UpstreamConnection

_LARGEST: Final = 256 * 1024
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledRequest:
    """A request, ready to be sent. Its target and headers may hold a token: they stay out of `repr` (C-48)."""

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An upstream's whole response. `fields` are names in lower case, and values."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.fields if found == name]

    @property
    def location(self) -> bytes:
        found = self.values(b"location")
        return found[0] if len(found) == 1 and self.status in _REDIRECTS else b""

    def json(self) -> Any:
        """None for what is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What opens the upstream's session in a request: `name=value` cookies, or a bearer token."""

    cookies: tuple[bytes, ...] = field(default=(), repr=False)
    bearer: str | None = field(default=None, repr=False)


class Subrequest:
    """One request, and the listener of its connection."""

    def __init__(self, pool: Pool, connection: UpstreamConnection, request: FilledRequest) -> None:
        self.plain = False
        self.request = ParsedRequest(b"", request.method, b"/", "1.1")
        self.authenticates = any(
            name.lower() == "authorization" and names_connection_scheme(value.encode("latin-1"))
            for name, value in request.headers
        )
        self._pool = pool
        self._connection = connection
        self._head: ParsedResponse | None = None
        self._body = bytearray()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, data: bytes) -> Reply:
        """Raises UpstreamFault."""
        self._connection.begin(self)
        self._connection.transport.write(data)
        try:
            await self._done
        except BaseException:
            self._connection.abort()
            raise
        head = self._head
        assert head is not None
        lines = (line.partition(b":") for line in head.lines)
        fields = tuple((name.lower(), value.strip(b" \t")) for name, _, value in lines)
        return Reply(status=head.status, fields=fields, body=bytes(self._body))

    # --- ResponseListener ---

    def on_interim(self, response: ParsedResponse) -> None: ...

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None:
        self._head = response
        if first:
            self.on_body(first)

    def on_whole(self, response: ParsedResponse, body: bytes) -> None:
        self.on_response(response, body)
        self.on_end(self._connection.reuse)

    def on_body(self, data: bytes, *, last: bool = False) -> None:
        self._body += data
        if len(self._body) > _LARGEST:
            self._fail(UpstreamFault(f"a response to a subrequest of more than {_LARGEST} bytes"))

    def on_end(self, reuse: Reuse) -> None:
        if reuse is Reuse.ANY and not self._done.done():
            self._pool.give_back(self._connection)
        else:
            self._connection.abort()
        if not self._done.done():
            self._done.set_result(None)

    def on_tunnel(self, response: ParsedResponse, first: bytes) -> None:
        self._fail(UpstreamFault("a 101 without a request for it"))

    def on_broken(self, error: Exception, answered: bool) -> None:
        self._fail(error if isinstance(error, Refusal) else UpstreamFault(f"{type(error).__name__}: {error}"))

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...

    def _fail(self, refusal: Refusal) -> None:
        self._connection.abort()
        if not self._done.done():
            self._done.set_exception(refusal)


class UpstreamClient:
    """An app's upstream, for subrequests of one client. `lines` are its forwarding fields and User-Agent; `seconds` bounds a subrequest."""

    def __init__(self, pool: Pool, host: str, lines: Sequence[bytes], seconds: float) -> None:
        self.host = host
        self._pool = pool
        self._lines = lines
        self._seconds = seconds

    async def send(self, request: FilledRequest, credentials: Credentials) -> Reply:
        """Raises UpstreamUnreachable, UpstreamTimeout, UpstreamTlsFault, UpstreamFault."""
        try:
            async with asyncio.timeout(self._seconds):
                return await Subrequest(self._pool, await self._pool.connect(), request).send(
                    self._serialise(request, credentials)
                )
        except TimeoutError as error:
            raise UpstreamTimeout("no whole response to a subrequest in time") from error

    def _serialise(self, request: FilledRequest, credentials: Credentials) -> bytes:
        parts = [f"{request.method} {request.target} HTTP/1.1\r\nHost: {self.host}".encode("ascii"), *self._lines]
        named = {name.lower() for name, _ in request.headers}
        if "accept" not in named:
            parts.append(b"Accept: text/html,application/json;q=0.9,*/*;q=0.8")
        parts.append(b"Accept-Encoding: identity")
        parts += [f"{name}: {value}".encode("latin-1") for name, value in request.headers]
        if credentials.cookies:
            parts.append(b"Cookie: " + b"; ".join(credentials.cookies))
        if credentials.bearer is not None:
            parts.append(b"Authorization: Bearer " + credentials.bearer.encode("ascii"))
        if request.body or request.method != "GET":
            parts.append(b"Content-Length: %d" % len(request.body))
        return b"\r\n".join((*parts, b"", request.body))
