"""The worker process (`python -m gateway.runtime.worker CONTROL_FD LISTEN_FD`), which the parent starts.

It reads its configuration from a private socket, serves one listening socket, and obeys the parent's messages. It drains by
itself when the parent is gone, so that no orphan keeps a port.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, Final

import uvloop

from gateway.config.loader import build
from gateway.observability.logging import configure_logging
from gateway.runtime.composition import GatewayWorker

_log = logging.getLogger("doorward.worker")
_SETTLE_SECONDS: Final = 2.0


async def serve(control: socket.socket, listening: socket.socket) -> None:
    """Run one worker until the parent has it drain, or is gone."""
    reader, writer = await asyncio.open_connection(sock=control, limit=16 * 1024 * 1024)
    first = json.loads(await reader.readline())
    config = build(first["config"])
    configure_logging(config.log)
    worker = GatewayWorker(
        config, first["redis_url"], lambda line: _write_all(1, line),
        gateway=first["openings"]["gateway"], ended_openings=first["openings"]["ended"],
        on_opening_ended=lambda opening_id: _send(writer, {"opening_ended": opening_id}),
    )  # fmt: skip
    try:
        await worker.start()
        if config.openid.enabled:  # otherwise the first requests are refused as if the provider were down
            await worker.providers.wait_for_first_fetch(_SETTLE_SECONDS)
        await worker.listen(listening)
    except Exception as error:
        _log.exception("the worker cannot start")
        _send(writer, {"failed": f"worker {first['slot']} cannot start: {type(error).__name__}: {error}"})
        await writer.drain()
        raise
    # All objects made so far live as long as the process: the garbage collector need not visit them again.
    gc.collect()
    gc.freeze()
    _send(writer, {"ready": True})
    seconds = await _obey(worker, reader, writer)
    await worker.close(seconds)
    with contextlib.suppress(ConnectionError):  # so that the counts are not lost
        _send(writer, {"report": worker.report().to_json()})
        await writer.drain()


async def _obey(worker: GatewayWorker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Handle the parent's messages until one of them drains the worker; the seconds that it has for that."""
    while line := await reader.readline():
        message = json.loads(line)
        if message["do"] == "report":
            _send(writer, {"report": worker.report().to_json()})
        elif message["do"] == "mark_opening_ended":
            worker.break_glass.mark_ended([message["id"]])
        elif message["do"] == "give_notice":
            worker.give_notice()
        elif message["do"] == "drain":
            return float(message["seconds"])
    _log.warning("the parent process is gone: draining")
    return 5.0


def _send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(message).encode() + b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a pipe may take a part at a time, or have no reader."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return


def main() -> None:
    """The process's entry. Ctrl-C in a terminal reaches all processes of the group; only the parent acts on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard, hard)
    )  # two descriptors a request; 1024, the usual soft limit, are too few
    control = socket.socket(fileno=int(sys.argv[1]))
    listening = socket.socket(fileno=int(sys.argv[2]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(control, listening))


if __name__ == "__main__":
    main()
