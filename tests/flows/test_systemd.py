"""As a systemd service: the socket outlives the process, and the manager knows its state (D-07)."""

import asyncio
import json
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from gateway.sessions.keyring import new_key
from tests.fakes.house import NOBODY, free_port
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.service_manager import ServiceManager
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire

SECRETS = {"DOORWARD_TEST_KEY": new_key(), "DOORWARD_TEST_SECRET": "very-secret-client-secret"}
BODY = b"b" * 5000


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[ServiceManager]:
    started = ServiceManager(tmp_path, SECRETS)
    yield started
    started.close()


@pytest.fixture
def config(tmp_path: Path, manager: ServiceManager, upstream: RecordingUpstream) -> Path:
    portal = {"hosts": [f"portal.localhost:{manager.port}"], "upstream": upstream.url, "public": ["* /open/**"]}
    data = {
        "listen": f"127.0.0.1:{manager.port}",
        "admin_listen": f"127.0.0.1:{free_port()}",
        "external_url_scheme": "http",
        "workers": 2,
        "keys": ["${DOORWARD_TEST_KEY}"],
        "openid": {"authority_url": NOBODY, "client_id": "doorward", "client_secret": "${DOORWARD_TEST_SECRET}"},
        "apps": {"portal": portal},
        "shutdown": {"drain": "30s"},
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


async def client(manager: ServiceManager, counts: Counter[str], over: asyncio.Event) -> None:
    """Requests with bodies on a kept connection, and on the next one when an answer says that it ends."""
    head = f"POST /open/x HTTP/1.1\r\nHost: portal.localhost:{manager.port}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    wire: Wire | None = None
    while not over.is_set():
        try:
            wire = wire or await Wire.open(manager.port)
            await wire.send(head.encode() + BODY)
            response = await wire.response(timeout=90)
        except ConnectionRefusedError:
            counts["refused"] += 1
            continue
        except (OSError, EOFError) as error:
            counts[f"lost ({type(error).__name__})"] += 1
            wire = None
            continue
        counts[str(response.status)] += 1
        if response.value("connection") == "close":
            await wire.close()
            wire = None
    if wire is not None:
        await wire.close()


async def test_a_restart_refuses_no_connection_and_loses_no_request(manager: ServiceManager, config: Path) -> None:
    process = await manager.start(config)
    await eventually(lambda: manager.received("READY=1") == 1, within=90)
    counts: Counter[str] = Counter()
    over = asyncio.Event()
    clients = [asyncio.create_task(client(manager, counts, over)) for _ in range(8)]
    await eventually(lambda: counts["200"] > 50)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert manager.received("STOPPING=1") == 1
    before = counts["200"]
    process = await manager.start(config)
    await eventually(lambda: manager.received("READY=1") == 2, within=90)
    await eventually(lambda: counts["200"] > before + 50)
    over.set()
    await asyncio.gather(*clients)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert set(counts) == {"200"}, counts


async def reload(config: Path, pid: int) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", "reload", str(config), "--pid", str(pid),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, **SECRETS},
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_reload_command_ends_with_the_result_of_the_reload(manager: ServiceManager, config: Path) -> None:
    process = await manager.start(config)
    await eventually(lambda: manager.received("READY=1") == 1, within=90)
    try:
        assert await reload(config, process.pid) == (0, "reloaded\n")
        assert manager.received("RELOADING=1") == 1
        assert re.search(r"^MONOTONIC_USEC=\d+$", "\n".join(manager.states), re.M)
        assert manager.received("READY=1") == 2
        good = config.read_text()
        config.write_text(good.replace("upstream:", "upstraem:"))
        status, output = await reload(config, process.pid)
        assert (status, "upstraem" in output) == (1, True)
        config.write_text(good.replace("workers: 2", "workers: 1"))
        status, output = await reload(config, process.pid)
        assert (status, "reload failed: workers needs a restart" in output) == (1, True)
        await eventually(lambda: manager.received("READY=1") == 3)
        assert any("reload refused" in state for state in manager.states)
        config.write_text(good)
        status, output = await reload(config, 1)
        assert (status, "process 1 is not the gateway" in output) == (1, True)
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)
    status, output = await reload(config, process.pid)
    assert (status, "the admin listener does not answer: the connection was refused" in output) == (1, True), output


async def test_a_socket_of_another_address_is_refused_with_both_named(manager: ServiceManager, config: Path) -> None:
    config.write_text(config.read_text().replace(f"listen: 127.0.0.1:{manager.port}", "listen: 127.0.0.1:9", 1))
    process = await manager.start(config)
    assert await asyncio.wait_for(process.wait(), 60) == 1
    assert f"listens on 127.0.0.1:{manager.port}, but listen is 127.0.0.1:9" in manager.errors


async def test_a_worker_of_another_release_does_not_start() -> None:
    """Files on the disk were replaced while the parent process runs: its next worker would be of another release."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.runtime.worker", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
        )
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(json.dumps({"version": "0.0.1", "name": "worker 3"}).encode() + b"\n")
    message = json.loads(await asyncio.wait_for(reader.readline(), 60))
    assert message["failed"].startswith("worker 3 cannot start: the files of ")
    assert "the parent process is 0.0.1: restart it" in message["failed"]
    assert await asyncio.wait_for(process.wait(), 60) == 0
    writer.close()
