"""The console's process (`python -m gateway.runtime.console CONTROL_FD LISTEN_FD`), which the parent starts beside the workers."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from gateway.config.loader import Resolved
from gateway.config.schema import Config
from gateway.console.app import ConsoleApp
from gateway.console.page import ConsoleParts
from gateway.observability.counters import Durations, WorkerCounts, WorkerReport
from gateway.observability.events import Audit
from gateway.redis_client.client import connect
from gateway.runtime.worker import Parent, main
from gateway.sessions.keyring import KeyRing
from gateway.telemetry.event_log import EventLog, losses, open_event_log

_LAST_EVENTS_SECONDS: Final = 1.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ConsoleWorker:
    """All parts of the console's process. `write` takes log lines; `redis_url` is the embedded server's, if there is one; `source` the file."""

    def __init__(self, config: Config, redis_url: str | None, write: Callable[[bytes], None], source: Resolved) -> None:
        self._durations = Durations()
        self._audit = Audit(write, pii_full=config.log.pii == "full")
        self._stopping = asyncio.Event()
        self._redis = connect(config.redis, redis_url, durations=self._durations)
        self._parts = parts = ConsoleParts(
            config=config, redis=self._redis, ring=KeyRing(config.keys), audit=self._audit, now=_utc_now, stopping=self._stopping, source=source,
        )  # fmt: skip
        self._event_log: EventLog | None = None
        self._parts = parts
        self._runner = web.AppRunner(
            ConsoleApp(parts).build(), handle_signals=False, access_log=None, auto_decompress=False
        )
        self._servers: dict[socket.socket, asyncio.AbstractServer] = {}

    async def start(self) -> None:
        """Nothing else has to be up for that: a page that needs Redis says so when it is asked for."""
        self._event_log = open_event_log(self._parts.config, self._redis, self._parts.ring, self._audit)
        await self._runner.setup()

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections from a bound unix socket."""
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        self._servers[sock] = await loop.create_unix_server(server, sock=sock)

    def ignore(self, sock: socket.socket) -> None:
        """Accept from this socket no more. Its connections stay."""
        self._servers.pop(sock).close()

    def give_notice(self) -> None:
        """Nothing: the workers are the console's only clients, and they open another connection when one closes."""

    def mark_opening_ended(self, opening_id: str) -> None:
        """Nothing: no opening of break-glass is about the console."""

    def report(self) -> WorkerReport:
        """This process's numbers."""
        return WorkerReport(
            counts=WorkerCounts(
                events=self._audit.counts,
                outcomes=self._audit.outcomes,
                log_lines_dropped=losses(self._event_log),
                durations=dict(self._durations.by_labels),
                cpu_seconds=time.process_time(),
            )
        )

    async def close(self, seconds: float) -> None:
        """Let the requests end, at most for `seconds`, then close all connections."""
        self._stopping.set()
        self._parts.probe.cancel()
        self._parts.check_up.cancel()
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(seconds)
        await self._runner.cleanup()
        if self._event_log is not None:
            await self._event_log.close(_LAST_EVENTS_SECONDS)
        await self._redis.aclose()


async def build_console(
    config: Config, first: Mapping[str, Any], write: Callable[[bytes], None], parent: Parent
) -> ConsoleWorker:
    """The console's parts, started."""
    console = ConsoleWorker(config, first["redis_url"], write, Resolved.from_json(first["source"]))
    await console.start()
    return console


if __name__ == "__main__":
    main(build_console)
