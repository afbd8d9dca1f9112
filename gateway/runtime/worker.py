"""The worker process (`python -m gateway.runtime.worker CONTROL_FD LISTEN_FD...`), which the parent starts; and what any of its children does.

A child reads its configuration from a private socket, accepts connections from those listening sockets that the parent names, and obeys the
parent's messages. It drains by itself when the parent is gone, so that no orphan keeps a port.
"""

import asyncio
import contextlib
import gc
import json
import logging
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import uvloop

from gateway import __version__
from gateway.config.loader import build
from gateway.config.schema import Config
from gateway.observability.background import UnexpectedErrors, report_error
from gateway.observability.counters import WorkerCounts, WorkerReport
from gateway.observability.logging import LogStreams
from gateway.runtime.composition import GatewayWorker

_log = logging.getLogger("doorward.worker")
_SETTLE_SECONDS: Final = 2.0
_ORPHAN_SECONDS: Final = 5.0  # to drain when the parent is gone


class Served(Protocol):
    """What a child of the parent process is made of."""

    async def listen(self, sock: socket.socket) -> None: ...

    def ignore(self, sock: socket.socket) -> None: ...

    def give_notice(self) -> None: ...

    def mark_opening_ended(self, opening_id: str) -> None: ...

    def report(self) -> WorkerReport: ...

    async def close(self, seconds: float) -> None: ...


class Parent:
    """The private socket to the parent process. `sockets` are the listening sockets, in the order in which the parent counts them.

    `process_counts` are those of the process itself, and a part of each report.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sockets: Sequence[socket.socket]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._sockets = sockets
        self._served: dict[int, socket.socket] = {}
        self.process_counts = WorkerCounts()

    def report(self, worker: Served) -> None:
        """Send the worker's numbers and health."""
        report = worker.report()
        report.counts.merge(self.process_counts)
        self.send({"report": report.to_json()})

    def send(self, message: Mapping[str, Any]) -> None:
        """Nothing when the parent is gone."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def flush(self) -> None:
        """Until what was sent is written."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def obey(self, worker: Served) -> float:
        """Do what the parent says until it has the worker drain; the seconds that it has for that. Nothing is accepted any more then."""
        seconds = await self._obey(worker)
        await self._listen(worker, frozenset())
        # As long as one process holds a listening socket, new connections wait in its queue.
        for sock in self._sockets:
            sock.close()
        self.send({"draining": True})
        return seconds

    async def _obey(self, worker: Served) -> float:
        while line := await self._reader.readline():
            message = json.loads(line)
            if message["do"] == "drain":
                return float(message["seconds"])
            try:
                await self._obey_one(worker, message)
            except Exception as error:  # as too many open files: the connections that are open go on
                report_error(f"message:{message['do']}", error)
        _log.warning("the parent process is gone: draining")
        return _ORPHAN_SECONDS

    async def _obey_one(self, worker: Served, message: Mapping[str, Any]) -> None:
        if message["do"] == "report":
            self.report(worker)
        elif message["do"] == "listen":
            await self._listen(worker, frozenset(message["sockets"]))
        elif message["do"] == "mark_opening_ended":
            worker.mark_opening_ended(message["id"])
        elif message["do"] == "give_notice":
            worker.give_notice()

    async def _listen(self, worker: Served, wanted: frozenset[int]) -> None:
        """Accept from the sockets with these indexes alone. What is closed is a copy: others go on accepting from the same queue."""
        for index in self._served.keys() - wanted:
            worker.ignore(self._served.pop(index))
        for index in sorted(wanted - self._served.keys()):
            self._served[index] = self._sockets[index].dup()
            await worker.listen(self._served[index])


#: Makes and starts a child of a configuration, the parent's first message, and what takes log lines.
Build = Callable[[Config, Mapping[str, Any], Callable[[bytes], None], Parent], Awaitable[Served]]


async def build_worker(
    config: Config, first: Mapping[str, Any], write: Callable[[bytes], None], parent: Parent
) -> GatewayWorker:
    """A worker that has started, and has fetched the keys of the providers that answer."""
    worker = GatewayWorker(
        config, first["redis_url"], write, console=first["console"],
        gateway=first["openings"]["gateway"], ended_openings=first["openings"]["ended"],
        on_opening_ended=lambda opening_id: parent.send({"opening_ended": opening_id}),
    )  # fmt: skip
    await worker.start()
    if config.has_sign_in:  # otherwise the first requests are refused as if the provider were down
        await worker.providers.wait_for_first_fetch(_SETTLE_SECONDS)
    return worker


async def serve(control: socket.socket, sockets: Sequence[socket.socket], build_served: Build) -> None:
    """Run one child until the parent has it drain, or is gone."""
    reader, writer = await asyncio.open_connection(sock=control, limit=16 * 1024 * 1024)
    parent = Parent(reader, writer, sockets)
    first = json.loads(await reader.readline())
    if first["version"] != __version__:
        # The package was replaced on the disk: another release may take the same configuration in another way.
        what = f"the files of {__version__} are installed and the parent process is {first['version']}: restart it"
        parent.send({"failed": f"{first['name']} cannot start: {what}"})
        await parent.flush()
        return
    config = build(first["config"])
    streams, errors = LogStreams(config.log), UnexpectedErrors()
    errors.install()
    parent.process_counts = WorkerCounts(log_lines_dropped=streams.dropped, unexpected_errors=errors.counts)
    try:
        worker = await build_served(config, first, streams.output, parent)
    except Exception as error:
        _log.exception("%s cannot start", first["name"])
        parent.send({"failed": f"{first['name']} cannot start: {type(error).__name__}: {error}"})
        await parent.flush()
        raise
    # All objects made so far live as long as the process: the garbage collector need not visit them again.
    gc.collect()
    gc.freeze()
    parent.send({"ready": True})
    await worker.close(await parent.obey(worker))
    parent.report(worker)  # so that the counts are not lost
    await parent.flush()


def main(build_served: Build = build_worker) -> None:
    """The process's entry. Ctrl-C in a terminal reaches all processes of the group; only the parent acts on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard, hard)
    )  # two descriptors a request; 1024, the usual soft limit, are too few
    control = socket.socket(fileno=int(sys.argv[1]))
    sockets = [socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[2:]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(control, sockets, build_served))


if __name__ == "__main__":
    main()
