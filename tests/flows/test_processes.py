"""The parent and its workers: started, restarted, reloaded, drained."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from gateway.sessions.keyring import new_key
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.recorder import HalfAnswer, Recorded, RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire

SECRETS = {"DOORWARD_TEST_KEY": new_key(), "DOORWARD_TEST_SECRET": "very-secret-client-secret"}


@pytest.fixture
async def door(tmp_path: Path, upstream: RecordingUpstream) -> AsyncIterator[Running]:
    async with running(tmp_path, upstream.url, environ=SECRETS) as started:
        yield started


@pytest.fixture
async def small_door(tmp_path: Path, upstream: RecordingUpstream) -> AsyncIterator[Running]:
    """With one worker."""
    async with running(tmp_path, upstream.url, environ=SECRETS, workers=1) as started:
        yield started


async def test_the_admin_listener_tells_of_all_workers_and_each_dependency(door: Running) -> None:
    assert (await door.admin("/ping")).status == 200
    await eventually(lambda: _is(door, "redis", "ok"))
    ready = await door.ready()
    assert ready["workers"] == {"alive": 2, "wanted": 2}
    assert ready["status"] == "degraded"
    provider = ready["dependencies"]["provider"]
    assert provider["state"] == "failing"
    assert provider["last_error"] == "provider_unavailable"
    assert not provider["unready"]
    assert ready["dependencies"]["upstream:portal"]["state"] == "ok"
    for _ in range(20):
        assert (await door.ask("/open/x")).status == 200
    assert (await door.ask("/closed")).status == 401
    printed = (
        'doorward_requests_total{app="portal",code="200"} 20.0',
        'doorward_requests_total{app="portal",code="401"} 1.0',
        "doorward_requests_in_flight",
        "doorward_response_duration_seconds_bucket",
        "doorward_sessions_cached",
        "doorward_upstream_connections",
        'doorward_redis_duration_seconds_count{operation="session_read"}',
        'doorward_provider_duration_seconds_count{operation="discovery",provider="openid"}',
        "doorward_upstream_duration_seconds_count",
        "doorward_sessions 0.0",
        "doorward_build_info{",
        'process_resident_memory_bytes{process="worker"}',
        'process_open_fds{process="parent"}',
        "doorward_config_last_reload_successful 1.0",
        'doorward_dependency_up{dependency="redis"} 1.0',
        'doorward_dependency_up{dependency="provider"} 0.0',
    )

    async def all_is_printed() -> bool:
        metrics = (await door.admin("/metrics")).body.decode()
        return [name for name in printed if name not in metrics] == []

    await eventually(all_is_printed)
    assert (await door.ask("/metrics")).status == 401
    assert (await door.ask("/ready")).status == 401


async def test_all_that_is_said_has_one_shape_and_one_form_of_time(door: Running) -> None:
    """The parent's lines, the workers', access lines and events; from the first one on."""
    await eventually(lambda: "provider cannot be used" in door.errors)
    fields = f"Cookie: doorward_session={'0' * 43}\r\nSec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"
    assert (await door.ask("/closed", fields=fields)).status == 503
    door.rewrite(apps=5)
    door.hang_up()
    await eventually(lambda: "reload refused" in door.errors)
    await eventually(lambda: '"access"' in door.output)
    assert "doorward_config_last_reload_successful 0.0" in (await door.admin("/metrics")).body.decode()
    lines = [json.loads(line) for line in (door.errors + door.output).splitlines()]
    for line in lines:
        assert list(line)[:3] == ["time", "level", "log"], line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    said = " ".join(line.get("message", "") for line in lines)
    assert "app portal: surface portal" in said
    assert "ready on" in said
    assert {line["log"] for line in lines} >= {"doorward.run", "doorward.workers", "doorward.oidc", "access"}
    assert {line["pid"] for line in lines if "pid" in line} >= {door.process.pid, *door.workers()}


async def test_a_start_that_is_refused_says_why_in_the_same_shape(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("apps: {portal: {hosts: [a.example]}}\nlissten: x\n")
    command = (sys.executable, "-m", "gateway.cli.main", "run", str(config))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    lines = [json.loads(line) for line in errors.splitlines()]
    assert process.returncode == 1
    assert all((list(line)[:3], line["level"]) == (["time", "level", "log"], "error") for line in lines)
    assert [line for line in lines if line["message"].startswith("lissten: ")]


async def _is(door: Running, name: str, state: str) -> bool:
    dependencies: dict[str, dict[str, object]] = (await door.ready())["dependencies"]
    return name in dependencies and dependencies[name]["state"] == state


async def test_a_worker_that_dies_is_replaced_and_nobody_is_reset(door: Running) -> None:
    before = door.workers()
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    answers = await asyncio.gather(*(door.ask(f"/open/{number}") for number in range(40)))
    assert {answer.status for answer in answers} == {200}
    await eventually(lambda: len(door.workers()) == 2 and door.workers() != before)


async def test_sigterm_lets_open_requests_end_and_refuses_new_connections(
    door: Running, upstream: RecordingUpstream
) -> None:
    upstream.answer = half = HalfAnswer()
    wire = await Wire.open(door.port)
    await wire.send(f"GET /open/slow HTTP/1.1\r\nHost: portal.localhost:{door.port}\r\n\r\n".encode())
    await wire.reader.readuntil(b"\r\n\r\n")
    door.process.terminate()
    await eventually(lambda: _refused(door.port))
    assert door.process.returncode is None
    half.release.set()
    assert await asyncio.wait_for(wire.reader.readexactly(4), 60) == b"half"
    await wire.close()
    assert await asyncio.wait_for(door.process.wait(), 30) == 0
    assert "Traceback" not in door.errors


async def _refused(port: int) -> bool:
    try:
        wire = await Wire.open(port)
    except ConnectionRefusedError:
        return True
    await wire.close()
    return False


async def test_a_worker_opens_when_its_provider_had_a_moment_to_answer(
    tmp_path: Path, upstream: RecordingUpstream
) -> None:
    """D-06: after a crash or a restart nobody is told that the sign-in page cannot be reached while it can."""
    provider = MisbehavingProvider()

    async def at_leisure(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return await provider.serve_metadata(request)

    provider.faults["openid-configuration"] = at_leisure
    await provider.start()
    openid = {"authority_url": provider.issuer, "client_id": "doorward", "client_secret": "${DOORWARD_TEST_SECRET}"}
    try:
        async with running(tmp_path, upstream.url, environ=SECRETS, openid=openid) as door:
            for _ in range(8):
                answer = await door.ask("/closed", fields="Sec-Fetch-Mode: navigate\r\n")
                assert answer.status == 302
    finally:
        await provider.close()


async def test_ready_fails_before_anybody_is_turned_away(tmp_path: Path, upstream: RecordingUpstream) -> None:
    """D-07: a balancer sees it in time; kept connections are told to go elsewhere, at the end of an answer."""
    async with running(tmp_path, upstream.url, environ=SECRETS, shutdown={"notice": "60s", "drain": "1s"}) as door:
        assert (await door.admin("/ready")).status == 200
        kept = await Wire.open(door.port)
        asked = f"GET /open/x HTTP/1.1\r\nHost: portal.localhost:{door.port}\r\n\r\n".encode()
        await kept.send(asked)
        assert (await kept.response()).value("connection") is None
        door.process.terminate()
        await eventually(lambda: _ready_is(door, 503))
        assert (await door.ready())["status"] == "stopping"
        await kept.send(asked)
        answer = await kept.response()
        assert (answer.status, answer.value("connection")) == (200, "close")
        assert await kept.ended()
        assert (await door.ask("/open/new")).status == 200
        door.process.terminate()  # who asks twice does not want to wait
        await asyncio.wait_for(door.process.wait(), 60)
        assert door.process.returncode == 0


async def _ready_is(door: Running, status: int) -> bool:
    return (await door.admin("/ready")).status == status


async def test_open_sockets_hold_a_leaving_process_no_longer_than_it_may_drain(
    tmp_path: Path, upstream: RecordingUpstream
) -> None:
    """D-07."""

    async def never(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    upstream.answer = never
    async with running(tmp_path, upstream.url, environ=SECRETS, shutdown={"drain": "200ms"}) as door:
        wire = await Wire.open(door.port)
        await wire.send(f"GET /open/x HTTP/1.1\r\nHost: portal.localhost:{door.port}\r\n\r\n".encode())
        await eventually(lambda: upstream.requests)
        door.process.terminate()
        assert await wire.ended(timeout=20)
        await asyncio.wait_for(door.process.wait(), 60)


async def test_sighup_replaces_the_workers_and_each_stays_until_its_connections_have_ended(
    door: Running, upstream: RecordingUpstream
) -> None:
    before = door.workers()
    wire = await Wire.open(door.port)
    portal = {"hosts": [f"portal.localhost:{door.port}"], "upstream": upstream.url, "public": ["GET /new/**"]}
    door.rewrite(apps={"portal": portal})
    door.hang_up()
    await eventually(lambda: "reloaded: 2 new workers" in door.errors)
    assert (await door.ask("/new/x")).status == 200
    assert (await door.ask("/open/x")).status == 401
    await wire.close()
    await eventually(lambda: len(door.workers()) == 2 and not door.workers() & before)


async def test_sighup_with_problems_keeps_the_old_configuration_and_says_why(
    door: Running, upstream: RecordingUpstream
) -> None:
    before = door.workers()
    good = door.config.read_text()
    door.config.write_text(good.replace("upstream:", "upstraem:"))
    door.hang_up()
    await eventually(lambda: "the old configuration stays" in door.errors)
    assert "upstraem" in door.errors
    door.config.write_text(good)
    door.rewrite(workers=1)
    door.hang_up()
    await eventually(lambda: "workers needs a restart" in door.errors)
    assert door.workers() == before
    assert (await door.ask("/open/x")).status == 200


def _said(door: Running, text: str, times: int = 1) -> bool:
    return door.errors.count(text) == times


async def test_sighup_does_not_pretend_to_move_the_embedded_store(small_door: Running) -> None:
    before = small_door.workers()
    for url, changes, name in (
        ("embedded", {"data_dir": "elsewhere"}, "redis.data_dir"),
        ("redis://127.0.0.1:9", {}, "redis.url"),
    ):
        small_door.rewrite(redis={"url": url, **changes})
        small_door.hang_up()
        await eventually(partial(_said, small_door, f"{name} needs a restart"))
    assert small_door.workers() == before


async def test_a_reload_is_not_held_up_by_what_the_last_one_drains(door: Running, upstream: RecordingUpstream) -> None:
    upstream.answer = half = HalfAnswer()
    wire = await Wire.open(door.port)
    await wire.send(f"GET /open/slow HTTP/1.1\r\nHost: portal.localhost:{door.port}\r\n\r\n".encode())
    await wire.reader.readuntil(b"\r\n\r\n")
    for times in (1, 2):
        door.hang_up()
        await eventually(partial(_said, door, "reloaded: ", times))
    fresh = max(door.workers())
    os.kill(fresh, signal.SIGKILL)
    await eventually(lambda: f"(pid {fresh}) died" in door.errors)
    half.release.set()
    assert await asyncio.wait_for(wire.reader.readexactly(4), 60) == b"half"
    await wire.close()


async def test_secrets_reach_workers_neither_by_argument_nor_by_environment(small_door: Running) -> None:
    """C-48."""
    assert (await small_door.ask("/open/x")).status == 200
    for pid, command in small_door.children().items():
        environ = Path(f"/proc/{pid}/environ").read_text()
        for secret in SECRETS.values():
            assert secret not in command
            if pid in small_door.workers():
                assert secret not in environ
    for secret in SECRETS.values():
        assert secret not in small_door.errors + small_door.output


async def test_the_embedded_store_listens_on_no_port_and_is_started_again(small_door: Running) -> None:
    store = next(pid for pid, command in small_door.children().items() if "valkey-server" in command)
    ports = re.findall(r":([0-9A-F]{4}) 00000000:0000 0A", Path(f"/proc/{store}/net/tcp").read_text())
    inodes = {os.readlink(link) for link in Path(f"/proc/{store}/fd").iterdir() if link.is_symlink()}
    listening = [line.split() for line in Path(f"/proc/{store}/net/tcp").read_text().splitlines()[1:]]
    assert ports
    assert not [line for line in listening if line[3] == "0A" and f"socket:[{line[9]}]" in inodes]
    os.kill(store, signal.SIGKILL)
    await eventually(
        lambda: any("valkey-server" in command for pid, command in small_door.children().items() if pid != store)
    )
    await eventually(lambda: _is(small_door, "redis", "ok"))


async def test_a_second_door_on_the_same_port_says_which_port(
    door: Running, tmp_path: Path, upstream: RecordingUpstream
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(door.config.read_text())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli.main",
        "run",
        str(other),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **SECRETS},
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{door.port}" in errors.decode()


async def test_a_counter_never_goes_back_when_a_worker_dies_or_a_reload_replaces_it(door: Running) -> None:
    for number in range(20):
        assert (await door.ask(f"/open/{number}")).status == 200
    assert await _answered(door) == 20
    before = door.workers()
    os.kill(min(before), signal.SIGKILL)
    await eventually(lambda: len(door.workers()) == 2 and door.workers() != before, within=60)
    await eventually(lambda: _alive(door, 2), within=60)
    assert await _answered(door) == 20
    after = door.workers()
    door.hang_up()
    await eventually(lambda: len(door.workers()) == 2 and not door.workers() & after, within=60)
    assert await _answered(door) == 20


async def _answered(door: Running) -> float:
    metrics = (await door.admin("/metrics")).body.decode()
    (count,) = re.findall(r'doorward_requests_total\{app="portal",code="200"\} ([0-9.]+)', metrics)
    return float(count)


async def _alive(door: Running, count: int) -> bool:
    return bool((await door.ready())["workers"]["alive"] == count)


async def test_workers_and_the_embedded_store_end_by_themselves_when_the_parent_is_killed(door: Running) -> None:
    """D-06: kill -9 leaves no process, no port and no file behind."""
    assert (await door.ask("/open/x")).status == 200
    left = set(door.children())
    store = next(pid for pid, command in door.children().items() if "valkey-server" in command)
    folder = Path(os.readlink(f"/proc/{store}/cwd"))
    assert len(left) == 4  # two workers, the store, its watchdog
    door.process.kill()
    await door.process.wait()
    await eventually(lambda: not any(_runs(pid) for pid in left))
    assert not folder.exists()
    assert await _refused(door.port)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False
