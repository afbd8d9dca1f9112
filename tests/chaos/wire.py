"""A client that keeps its connection, and says in one word how it failed."""

import asyncio
import contextlib
import json

from tests.chaos.judging import Answer


class Failed(Exception):
    """`kind`: refused, reset, ended (before an answer), cut (inside it), silent (no answer in time). `reused`: the connection had served before."""

    def __init__(self, kind: str, *, reused: bool = False, started: bool = False) -> None:
        super().__init__(kind)
        self.kind, self.reused, self.started = kind, reused, started


class Client:
    """One connection at a time to one port of loopback."""

    def __init__(self, port: int, *, seconds: float = 10.0) -> None:
        self.port = port
        self._seconds = seconds
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._served = 0

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def connect(self) -> None:
        """Raises Failed."""
        try:
            async with asyncio.timeout(self._seconds):
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        except TimeoutError as error:
            raise Failed("silent connecting") from error
        except OSError as error:
            raise Failed("refused" if isinstance(error, ConnectionRefusedError) else "reset connecting") from error
        self._served = 0

    def local_port(self) -> int:
        assert self._writer is not None
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    async def ask(self, request: bytes) -> Answer:
        """Send the request, read its answer. Raises Failed."""
        if self._writer is None or self._writer.transport.is_closing():
            await self.connect()
        assert self._writer is not None
        reused, started = self._served > 0, False
        try:
            async with asyncio.timeout(self._seconds):
                self._writer.write(request)
                assert self._reader is not None
                head = await self._reader.readuntil(b"\r\n\r\n")
                started = True
                answer, closing = await self._rest(head)
        except TimeoutError as error:
            self.drop()
            raise Failed("silent", reused=reused, started=started) from error
        except asyncio.IncompleteReadError as error:
            self.drop()
            started = started or bool(error.partial)
            raise Failed("cut" if started else "ended", reused=reused, started=started) from error
        # A transport of uvloop that has ended meanwhile says so with a RuntimeError.
        except (OSError, RuntimeError, ValueError, asyncio.LimitOverrunError) as error:
            self.drop()
            kind = "reset" if isinstance(error, OSError | RuntimeError) else "unreadable"
            raise Failed(kind, reused=reused, started=started) from error
        self._served += 1
        if closing:
            self.drop()
        return answer

    async def _rest(self, head: bytes) -> tuple[Answer, bool]:
        assert self._reader is not None
        first, *lines = head.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                name = name.lower()
                fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
        status = int(first.split(" ")[1])
        body = b""
        if status not in (204, 304) and status >= 200:
            if "content-length" in fields:
                body = await self._reader.readexactly(int(fields["content-length"]))
            elif "chunked" in fields.get("transfer-encoding", ""):
                body = await self._chunks()
            else:
                body = await self._reader.read()
        code = ""
        if fields.get("content-type", "").startswith("application/problem+json"):
            with contextlib.suppress(ValueError):
                code = str(json.loads(body).get("code", ""))
        return Answer(status=status, headers=fields, body=body, code=code), "close" in fields.get(
            "connection", ""
        ).lower()

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        body = b""
        while size := int((await self._reader.readuntil(b"\r\n")).strip(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body

    async def wait_end(self) -> None:
        """Until the other side ends the connection."""
        assert self._reader is not None
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass
        self.drop()

    def ended(self) -> bool:
        """Whether the other side has said that it sends nothing more."""
        return self._reader is not None and (self._reader.at_eof() or self._reader.exception() is not None)

    def drop(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None
