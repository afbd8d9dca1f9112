"""The embedded server: private, quiet, and true to its data."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.redis_client.embedded import EmbeddedValkey
from tests.fakes.valkey import running_valkey
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import a_client


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dw-") as path:
        yield Path(path)


async def pid_of(client: Redis) -> int:
    return int((await client.info("server"))["process_id"])


async def test_it_listens_on_a_socket_that_only_we_reach_and_on_no_port() -> None:
    """C-48: no password, so no way in for others."""
    with running_valkey() as server:
        path = Path(server.url.removeprefix("unix://"))
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        async with a_client(server.url) as client:
            assert (await client.config_get("port"))["port"] == "0"
    assert not path.parent.exists()


async def test_with_a_data_dir_it_remembers_and_without_one_it_forgets(folder: Path) -> None:
    for data_dir, kept in ((folder, b"value"), (None, None)):
        server = EmbeddedValkey(data_dir)
        server.start()
        async with a_client(server.url) as client:
            await client.set("name", "value")
        server.stop()
        server.start()
        async with a_client(server.url) as client:
            assert await client.get("name") == kept
        server.stop()


async def test_the_folder_in_data_dir_is_closed_to_others_even_if_it_was_open(folder: Path) -> None:
    (folder / "valkey").mkdir(mode=0o755)
    server = EmbeddedValkey(folder)
    server.start()
    server.stop()
    assert stat.S_IMODE((folder / "valkey").stat().st_mode) == 0o700


async def test_ctrl_c_does_not_end_it() -> None:
    """The terminal sends SIGINT to everybody; those who still drain need their sessions."""
    with running_valkey() as server:
        async with a_client(server.url) as client:
            pid = await pid_of(client)
            os.kill(pid, signal.SIGINT)
            for _ in range(20):
                await client.ping()
            assert await pid_of(client) == pid


def test_a_data_dir_serves_one_gateway_at_a_time(folder: Path) -> None:
    first, second = EmbeddedValkey(folder), EmbeddedValkey(folder)
    first.start()
    try:
        with pytest.raises(RuntimeError, match="another process"):
            second.start()
    finally:
        first.stop()
    second.start()
    second.stop()


async def test_a_server_whose_gateway_was_killed_is_replaced_and_its_data_kept(folder: Path) -> None:
    """D-06."""
    program = (
        "import os, sys; from pathlib import Path; from redis import Redis; from gateway.redis_client.embedded import EmbeddedValkey;"
        "server = EmbeddedValkey(Path(sys.argv[1])); server.start(); client = Redis.from_url(server.url); client.set('name', 'value');"
        "print(client.info('server')['process_id'], flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    orphan = int(killed.stdout)
    server = EmbeddedValkey(folder)
    server.start()
    try:
        async with a_client(server.url) as client:
            assert await pid_of(client) != orphan
            assert await client.get("name") == b"value"
        await eventually(lambda: is_gone(orphan))
    finally:
        server.stop()


async def test_the_watchdog_of_a_killed_gateway_leaves_the_next_gateway_s_server_alone(folder: Path) -> None:
    """D-06: both have the same folder and socket."""
    program = (
        "import os, sys; from pathlib import Path; from gateway.redis_client.embedded import EmbeddedValkey;"
        "server = EmbeddedValkey(Path(sys.argv[1])); server.start(); print(server._watchdog.pid, flush=True);"
        "os.kill(server._watchdog.pid, 19); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, check=False
    )
    watchdog = int(killed.stdout)
    server = EmbeddedValkey(folder)
    server.start()
    try:
        os.kill(watchdog, signal.SIGCONT)
        await eventually(lambda: is_gone(watchdog))
        async with a_client(server.url) as client:
            assert await client.ping()
    finally:
        server.stop()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


def test_stopping_what_does_not_run_does_nothing(folder: Path) -> None:
    server = EmbeddedValkey(folder)
    server.stop()
    server.start()
    server.stop()
    server.stop()


@pytest.mark.parametrize("name", ["x" * 100, "with blank", 'with"quote'])
def test_a_data_dir_that_cannot_be_used_is_refused_with_the_reason(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"redis\.data_dir"):
        EmbeddedValkey(folder / name)


def test_a_socket_that_nobody_serves_any_more_is_no_obstacle(folder: Path) -> None:
    (folder / "valkey").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "valkey" / "valkey.sock"))
    server = EmbeddedValkey(folder)
    server.start()
    server.stop()
