"""Byte streams of requests, broken at random, sent through a real house: what its upstream sees is what the gateway admitted.

D-03, D-02. The streams begin valid (pipelined, chunked, upgrades, bodies that a door reads) and are then flipped, cut, doubled and spliced.
The invariants are in `Trial.verdict`. The suite sends a few thousand from a fixed seed; `make fuzz` goes on for as long as it is told to.
"""

import asyncio
import base64
import hashlib
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.gate.admission import decide
from gateway.gate.decision import Forward
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.proxy.downstream import Downstream
from tests.fakes.house import House
from tests.fakes.strict import Reply, Seen, StrictUpstream
from tests.fakes.waiting import eventually

#: A house in which every kind of decision occurs.
HOUSE: dict[str, Any] = {
    "apps": {
        "portal": {
            "public": ["GET /public/**", "POST /hooks/*"],
            "rules": [{"match": ["* /admin/**", "DELETE,PUT /a/**"], "require": {"groups": ["staff"]}}],
            "password_routes": "nexudus",
            "cors_preflight": "pass",
        }
    },
    "openid": {"prevent_password_login": True, "unregistered_when_sso_only": "refuse"},
}
#: What the gateway may answer by itself. 501 and 505 are about the request; a 5xx about the gateway or the upstream is a finding.
OWN_ANSWERS = frozenset((200, 202, 302, 303, 400, 401, 403, 404, 405, 408, 413, 414, 417, 421, 426, 431, 499, 501, 505))
#: What the log says of a request that reached the upstream: its answer, or how it was broken off.
FORWARDED = frozenset((101, 200, 204, 304, 400, 408, 499))

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PIECES = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\xff", b"%", b"%2e%2e/", b"../", b"..;/", b"//", b"\\", b"%00", b"%2f", b"#", b"?", b";",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"1;a\r\n",
    b"GET /admin/x HTTP/1.1\r\n", b"Host: evil\r\n", b"X_Forwarded_User: admin\r\n", b"X-Forwarded-User: admin\r\n", b"Connection: close\r\n", b"Connection: x-csrf\r\n",
    b"Connection: content-type\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"HTTP/1.0", b"HTTP/2.0", b"public/", b"admin/", b"oauth2/",
    b"X-HTTP-Method-Override: DELETE\r\n", b"_method=DELETE", b"grant_type=password", b" \r\n", b"a" * 3000, b"\r\n 1", b"Sec-Fetch-Mode: navigate\r\n", b"TRACE", b"PUT",
)  # fmt: skip


