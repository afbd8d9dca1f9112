"""The worker process (`python -m gateway.runtime.worker CONTROL_FD LISTEN_FD`), which the parent starts.

It reads its configuration from a private socket, serves one listening socket, answers `report` and `drain`, and drains by itself when the
parent is gone: no orphan keeps a port.
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
    """Run one worker until it is told to drain, or its parent is gone."""
    reader, writer = await asyncio.open_connection(sock=control, limit=16 * 1024 * 1024)
    first = json.loads(await reader.readline())
    config = build(first["config"])
    configure_logging(config.log)
    worker = GatewayWorker(
        config, first["redis_url"], lambda line: _write_all(1, line),
        gateway=first["glass"]["gateway"], ended_openings=first["glass"]["over"],
        glass_over=lambda opening_id: _say(writer, {"glass_over": opening_id}),
    )  # fmt: skip
    try:
        await worker.start()
        if config.openid.enabled:  # the first to come should not be told that nobody can sign in
            await worker.providers.wait_asked(_SETTLE_SECONDS)
        await worker.listen(listening)
    except Exception as error:
        _log.exception("the worker cannot start")
        _say(writer, {"failed": f"worker {first['slot']} cannot start: {type(error).__name__}: {error}"})
        await writer.drain()
        raise
    # What was made so far lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    _say(writer, {"ready": True})
    seconds = await _obey(worker, reader, writer)
    await worker.close(seconds)
    with contextlib.suppress(ConnectionError):  # the last word: what was counted is not lost
        _say(writer, {"report": worker.report()})
        await writer.drain()


async def _obey(worker: GatewayWorker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Answer the parent until the worker is to drain; the seconds it has for that."""
    while line := await reader.readline():
        message = json.loads(line)
        if message["do"] == "report":
            _say(writer, {"report": worker.report()})
        elif message["do"] == "glass_over":
            worker.glass.learn_ended([message["id"]])
        elif message["do"] == "give_notice":
            worker.give_notice()
        elif message["do"] == "drain":
            return float(message["seconds"])
    _log.warning("the parent process is gone: draining")
    return 5.0


def _say(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(message).encode() + b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    """Standard output may be a pipe that takes a part only, or nobody."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return


def main() -> None:
    """The process's entry. Ctrl-C in a terminal reaches everybody: the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two descriptors a request; the usual 1024 are soon gone
    control = socket.socket(fileno=int(sys.argv[1]))
    listening = socket.socket(fileno=int(sys.argv[2]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(control, listening))


if __name__ == "__main__":
    main()
