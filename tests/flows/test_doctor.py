"""`doorward doctor`: nothing is broken in a healthy set-up, and each fault has its line."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import main as cli
from gateway.config.loader import build
from gateway.demo.provider import DemoClient
from gateway.operations.doctor.bypass import bypass_lines, own_addresses
from gateway.operations.doctor.examination import Surroundings, examine_set_up
from gateway.operations.doctor.front import FrontAddress, certificate_line
from gateway.operations.doctor.line import Line, State
from gateway.operations.doctor.machine import Room, gateway_lines, machine_lines
from gateway.operations.doctor.store import store_lines
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.sessions.key_ages import KeyAges
from gateway.sessions.keyring import KeyRing, new_key
from tests.fakes.authority import Authority
from tests.fakes.directories import NexudusApi
from tests.fakes.house import NOBODY, House
from tests.fakes.provider import MisbehavingProvider, says
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import running
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse

NOW = datetime.now(UTC)
PLENTY = Room(free=50 * 1024**3, files=0)
HERE = Surroundings(now=NOW, own_addresses=list, room=lambda folder: PLENTY)
CLOSED = {"prevent_password_login": True}
PORTAL = {"portal": {"password_routes": "nexudus", "client_headers": ["client_id"]}}


async def examined(house: House, around: Surroundings = HERE, **changes: Any) -> dict[str, Line]:
    """The lines by name. `changes` are sections of the configuration that differ from the running gateway's."""
    config = house.worker.config.model_copy(update=changes)
    return {line.name: line for line in await examine_set_up(config, around)}


def states(lines: dict[str, Line], *wanted: State) -> set[str]:
    return {name for name, line in lines.items() if line.state in (wanted or (State.BROKEN,))}


# --- a healthy one ----------------------------------------------------------------------------------------------------


async def doctor(*words: str, environ: dict[str, str]) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli.app, ["doctor", *words], env=environ)