class Streams:
    """Makes streams from a seed; `host` and `cookie` are those of a session."""

    def __init__(self, seed: int, host: str, cookie: str) -> None:
        self.random = random.Random(seed)
        self._known = f"Host: {host}\r\nCookie: a=1; {cookie}; b=2\r\n".encode()
        self._unknown = f"Host: {host}\r\n".encode()
        self._absolute = f"http://{host}".encode()

    def next(self) -> bytes:
        parts = [self._request() for _ in range(self.random.choice((1, 1, 2, 3)))]
        stream = b"".join(parts)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3, 5))):
            stream = self._broken(stream)
        return stream

    def cuts(self, stream: bytes) -> list[bytes]:
        """The stream in the pieces it is sent in."""
        places = sorted(self.random.randrange(len(stream) + 1) for _ in range(self.random.choice((0, 0, 1, 2, 5))))
        return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]

    def _request(self) -> bytes:
        who = self._known if self.random.random() < 0.7 else self._unknown
        target = self.random.choice(
            (
                b"/",
                b"/a/b?c=d",
                b"/public/x",
                b"/admin/x",
                b"/public/../admin",
                b"/en/login",
                b"/caf%c3%a9",
                self._absolute + b"/abs",
            )
        )
        form = b"Content-Type: application/x-www-form-urlencoded\r\n"
        body = self.random.choice(
            (
                b"hello",
                b"a=1&_method=PATCH",
                b"_method=DELETE",
                b'{"_method": "PUT"}',
                b"grant_type=refresh_token&refresh_token=x",
                b"x" * 300,
                b"grant_type=password",
            )
        )
        chunks = b"%x;a=b\r\n%b\r\n3\r\nend\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body)
        kinds: tuple[Callable[[], bytes], ...] = (
            lambda: b"GET %b HTTP/1.1\r\n%bX-Csrf: 1\r\n\r\n" % (target, who),
            lambda: b"HEAD %b HTTP/1.1\r\n%b\r\n" % (target, who),
            lambda: b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (target, who, len(body), body),
            lambda: b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n%b" % (target, who, chunks),
            lambda: b"POST /api/token HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (who, form, len(body), body),
            lambda: b"POST /api/token HTTP/1.1\r\n%b%bTransfer-Encoding: chunked\r\n\r\n%b" % (who, form, chunks),
            lambda: b"POST /a/b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (who, form, len(body), body),
            lambda: (
                b"PUT %b HTTP/1.1\r\n%bExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%b"
                % (target, who, len(body), body)
            ),
            lambda: b"GET %b HTTP/1.0\r\n%b\r\n" % (target, who),
            lambda: (
                b"OPTIONS %b HTTP/1.1\r\n%bOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
                % (target, who)
            ),
            lambda: b"GET /oauth2/userinfo HTTP/1.1\r\n%b\r\n" % who,
            lambda: b"GET /oauth2/auth HTTP/1.1\r\n%bX-Original-URL: http://a/b\r\n\r\n" % who,
            lambda: b"GET %b HTTP/1.1\r\n%bSec-Fetch-Mode: navigate\r\n\r\n" % (target, who),
            lambda: (
                b"GET /socket HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\nframes" % who
            ),
        )
        return self.random.choice(kinds)()

    def _broken(self, stream: bytes) -> bytes:
        size = len(stream)
        at, length = self.random.randrange(size + 1), self.random.choice((1, 1, 2, 8, 40))
        piece = stream[at : at + length]
        kind = self.random.randrange(7)
        if kind == 0 and at < size:
            return stream[:at] + bytes((stream[at] ^ (1 << self.random.randrange(8)),)) + stream[at + 1 :]
        if kind == 1:
            return stream[:at] + self.random.randbytes(length) + stream[at:]
        if kind == 2:
            return stream[:at] + self.random.choice(_PIECES) + stream[at:]
        if kind == 3:  # where a line begins
            lines = stream.split(b"\r\n")
            lines.insert(self.random.randrange(len(lines)), self.random.choice(_PIECES).removesuffix(b"\r\n"))
            return b"\r\n".join(lines)
        if kind == 4:
            return stream[:at] + stream[at + length :]
        if kind == 5:
            return stream[:at] + piece + stream[at:]
        return stream[:at] or stream


