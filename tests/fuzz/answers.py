"""Answers of an upstream, broken at random: what a client sees is one sound message or the visible end of one, and nobody sees another's.

B-42 to B-47, B-54, D-03. The answers begin valid, in every framing, and are then flipped, cut, doubled and spliced. The client forgives nothing
(`tests.fakes.strict`). Behind every broken answer somebody else asks, maybe on the same connection to the upstream, and gets their own.
"""

import asyncio
import random
import re
from dataclasses import dataclass, field
from typing import Final

from tests.fakes.house import House
from tests.fakes.strict import Answer, StrictClient, StrictReader, Unclear
from tests.fakes.waiting import eventually

_PIECES: Final = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\xff", b"Content-Length: 3\r\n", b"Content-Length: 03\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n", b"HTTP/1.0",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", b"Connection: close\r\n", b"Connection: x-a\r\n", b"Set-Cookie: doorward_session=x\r\n",
    b"X-A: 1\r\n", b" folded\r\n", b"HTTP/2 200\r\n", b"204", b"304", b"a" * 3000, b"FFFFFFFFFFFFFFFFF\r\n", b"1;x=y\r\n",
)  # fmt: skip
_FIELDS: Final = (
    b"Content-Length: 3", b"Content-Length: 18", b"Content-Length: 0018", b"Content-Length: 18, 18", b"Content-Length: -1", b"Content-Length:", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked", b"transfer-encoding:  CHUNKED ", b"Connection: close", b"Connection: keep-alive, x-a", b"Upgrade: h2c",
    b"Set-Cookie: doorward_session=x", b"Trailer: X-T", b"X-A: caf\xe9", b"X-A : 1", b" folded", b"X-A", b": 1", b"X-A: \x01", b"Keep-Alive: timeout=1", b"Date: now",
)  # fmt: skip
#: What the gateway answers in the upstream's place.
_OWN: Final = frozenset((502, 504))
#: The one thing that is forgiven, since many servers do it: a status line without the blank behind the status.
_BARE = re.compile(rb"(HTTP/1\.[01] [1-9][0-9][0-9])\r\n")
_BODY: Final = b"what was asked for"


class Answers:
    """Makes answers from a seed; `next` is the bytes, and whether the connection ends behind them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def next(self, method: str) -> tuple[bytes, bool]:
        answer, close = self._sound(method)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            answer = self._broken(answer)
        return answer, close or self.random.random() < 0.8

    def _sound(self, method: str) -> tuple[bytes, bool]:
        body = b"" if method == "HEAD" else _BODY
        sized = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), body)
        chunks = b"6\r\nwhat w\r\nc;a=b\r\nas asked for\r\n0\r\nX-T: 1\r\n\r\n" if body else b""
        return self.random.choice(
            (
                (sized, False),
                (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "1"\r\n\r\n' + chunks, False),
                (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body, True),
                (b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\n" + body, True),
                (b"HTTP/1.1 204 No Content\r\n\r\n", False),
                (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False),
                (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + sized, False),
            )
        )

    def _broken(self, answer: bytes) -> bytes:
        at, length = self.random.randrange(len(answer) + 1), self.random.choice((1, 1, 2, 8, 40))
        kind = self.random.randrange(9)
        if kind == 0 and at < len(answer):
            return answer[:at] + bytes((answer[at] ^ (1 << self.random.randrange(8)),)) + answer[at + 1 :]
        if kind == 1:
            return answer[:at] + self.random.choice(_PIECES) + answer[at:]
        if kind == 2:
            lines = answer.split(b"\r\n")
            lines.insert(self.random.randrange(len(lines)), self.random.choice(_PIECES).removesuffix(b"\r\n"))
            return b"\r\n".join(lines)
        if kind == 3:
            return answer[:at] + answer[at + length :]
        if kind == 4:
            return answer[:at] + answer[at : at + length] + answer[at:]
        if kind == 5:
            return answer[:at] or answer
        first, *lines = answer.split(b"\r\n")  # a field more, in the head
        lines.insert(self.random.randrange(lines.index(b"") + 1) if b"" in lines else 0, self.random.choice(_FIELDS))
        return b"\r\n".join((first, *lines))


class BrokenUpstream:
    """Answers `/broken/...` with the next broken answer, and anything else soundly, with its target."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.said: dict[str, tuple[bytes, bool]] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        close = False
        try:
            while not close:
                method, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
                if target.startswith(b"/broken"):
                    answer, close = self._answers.next(method.decode())
                    self.said[target.decode()] = answer, close
                    writer.write(answer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass
class AnswerTrial:
    """Broken answers through one house. `problems` is what must stay empty; `kinds` counts what clients saw."""

    house: House
    upstream: BrokenUpstream
    cookie: str
    count: int = 0
    problems: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)

    async def one(self, method: str) -> None:
        """A broken answer for one, a sound one for another behind it."""
        self.count += 1
        number = self.count
        client = await StrictClient.open(self.house.port)
        try:
            await self._ask(client, method, f"/broken/{number}")
            answer = await client.answer(method, timeout=20)
            self._judge(method, answer, number)
            if answer.complete and answer.status not in _OWN:
                await self._compare(method, answer, number)
        except EOFError:
            self._seen("ended before its answer")
        except (Unclear, TimeoutError) as error:
            self._problem(number, f"{type(error).__name__} {error}")
        finally:
            client.close()
        other = await StrictClient.open(self.house.port)
        target = f"/canary/{number}"
        await self._ask(other, "GET", target)
        canary = await other.answer("GET", timeout=20)
        other.close()
        if canary.status not in _OWN and canary.body != target.encode():
            self._problem(number, f"the next was answered with {canary.body!r}")

    async def settled(self) -> None:
        """Nothing is left of anybody."""
        door = self.house.worker.context
        await eventually(lambda: not door.connections and door.counters.in_flight == 0)

    async def _ask(self, client: StrictClient, method: str, target: str) -> None:
        client.writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: {self.house.host()}\r\nCookie: {self.cookie}\r\n\r\n".encode()
        )

    def _judge(self, method: str, answer: Answer, number: int) -> None:
        self._seen(f"{answer.status // 100}xx {answer.framing} {'whole' if answer.complete else 'broken off'}")
        if answer.status == 101:
            self._problem(number, "a 101 that nobody asked for")
        if any(b"doorward_" in value for name, value in answer.fields if name.lower() == b"set-cookie"):
            self._problem(number, "a cookie of ours")
        lengths = answer.values("content-length")
        if method == "HEAD" and answer.framing != "none":
            self._problem(number, "a body for HEAD")
        if len(lengths) > 1 or (lengths and answer.values("transfer-encoding")):
            self._problem(number, "framed twice")

    async def _compare(self, method: str, answer: Answer, number: int) -> None:
        """What was passed on as whole is whole, and the same, to somebody who forgives nothing."""
        said, close = self.upstream.said[f"/broken/{number}"]
        reader = asyncio.StreamReader()
        reader.feed_data(_BARE.sub(rb"\1 \r\n", said))
        reader.feed_eof()
        try:
            alone = await StrictReader(reader).answer(method)
        except (Unclear, EOFError) as error:
            self._problem(number, f"passed on, and {type(error).__name__} {error}")
            return
        if not alone.complete or (alone.framing == "close" and not close):
            self._problem(number, "passed on as whole")
        if (alone.status, alone.body) != (answer.status, answer.body):
            self._problem(number, f"passed on as {answer.status} {answer.body!r}")

    def _problem(self, number: int, what: str) -> None:
        self.problems.append(f"{what}: {self.upstream.said.get(f'/broken/{number}')}")

    def _seen(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