async def test_a_healthy_set_up_has_nothing_broken_and_names_the_addresses_to_register(
    provider: MisbehavingProvider, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    """The real processes, and an embedded store that keeps its data."""
    openid = {"authority_url": provider.issuer, "client_id": "doorward", "client_secret": "secret", **CLOSED}
    provider.register(DemoClient(client_id="doorward", redirect_uris=(), client_secret="secret"))
    environ = {"DOORWARD_TEST_KEY": new_key()}
    keeping: dict[str, Any] = {"redis": {"data_dir": str(tmp_path / "data")}, "limits": {"connections": 1000}}
    keeping["console"] = {"hosts": ["console.localhost:1"], "require": {"groups": ["ops"]}}
    async with running(tmp_path, upstream.url, environ=environ, openid=openid, **keeping) as door:

        async def well() -> bool:
            return bool((await door.ready())["status"] == "ready")

        await eventually(well, within=60)
        here = ("--connect", f"127.0.0.1:{door.port}")
        done = await doctor(str(door.config), "--json", *here, environ=environ)
        text = await doctor(str(door.config), *here, environ=environ)
    document = json.loads(done.stdout)
    lines = {line["name"]: line for line in document["lines"]}
    origin = f"http://portal.localhost:{door.port}"
    assert (done.exit_code, text.exit_code) == (0, 0), done.stdout
    assert {name for name, line in lines.items() if line["state"] not in ("ok", "warning")} == set()
    for name in (
        "redis", "redis persistence", "key ring", "provider discovery", "provider keys", "provider client authentication", "provider clock",
        "apps.portal.upstream", f"{origin} public address", f"{origin} sign-in", f"{origin} cookie", "gateway", "file descriptors",
        "apps.portal password doors",
    ):  # fmt: skip
        assert lines[name]["state"] == "ok", lines[name]
    assert lines["disk of redis.data_dir"]["state"] in ("ok", "warning")  # this machine's own disk
    assert lines["provider redirect_uris"]["addresses"] == [
        f"{origin}/oauth2/callback",
        "http://console.localhost:1/oauth2/callback",
    ]
    assert lines["provider post_logout_redirect_uris"]["addresses"][0] == f"{origin}/oauth2/signed_out"
    assert lines["http://console.localhost:1 sign-in"]["state"] == "ok"
    assert f"\n           {origin}/oauth2/callback\n" in text.stdout
    assert text.stdout.splitlines()[-1].startswith(f"{len(lines)} lines: ")


async def test_a_file_with_problems_is_not_examined(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("apps: {}\n")
    done = await doctor(str(path), environ={})
    assert (done.exit_code, done.stdout) == (1, "")
    good = {"keys": [new_key()], "openid": {"enabled": False}, "external_url_scheme": "http"}
    path.write_text(json.dumps({**good, "apps": {"portal": {"hosts": ["portal.localhost"], "upstream": NOBODY}}}))
    done = await doctor(str(path), "--connect", "nowhere", environ={})
    assert (done.exit_code, "allowed: HOST:PORT" in done.stderr) == (2, True)


async def test_a_broken_set_up_has_exit_status_1_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    good = {"keys": [new_key()], "openid": {"enabled": False}, "external_url_scheme": "http"}
    path.write_text(json.dumps({**good, "apps": {"portal": {"hosts": ["portal.localhost:9"], "upstream": NOBODY}}}))
    done = await doctor(str(path), environ={})
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if " apps.portal.upstream " in line]
    assert line.startswith("BROKEN ")
    assert "the connection was refused. To do: start the application" in line


# --- what the gateway depends on --------------------------------------------------------------------------------------


async def test_each_dependency_that_fails_has_its_line(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    config = house.worker.config
    gone = config.redis.model_copy(update={"url": build_redis("redis://127.0.0.1:9")})
    lines = await examined(house, redis=gone)
    assert states(lines) == {"redis"}
    assert lines["redis persistence"].state is lines["key ring"].state is State.UNKNOWN

    wrong = config.openid.model_copy(update={"client_secret": type(config.redis.url)("another")})
    assert states(await examined(house, openid=wrong)) == {"provider client authentication"}

    dead = {"portal": config.apps["portal"].model_copy(update={"upstream": (NOBODY,)})}
    assert states(await examined(house, apps=dead)) == {"apps.portal.upstream"}

    elsewhere = config.openid.model_copy(update={"authority_url": provider.issuer + "/realm"})
    lines = await examined(house, openid=elsewhere)
    assert states(lines) == {"provider discovery"}
    assert lines["provider keys"].state is State.UNKNOWN


def build_redis(url: str) -> Any:
    app = {"hosts": ["portal.localhost"], "upstream": NOBODY}
    base = {"keys": [new_key()], "openid": {"enabled": False}, "external_url_scheme": "http", "apps": {"portal": app}}
    return build({**base, "redis": {"url": url}}).redis.url


async def test_a_directory_that_refuses_the_credentials_has_its_lines(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    async with NexudusApi() as api:
        openid = {"create_users": True}
        house = await open_house(provider=provider, apps=PORTAL, directory=api.section(), openid=openid)
        lines = await examined(house)
        assert lines["directory"].state is State.OK
        assert lines["directory rights"].state is State.UNKNOWN
        assert "may write (create)" in lines["directory rights"].means
        wrong = build({**_bare(house), "directory": api.section(password="another"), "openid": {"enabled": False}})
        lines = await examined(house, directory=wrong.directory)
        assert states(lines) == {"directory", "directory rights"}


def _bare(house: House) -> dict[str, Any]:
    app = {"hosts": [house.host()], "upstream": NOBODY}
    return {"keys": [new_key()], "external_url_scheme": "http", "apps": {"portal": app}}


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        (95, State.BROKEN, "s ahead of this machine's; openid.clock_skew allows 30 s"),
        (-95, State.BROKEN, "s behind this machine's; openid.clock_skew allows 30 s"),
        (22, State.WARNING, "s ahead of this machine's"),
        (0, State.OK, "agree"),
    ],
)
async def test_the_providers_clock_is_compared_by_its_date(
    open_house: OpenHouse, provider: MisbehavingProvider, seconds: int, state: State, words: str
) -> None:
    house = await open_house(provider=provider, apps=PORTAL)

    async def fault(request: Any) -> Any:
        moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
        answer = says(json.dumps(provider.metadata()), Date=format_datetime(moment, usegmt=True))
        return await answer(request)

    provider.faults["openid-configuration"] = fault
    line = (await examined(house))["provider clock"]
    assert line.state is state, line
    assert words in line.means


async def test_a_date_that_a_cache_kept_says_nothing(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    old = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    provider.faults["openid-configuration"] = says(json.dumps(provider.metadata()), Date=old, Age="3600")
    line = (await examined(house))["provider clock"]
    assert (line.state, "a cache answered" in line.means) == (State.UNKNOWN, True)


# --- Redis ------------------------------------------------------------------------------------------------------------


async def test_a_server_that_evicts_forgets_or_waits_for_replicas_is_named(
    open_house: OpenHouse, own_valkey: EmbeddedValkey
) -> None:
    house = await open_house(redis={"url": own_valkey.url})
    admin = house.worker.redis
    lines = {line.name: line for line in await store_lines(house.worker.config, NOW)}
    assert {line.state for line in lines.values()} == {State.OK}
    await admin.config_set("maxmemory", 1024**3)
    await admin.config_set("maxmemory-policy", "allkeys-lru")
    await admin.config_set("appendonly", "no")
    lines = {line.name: line for line in await store_lines(house.worker.config, NOW)}
    assert states(lines, State.WARNING) == {"redis eviction", "redis persistence"}
    await admin.config_set("maxmemory-policy", "noeviction")
    await admin.config_set("min-replicas-to-write", 1)
    lines = {line.name: line for line in await store_lines(house.worker.config, NOW)}
    assert states(lines) == {"redis replicas"}
    await admin.config_set("min-replicas-to-write", 0)


async def test_the_age_of_the_key_ring_is_since_its_first_use(open_house: OpenHouse) -> None:
    house = await open_house()
    config = house.worker.config
    ring, prefix = KeyRing(config.keys), config.redis.key_prefix
    ages = KeyAges(house.worker.redis, ring, prefix, lambda: NOW)
    await ages.note()
    first = (await ages.read())[0]
    assert first is not None  # the worker's own note stays
    later = {line.name: line for line in await store_lines(config, first + timedelta(days=400))}
    assert later["key ring"].state is State.WARNING
    assert "400 days" in later["key ring"].means
    unseen = config.model_copy(update={"keys": build({**_bare(house), "openid": {"enabled": False}}).keys})
    assert {line.name: line.state for line in await store_lines(unseen, NOW)}["key ring"] is State.UNKNOWN


async def test_an_embedded_store_without_a_folder_forgets() -> None:
    base = {"keys": [new_key()], "openid": {"enabled": False}, "external_url_scheme": "http"}
    config = build({**base, "apps": {"portal": {"hosts": ["portal.localhost"], "upstream": NOBODY}}})
    lines = {line.name: line for line in await store_lines(config, NOW)}
    assert (lines["redis persistence"].state, lines["key ring"].state) == (State.WARNING, State.UNKNOWN)


# --- the public address -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def front_of(
    house: House, change: Callable[[bytes], bytes] = bytes, around: tuple[bytes, ...] = ()
) -> AsyncIterator[Surroundings]:
    """A proxy in front. `change` is applied to the head of each response; targets of `around` go to the application past the gateway."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        past = any(target in head.partition(b"\r\n")[0] for target in around)
        port = int(house.upstream.url.rpartition(":")[2]) if past else house.port
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        forth.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        async def bodies() -> None:
            while piece := await reader.read(65536):
                forth.write(piece)

        sending = asyncio.create_task(bodies())
        answer = await back.readuntil(b"\r\n\r\n")
        writer.write(change(answer))
        while piece := await back.read(65536):
            writer.write(piece)
        sending.cancel()
        writer.close()
        forth.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield replace(HERE, front=FrontAddress(connect=f"127.0.0.1:{port}"))
    finally:
        server.close()


async def test_an_address_where_another_server_answers_is_named(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    port = int(house.upstream.url.rpartition(":")[2])
    lines = await examined(house, replace(HERE, front=FrontAddress(connect=f"127.0.0.1:{port}")))
    (name,) = states(lines)
    assert name == f"{house.origin()} public address"
    assert "this is not a Doorward" in lines[name].means
    lines = await examined(house, replace(HERE, front=FrontAddress(connect="127.0.0.1:9")))
    assert states(lines) == {name}
    assert "the connection was refused" in lines[name].means


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b"Path=/;", b"Path=/portal;", "its Path is /portal in place of /"),
        (b"Set-Cookie:", b"X-Gone:", "the sign-in's cookie does not arrive"),
        (b"; HttpOnly", b"", "it has lost HttpOnly"),
        (b"; HttpOnly", b"; HttpOnly; Domain=localhost", "it has a Domain (localhost)"),
        (b"; HttpOnly", b"; HttpOnly; Secure", "it has Secure although external_url_scheme is http"),
    ],
)
async def test_a_front_that_changes_the_cookie_is_named(
    open_house: OpenHouse, provider: MisbehavingProvider, before: bytes, after: bytes, words: str
) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    async with front_of(house, lambda answer: answer.replace(before, after)) as around:
        lines = await examined(house, around)
    (name,) = states(lines)
    assert name == f"{house.origin()} cookie"
    assert words in lines[name].means


async def test_a_front_that_answers_from_a_cache_is_named(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    kept: list[bytes] = []

    def cached(answer: bytes) -> bytes:
        if not answer.startswith(b"HTTP/1.1 302"):
            return answer
        kept.append(answer)
        return kept[0]

    async with front_of(house, cached) as around:
        lines = await examined(house, around)
    (name,) = states(lines)
    assert name == f"{house.origin()} sign-in"
    assert "a cache in front" in lines[name].means


async def test_a_gateway_that_runs_with_another_file_is_named(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    provider.register(DemoClient(client_id="another", redirect_uris=(), client_secret="secret"))
    other = house.worker.config.openid.model_copy(update={"client_id": "another"})
    lines = await examined(house, openid=other)
    (name,) = states(lines)
    assert name == f"{house.origin()} sign-in"
    assert "client_id is doorward, by this file it is another" in lines[name].means


async def test_password_requests_that_go_past_the_gateway_are_named(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, apps=PORTAL, openid=CLOSED)
    async with front_of(house) as around:
        assert states(await examined(house, around)) == set()
    async with front_of(house, around=(b" /api/token ",)) as around:
        lines = await examined(house, around)
    assert states(lines) == {"apps.portal password doors"}
    assert "POST /api/token (200)" in lines["apps.portal password doors"].means


async def test_a_rule_that_opens_is_not_probed_while_passwords_are_allowed(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, apps=PORTAL)
    lines = await examined(house)
    assert lines["apps.portal password doors"].state is State.WARNING
    assert house.upstream.requests == []


async def test_the_access_rules_alone_are_probed_while_passwords_are_allowed(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    staff = {"name": "staff", "match": "* /admin/**", "require": {"groups": ["staff"]}}
    house = await open_house(provider=provider, apps={"portal": {**PORTAL["portal"], "rules": [staff]}})
    line = (await examined(house))["apps.portal password doors"]
    assert line.state is State.OK
    assert line.means.startswith("none of ")
    assert house.upstream.requests == []


# --- around the door --------------------------------------------------------------------------------------------------


async def test_an_application_that_listens_on_every_address_is_named(open_house: OpenHouse) -> None:
    """127.0.0.2 stands for an address of this machine at which others arrive."""
    everywhere = await asyncio.start_server(lambda reader, writer: writer.close(), "0.0.0.0", 0)
    port = everywhere.sockets[0].getsockname()[1]
    house = await open_house(upstreams={"portal": f"http://127.0.0.1:{port}"})
    (line,) = await bypass_lines(house.worker.config, lambda: ["127.0.0.2"])
    assert line.state is State.WARNING
    assert f"the same port answers at 127.0.0.2:{port} too" in line.means
    everywhere.close()
    (line,) = await bypass_lines(house.worker.config, lambda: ["127.0.0.2"])
    assert (line.name, line.state) == ("apps.portal around the door", State.OK)


@pytest.mark.parametrize(
    ("url", "state"),
    [("http://10.255.255.1:8001", State.UNKNOWN), ("http://no-such-app.invalid:8001", State.UNKNOWN)],
)
async def test_what_cannot_be_told_from_here_is_unknown(open_house: OpenHouse, url: str, state: State) -> None:
    house = await open_house(upstreams={"portal": url})
    (line,) = await bypass_lines(house.worker.config, list)
    assert line.state is state


async def test_a_socket_that_everybody_may_use_is_named(open_house: OpenHouse, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
    house = await open_house(upstreams={"portal": f"unix:{path}"})
    for mode, state in ((0o666, State.WARNING), (0o660, State.OK)):
        path.chmod(mode)
        (line,) = await bypass_lines(house.worker.config, list)
        assert line.state is state
    server.close()


def test_this_machines_addresses_are_not_loopback() -> None:
    assert not any(ip_address(address).is_loopback for address in own_addresses())


# --- the machine ------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_and_a_certificate_that_ends_are_named(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("portal.example.com", expired=True)
    app = {"hosts": ["portal.example.com"], "upstream": NOBODY}
    config = build(
        {
            "keys": [new_key()], "openid": {"enabled": False}, "apps": {"portal": app},
            "redis": {"data_dir": str(tmp_path / "data")},
            "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        }
    )  # fmt: skip
    for room, state in (
        (Room(free=20 * 1024**2, files=0), State.BROKEN),
        (Room(free=50 * 1024**3, files=12), State.BROKEN),
        (Room(free=500 * 1024**2, files=0), State.WARNING),
        (PLENTY, State.OK),
    ):
        lines = {line.name: line for line in machine_lines(config, NOW, dict.fromkeys([tmp_path], room).__getitem__)}
        assert lines["disk of redis.data_dir"].state is state
        assert lines["tls.certificate"].state is State.BROKEN
    days = [-1, 3, 15, 60]
    ends = [certificate_line("x", NOW + timedelta(days=each), NOW).state for each in days]
    assert ends == [State.BROKEN, State.BROKEN, State.WARNING, State.OK]


async def test_a_gateway_that_does_not_answer_here_is_unknown(open_house: OpenHouse) -> None:
    house = await open_house()
    assert {line.name: line.state for line in await gateway_lines(house.worker.config)} == {
        "gateway": State.UNKNOWN,
        "file descriptors": State.UNKNOWN,
    }


async def test_the_public_certificate_is_checked_as_browsers_do(
    open_house: OpenHouse, provider: MisbehavingProvider, tmp_path: Path
) -> None:
    """By the name, by who signed it, and by its last day."""
    authority = Authority(tmp_path)
    pair = authority.issue("portal.localhost")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    house = await open_house(provider=provider, apps=PORTAL, external_url_scheme="https", tls=tls)
    called = f"{house.origin()} public address"
    tomorrow = replace(HERE, now=NOW + timedelta(days=1))
    lines = await examined(house, tomorrow)
    assert states(lines) == {called, "tls.certificate"}
    assert "its certificate is not valid" in lines[called].means
    lines = await examined(house, replace(tomorrow, front=FrontAddress(ca=authority.ca)))
    assert lines[called].state is lines[f"{house.origin()} cookie"].state is State.OK
    assert "__Host-" in lines[f"{house.origin()} cookie"].means
    assert states(lines) == {f"{house.origin()} certificate", "tls.certificate"}  # six days are left