def reply(seen: Seen) -> Reply:
    """Every framing, by what was asked."""
    keys = seen.values("sec-websocket-key")
    if seen.values("upgrade"):
        proof = base64.b64encode(hashlib.sha1(keys[0] + _GUID).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
        return Reply([head % proof], joins=True)
    bare, body = seen.method == "HEAD", b"you asked for " + seen.target
    kind = (len(seen.target) + len(seen.body)) % 5
    if kind == 0:
        return Reply([b"HTTP/1.1 204 No Content\r\n\r\n"])
    if kind == 1:
        return Reply([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"])
    if kind == 2:
        chunked = b"" if bare else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return Reply(
            [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked]
        )
    if kind == 3:
        return Reply([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + (b"" if bare else body)], close=True)
    return Reply([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if bare else body)])


class _Client(asyncio.Protocol):
    """Sends, and takes whatever comes."""

    def __init__(self) -> None:
        self.received = 0
        self.gone = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()


@dataclass
class Trial:
    """Streams through one house. `problems` is what must stay empty."""

    house: House
    upstream: StrictUpstream
    identity: str
    raised: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sent: int = 0

    def listen(self) -> None:
        """Hear of everything that goes wrong without being said to a client."""
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.raised.append(context))
        logging.getLogger().addHandler(_Errors(self.errors))

    async def stream(self, pieces: Iterable[bytes]) -> None:
        """One connection: its bytes, then the wait until nothing more will come of them."""
        self.sent += 1
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(_Client, "127.0.0.1", self.house.port)
        port = transport.get_extra_info("sockname")[1]
        for piece in pieces:
            if not client.gone.is_set():
                transport.write(piece)
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            await eventually(lambda: client.gone.is_set() or self._settled(port))
        except AssertionError:
            self.problems.append("it hangs")
        transport.abort()

    def _settled(self, port: int) -> bool:
        """Whether the door waits for more from this client, and not the client for the door."""
        for connection in self.house.worker.context.connections:
            name = connection.transport.get_extra_info("peername")
            if name is not None and name[1] == port:
                if not isinstance(connection, Downstream):
                    return False  # a page of ours: its answer ends the connection
                waiting = connection.request is None and not connection._pending
                return waiting or connection.stream.body_open or connection._tunnel is not None
        return True

    async def verdict(self) -> list[str]:
        """Everything that is wrong with what happened since the last verdict."""
        door = self.house.worker.context
        try:
            await eventually(lambda: not door.connections and door.counters.in_flight == 0)
        except AssertionError:
            self.problems.append(
                f"{len(door.connections)} connections stay, {door.counters.in_flight} requests are in flight"
            )
        door.flush()
        lines = [json.loads(line) for line in b"".join(self.house.lines).splitlines()]
        self.house.lines.clear()
        told = {line["request_id"]: line for line in lines if line.get("log") == "access" and line["request_id"]}
        seen, self.upstream.seen = self.upstream.seen, []
        for request in seen:
            self._judge(request, told)
        arrived = Counter(request.values("x-request-id")[0].decode() for request in seen)
        self.problems += [f"{name} arrived {times} times" for name, times in arrived.items() if times != 1]
        for name, line in told.items():
            allowed = FORWARDED if name in arrived else OWN_ANSWERS
            if line["status"] not in allowed or (
                line["status"] == 200 and name not in arrived and line["rule"] != "own"
            ):
                self.problems.append(f"{'admitted' if name in arrived else 'own'}: {line}")
        self.problems += self.upstream.violations
        self.problems += [str(context) for context in self.raised] + self.errors
        self.upstream.violations, found, self.problems = [], self.problems, []
        self.raised.clear()
        self.errors.clear()
        return found

    def _judge(self, seen: Seen, told: dict[str, Any]) -> None:
        """What arrived, by the rules that are in force: admitted again, as the same request."""
        house = self.house
        site = house.worker.sites.of(house.host())
        users = seen.values("x-forwarded-user")
        line = told.get(seen.values("x-request-id")[0].decode()) if len(seen.values("x-request-id")) == 1 else None
        if line is None or line["method"] != seen.method or line["path"] != seen.target.partition(b"?")[0].decode():
            self.problems.append(f"not told of: {seen} {line}")
        crumbs = [crumb.strip(b" \t=").lower() for value in seen.values("cookie") for crumb in value.split(b";")]
        ours = [crumb for crumb in crumbs if crumb.startswith((b"doorward_", b"__host-doorward_"))]
        if seen.values("host") != [house.host().encode()] or ours:
            self.problems.append(f"host or cookie: {seen}")
        live = house.worker.cache.peek(self.identity, house.host()) if users else None
        if users not in ([], [b"bob"]) or (users and live is None):
            self.problems.append(f"identity: {seen}")
        head = RequestHead(seen.method, seen.target, house.host().encode(), seen.fields)
        body = seen.body if seen.complete else None
        now = house.worker.context._parts.now()
        decision = decide(Request(site, head, None, live, now, body=body, session_looked_up=True))
        if not isinstance(decision, Forward) or decision.wire != seen.target:
            self.problems.append(f"not admitted: {seen}: {decision}")


class _Errors(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))
