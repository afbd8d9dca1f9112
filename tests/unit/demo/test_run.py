"""`doorward demo`: what it refuses to start on, what it hands to the child, what it prints."""

import asyncio
import io
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from gateway.config.loader import load_config
from gateway.demo.gateway_process import GatewayFailed, GatewayProcess
from gateway.demo.pages import ASSETS
from gateway.demo.people import PEOPLE
from gateway.demo.run import _child_environ, run_demo
from gateway.demo.settings import Ports, Upstreams, render_settings
from gateway.demo.welcome import print_welcome

PORTS = Ports(gateway=4180)
UPSTREAMS = Upstreams(
    portal="http://127.0.0.1:1", dashboard="http://127.0.0.1:2", directory="http://127.0.0.1:3", directory_user="sso"
)


def free_base() -> int:
    """A port whose followers (one more, ten more) are free too, at this moment."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            base: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", base + 1))
                three.bind(("127.0.0.1", base + 10))
            except (OSError, OverflowError):
                continue
            return base


def test_the_generated_file_is_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "doorward.yaml"
    file.write_text(yaml.safe_dump(render_settings(PORTS, UPSTREAMS, ASSETS / "favicon.svg")))
    config = load_config(file, _child_environ({}, "client-secret"))
    assert config.openid.unregistered_when_sso_only == "create"
    assert config.apps["portal"].hosts == ("portal.localhost:4180",)


def test_the_child_gets_no_override_that_was_meant_for_another_doorward() -> None:
    environ = _child_environ({"DOORWARD__LISTEN": "0.0.0.0:1", "DOORWARD_KEY": "x", "PATH": "/bin"}, "client-secret")
    assert "DOORWARD__LISTEN" not in environ
    assert environ["PATH"] == "/bin"
    assert environ["DOORWARD_KEY"] != "x"


@pytest.mark.parametrize("offset", [0, 1, 10])
async def test_a_port_in_use_is_named_and_nothing_is_started(offset: int) -> None:
    said = io.StringIO()
    base = free_base()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + offset))
        taken.listen()
        assert await run_demo(base, Console(file=said)) == 1
    assert f"port {base + offset}" in said.getvalue()
    assert "--port" in said.getvalue()


async def test_a_port_out_of_range_is_refused() -> None:
    said = io.StringIO()
    assert await run_demo(70_000, Console(file=said)) == 1
    assert "allowed: 1024 to 65000" in said.getvalue()


def test_the_welcome_names_the_places_the_people_and_three_things_to_try() -> None:
    said = io.StringIO()
    print_welcome(Console(file=said, width=80), PORTS, date(2026, 11, 23), Path("/tmp/demo"))
    text = said.getvalue()
    for person in PEOPLE:
        assert person.email in text
        assert person.role in text
    for wanted in (
        "http://portal.localhost:4180/bookings?day=2026-11-24\n",
        "http://dashboard.localhost:4180/",
        "curl -i -H 'Host: portal.localhost:4180' http://127.0.0.1:4180/api/token -d grant_type=password",
        "unregistered_when_sso_only: create",
        "/tmp/demo",
    ):
        assert wanted in text


async def test_a_child_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    missing = GatewayProcess(tmp_path / "no-such.yaml", log, dict(os.environ), "http://127.0.0.1:9/ready")
    await missing.start()
    with pytest.raises(GatewayFailed, match=r"(?s)ended with status [1-9].*no-such.yaml"):
        await missing.wait_ready(20)
    await missing.stop()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """pytest's own folders have names that are too long for the path of a unix socket."""
    with tempfile.TemporaryDirectory(prefix="dw-") as folder:
        yield Path(folder)


async def test_the_whole_demo_starts_serves_and_ends_on_a_signal(short_folder: Path) -> None:
    base = free_base()
    command = f"import sys; from gateway.demo.run import main; sys.exit(main({base}))"
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(short_folder)},
    )
    assert demo.stdout is not None
    try:
        said = b""
        async with asyncio.timeout(120):
            while b"Ctrl-C ends all of it." not in said:
                line = await demo.stdout.readline()
                assert line, said.decode()
                said += line
        assert f"http://portal.localhost:{base}/".encode() in said
        status, head = await ask(base, "GET /bookings?day=2026-11-24 HTTP/1.1", "Accept: text/html")
        assert (status, f"Location: http://localhost:{base + 10}/" in head) == (302, True)
        status, _ = await ask(base, "GET /assets/harbour.css HTTP/1.1")
        assert status == 200
        demo.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(demo.wait(), 30) == 0
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    assert list(short_folder.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", base)) != 0


async def ask(port: int, request_line: str, *fields: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [request_line, f"Host: portal.localhost:{port}", "Connection: close", *fields]
    writer.write("\r\n".join((*lines, "", "")).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return int(head.split()[1]), head
