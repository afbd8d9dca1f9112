"""A real Valkey, and a link to any server that can be made to misbehave."""

import asyncio
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from gateway.redis_client.embedded import EmbeddedValkey


@contextmanager
def running_valkey(*, keeps_data: bool = False) -> Iterator[EmbeddedValkey]:
    """A server of one's own: to be stopped, filled, locked, paused. With `keeps_data` it survives its own restart."""
    folder = Path(tempfile.mkdtemp(prefix="doorward-test-"))
    server = EmbeddedValkey(folder if keeps_data else None)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class FlakyLink:
    """Stands between clients and a server (`redis://host:port`, `http://host:port` or `unix:///path`), on a TCP port; with `tls`
    it speaks TLS to clients.

        `delay`: seconds that each piece waits, in either direction. `stall()`: pieces stop on their way, connections stay.
        `hold_answers()`: pieces from the server wait, and `held` counts them; `pass_answers()` lets through what waits, and
        `release_answers()` what comes later too.
        `cut()`: all connections are reset. `refuse()`: new ones are reset too. `restore()`: all is well again.
        `refuse_after(word)`: as if the server died right after the command that holds `word`.
    """

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.delay = 0.0
        self.port = 0
        self.accepted = 0
        self.held = 0
        self._gate: asyncio.Event | None = None
        self._target = urlsplit(target)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._last_word: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The way in, for a Redis client."""
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "FlakyLink":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._refusing = True
        self._flowing.set()
        self.release_answers()
        while self._serving:
            self.cut()
            await asyncio.wait(self._serving, timeout=0.1)

    def stall(self) -> None:
        self._flowing.clear()

    def hold_answers(self) -> None:
        self._gate = asyncio.Event()

    def pass_answers(self) -> None:
        self.release_answers()
        self.hold_answers()

    def release_answers(self) -> None:
        if self._gate is not None:
            self._gate.set()
        self._gate = None

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        self._refusing = True
        self.cut()

    def refuse_after(self, word: bytes) -> None:
        self._last_word = word

    def restore(self) -> None:
        self._refusing = False
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, far_writer, asked=True), self._pump(far_reader, writer))
        finally:
            self._writers -= both
            for end in both:
                end.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path)
        return await asyncio.open_connection(self._target.hostname, self._target.port)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool = False) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if asked and self._last_word == b"":
                    self._last_word = None
                    self.refuse()
                if asked and self._last_word and self._last_word in piece:
                    self._last_word = b""  # said; what is asked next finds nobody
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not asked and self._gate is not None:
                    self.held += 1
                    await self._gate.wait()
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()
