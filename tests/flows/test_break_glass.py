"""Break-glass through the whole door: single sign-on is broken (no provider answers), and one address range uses the old login."""

import asyncio
import contextlib
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from typer.testing import CliRunner

from gateway.break_glass.store import Openings
from gateway.cli import main as cli
from gateway.policy.break_glass import Opening, parse_range
from gateway.sessions.keyring import KeyRing
from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import Recorded, RecordingUpstream
from tests.fakes.redis_commands import stored
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

CLOSED = {"prevent_password_login": True, "prevent_dashboard_password_login": True}
APPS: dict[str, Any] = {
    "dashboard": {
        "surface": "dashboard",
        "password_routes": "nexudus",
        "require": {"groups": ["staff"]},
        "public": ["GET /assets/**"],
        "rules": [
            {"match": ["* /admin/**"], "require": {"groups": ["admins"]}},
            {"match": ["* /money/**"], "max_age": "5m"},
        ],
    },
    "portal": {"password_routes": "nexudus"},
}
PROXY = {"trusted_proxies": ["127.0.0.1/32"]}
INSIDE, OUTSIDE = "X-Forwarded-For: 203.0.113.7\r\n", "X-Forwarded-For: 198.51.100.7\r\n"
LOGIN = b"Email=a%40b.example&Password=x"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


def openings(house: House) -> Openings:
    config = house.worker.config
    return Openings(house.worker.redis, KeyRing(config.keys), config.redis.key_prefix)


async def opened(house: House, *ranges: str, app: str = "dashboard", lasts: float = 1800) -> str:
    """Open it as the command does, and wait until the worker has heard of it."""
    now = datetime.now(UTC)
    opening = Opening(
        id=f"id-{app}-{lasts:g}", app=app, networks=tuple(map(parse_range, ranges or ("203.0.113.0/24",))), opened_at=now,
        ends_at=now + timedelta(seconds=lasts), reason="the provider is down", by="ana@ops",
    )  # fmt: skip
    await openings(house).write(opening, now)
    await eventually(lambda: [each for each in house.worker.break_glass.open_now if each["id"] == opening.id])
    return opening.id


def events(house: House, name: str) -> list[dict[str, Any]]:
    written = [json.loads(line) for line in b"".join(house.lines).splitlines()]
    return [line for line in written if line.get("event") == f"break_glass.{name}"]


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    """No provider answers in this house."""
    return await open_house(openid=CLOSED, apps=APPS, **PROXY)


async def login(house: House, fields: str, *, app: str = "dashboard", path: str = "/login") -> WireResponse:
    return await house.ask(path, app=app, method="POST", fields=FORM + fields, body=LOGIN)


async def test_the_range_uses_the_old_login_and_nobody_else_does(house: House) -> None:
    assert (await login(house, INSIDE)).status == 403
    await opened(house)
    upstream = house.upstreams["dashboard"]
    assert (await login(house, INSIDE)).status == 200
    assert (upstream.requests[-1].line, upstream.requests[-1].body) == (b"POST /login HTTP/1.1", LOGIN)
    for path in ("/", "/members?page=2", "/LOGIN;x=1", "/api/token"):
        assert (await house.ask(path, app="dashboard", fields=INSIDE + BROWSER)).status == 200
    basic = "Authorization: Basic YTpi\r\n"
    assert (await house.ask("/api/x", app="dashboard", fields=INSIDE + basic)).status == 200
    seen = len(upstream.requests)
    assert (await login(house, OUTSIDE)).status == 403
    assert (await house.ask("/api/x", app="dashboard", fields=OUTSIDE + basic)).status == 403
    assert (await house.ask("/", app="dashboard", fields=OUTSIDE)).status == 401
    assert (await login(house, INSIDE, app="portal")).status == 403  # another app
    assert (len(upstream.requests), len(house.upstream.requests)) == (seen, 0)


async def test_nobody_gets_an_identity_by_it(house: House) -> None:
    """C-30, C-32: what the client says of itself is taken away as ever."""
    await opened(house)
    claims = "X-Forwarded-User: admin\r\nX_Forwarded_Groups: staff\r\nX-Doorward-Jwt-Assertion: x\r\n"
    assert (await house.ask("/", app="dashboard", fields=INSIDE + claims)).status == 200
    seen = house.upstreams["dashboard"].requests[-1]
    assert not [
        name for name in seen.names() if "user" in name.lower() or "groups" in name.lower() or "jwt" in name.lower()
    ]
    # Who is signed in and may come in anyway stays who they are; who may not comes in as nobody.
    staff = await house.session("dashboard", groups=["staff"])
    await house.ask("/", app="dashboard", cookie=staff, fields=INSIDE)
    assert house.upstreams["dashboard"].requests[-1].values("X-Forwarded-User") == [b"bob"]
    guest = await house.session("dashboard", groups=["guests"])
    assert (await house.ask("/", app="dashboard", cookie=guest, fields=INSIDE)).status == 200
    assert house.upstreams["dashboard"].requests[-1].values("X-Forwarded-User") == []
    assert (await house.ask("/", app="dashboard", cookie=guest, fields=OUTSIDE)).status == 403


async def test_who_passes_a_door_by_it_is_counted_where_strangers_pass_anyway(open_house: OpenHouse) -> None:
    """An API host: the doors are all that break-glass opens there. A session that comes through keeps its identity."""
    keys = {"password_routes": "nexudus", "unauthenticated": "pass", "surface": "shared", "cors_preflight": "pass"}
    house = await open_house(openid=CLOSED, apps={"portal": keys}, **PROXY)
    await opened(house, app="portal")
    assert (await login(house, OUTSIDE, app="portal")).status == 403
    assert (await login(house, INSIDE, app="portal")).status == 200
    assert house.worker.report().counts.break_glass_uses == {"portal": 1}
    fields = INSIDE + FORM + f"Cookie: {await house.session()}\r\n"
    assert (await house.ask("/login", method="POST", fields=fields, body=LOGIN)).status == 200
    assert house.upstream.requests[-1].values("X-Forwarded-User") == [b"bob"]
    assert house.worker.report().counts.break_glass_uses == {"portal": 2}
    preflight = "Origin: https://portal.example.com\r\nAccess-Control-Request-Method: POST\r\n"
    assert (await house.ask("/api/token", method="OPTIONS", fields=INSIDE + preflight)).status == 200


async def test_a_form_that_asks_for_another_method_gets_no_further_by_it(open_house: OpenHouse) -> None:
    """B-35: the rule for DELETE goes on asking, also of a POST whose form becomes one."""
    rules = [{"match": ["DELETE /rooms/**"], "require": {"groups": ["staff"]}}]
    house = await open_house(openid=CLOSED, apps={"portal": {"rules": rules}}, **PROXY)
    await opened(house, app="portal")
    for body, status in ((b"name=x", 200), (b"name=x&_method=DELETE", 401)):
        assert (await house.ask("/rooms/1", method="POST", fields=FORM + INSIDE, body=body)).status == status
    assert [request.body for request in house.upstream.requests] == [b"name=x"]


@pytest.mark.parametrize("path", ["/admin", "/admin/users", "/ADMIN;x/users", "/money/out"])
async def test_a_rule_that_asks_for_a_person_by_itself_goes_on_asking(house: House, path: str) -> None:
    """C-20: the app's own login stands in for the app's `require`, and for nothing narrower."""
    await opened(house)
    assert (await house.ask(path, app="dashboard", fields=INSIDE)).status == 401
    staff = await house.session("dashboard", groups=["staff"])
    if "admin" in path.lower():
        assert (await house.ask(path, app="dashboard", cookie=staff, fields=INSIDE)).status == 403
    assert house.upstreams["dashboard"].requests == []


@pytest.mark.parametrize("target", ["/a%2fb", "/x/..%2fadmin", "/%00", "/..;/admin"])
async def test_what_can_be_read_in_two_ways_is_refused_as_ever(house: House, target: str) -> None:
    """C-10, C-12."""
    await opened(house)
    assert (await house.ask(target, app="dashboard", fields=INSIDE)).status == 400
    assert house.upstreams["dashboard"].requests == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("X-Forwarded-For: 203.0.113.7\r\n", 200),
        ("X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n", 200),
        ("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", 200),
        ("X-Forwarded-For: ::ffff:203.0.113.7\r\n", 200),
        ('X-Forwarded-For: "203.0.113.7"\r\n', 200),
        ("X-Forwarded-For: 203.0.113.7, 127.0.0.1\r\n", 200),
        ("X-Forwarded-For: 203.0.113.7, 198.51.100.1\r\n", 401),
        ("X-Forwarded-For: 203.0.113.7, unknown\r\n", 401),
        ("X-Forwarded-For: 127.0.0.1\r\n", 401),
        ("X-Real-IP: 203.0.113.7\r\n", 401),
        ("Forwarded: for=203.0.113.7\r\n", 401),
        ("", 401),
    ],
)
async def test_the_address_is_the_one_of_the_trusted_chain(house: House, fields: str, status: int) -> None:
    """C-34: right to left, as far as proxies are trusted; IPv4-mapped forms are equal."""
    await opened(house)
    assert (await house.ask("/", app="dashboard", fields=fields)).status == status


async def test_a_proxy_that_names_nobody_is_nobody_in_the_range(house: House) -> None:
    """C-34: the command refuses such a range; the file may have changed since."""
    await opened(house, "127.0.0.0/24")
    for fields in ("", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-For: unknown\r\n"):
        assert (await house.ask("/", app="dashboard", fields=fields)).status == 401
    assert (await house.ask("/", app="dashboard", fields="X-Forwarded-For: 127.0.0.9\r\n")).status == 200


@pytest.mark.parametrize("field", ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1", "Via: 1.1 balancer", "CF-Connecting-IP: 127.0.0.1"])  # fmt: skip
async def test_a_peer_that_forwards_without_being_trusted_is_nobody_in_the_range(
    open_house: OpenHouse, field: str
) -> None:
    """C-34: a balancer in the range would bring everybody in. It is remembered, so that the command refuses the range."""
    house = await open_house(openid=CLOSED, apps=APPS)
    await opened(house, "127.0.0.1/32")
    assert (await house.ask("/", app="dashboard")).status == 200
    assert (await house.ask("/", app="dashboard", fields=field + "\r\n")).status == 401

    async def remembered() -> bool:
        return await openings(house).forwarders(datetime.now(UTC)) == ["127.0.0.1"]

    await eventually(remembered)


async def test_a_peer_that_forwards_is_remembered_while_nothing_is_open(open_house: OpenHouse) -> None:
    """C-34."""
    house = await open_house(apps={"portal": {"unauthenticated": "pass"}})
    assert (await house.ask("/", fields="X-Forwarded-For: 198.51.100.1\r\n")).status == 200

    async def remembered() -> bool:
        return await openings(house).forwarders(datetime.now(UTC)) == ["127.0.0.1"]

    await eventually(remembered)


async def test_what_came_in_by_it_ends_with_it(house: House) -> None:
    """A stream that never ends is cut; one of somebody signed in goes on."""

    async def stream(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await reader.read()

    house.upstreams["dashboard"].answer = stream
    await opened(house)
    staff = await house.session("dashboard", groups=["staff"])
    head = f"GET /events HTTP/1.1\r\nHost: {house.host('dashboard')}\r\n{INSIDE}"
    by_glass, signed_in = await Wire.open(house.port), await Wire.open(house.port)
    await by_glass.send(f"{head}\r\n".encode())
    await signed_in.send(f"{head}Cookie: {staff}\r\n\r\n".encode())
    for wire in (by_glass, signed_in):
        assert await wire.reader.readuntil(b"data: 1\n\n")
    assert await openings(house).close("dashboard")
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while await by_glass.reader.read(100):
                pass
    assert not signed_in.reader.at_eof()
    assert (await house.ask("/", app="dashboard", fields=INSIDE)).status == 401
    for wire in (by_glass, signed_in):
        await wire.close()


async def test_it_is_told_of_and_counted(house: House) -> None:
    opening_id = await opened(house, lasts=4)
    for _ in range(5):
        await house.ask("/", app="dashboard", fields=INSIDE)
    await house.ask("/", app="dashboard", fields="X-Forwarded-For: 203.0.113.8\r\n")
    assert house.worker.report().counts.break_glass_uses == {"dashboard": 6}
    (shown,) = house.worker.report().break_glass
    assert (shown["app"], shown["from"], shown["reason"], shown["by"]) == (
        "dashboard", "203.0.113.0/24", "the provider is down", "ana@ops",
    )  # fmt: skip
    (told,) = events(house, "opened")
    assert (told["app"], told["id"], told["from"], told["until"]) == (
        "dashboard", opening_id, "203.0.113.0/24", shown["until"],
    )  # fmt: skip
    # The first use of each client at once, the others together when a minute or the opening is over.
    assert [(used["client"], used["count"]) for used in events(house, "used")] == [
        ("203.0.113.7", 1),
        ("203.0.113.8", 1),
    ]
    await eventually(lambda: events(house, "expired"))
    await eventually(lambda: len(events(house, "used")) == 3)
    assert events(house, "used")[-1]["count"] == 4
    assert house.worker.report().break_glass == []
    assert (await house.ask("/", app="dashboard", fields=INSIDE)).status == 401


async def test_forward_auth_lets_the_range_in_too(house: House) -> None:
    """The address is the one that the trusted proxy names."""
    asked = f"X-Original-URI: /login\r\nX-Original-Method: POST\r\nX-Forwarded-Host: {house.host('dashboard')}\r\n"
    assert (await house.ask("/oauth2/auth", app="dashboard", fields=asked + INSIDE)).status == 403
    await opened(house)
    answer = await house.ask("/oauth2/auth", app="dashboard", fields=asked + INSIDE)
    assert (answer.status, answer.values("X-Forwarded-User")) == (202, [])
    assert (await house.ask("/oauth2/auth", app="dashboard", fields=asked + OUTSIDE)).status == 403


# --- the command, and a fleet -----------------------------------------------------------------------------------------


async def command(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error; in a thread, for it runs a loop of its own."""
    done = await asyncio.to_thread(CliRunner().invoke, cli.app, ["break-glass", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def file_of(folder: Path, house: House, **changes: Any) -> str:
    """The configuration of the house as a file."""
    config = house.worker.config
    data: dict[str, Any] = {
        "external_url_scheme": "http",
        "redis": {"url": config.redis.url.get_secret_value(), "key_prefix": config.redis.key_prefix},
        "keys": [key.get_secret_value() for key in config.keys],
        "openid": {"authority_url": "http://127.0.0.1:9", "client_id": "a", "client_secret": "b", **CLOSED},
        "apps": {
            name: {**keys, "hosts": [f"{name}.localhost"], "upstream": "http://127.0.0.1:9"}
            for name, keys in APPS.items()
        },
        **PROXY,
        **changes,
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(data))
    return str(file)


async def test_the_command_opens_shows_and_closes(house: House, tmp_path: Path) -> None:
    file = file_of(tmp_path, house)
    ask = ("--app", "dashboard", "--for", "30m", "--reason", "Okta is down")
    status, out, errors = await command("open", file, *ask, "--from", "203.0.113.0/24", "--from", "2001:db8::/48")
    assert (status, errors) == (0, "")
    assert "still asks for a person: rules[0] (* /admin/**)" in out
    await eventually(lambda: house.worker.break_glass.open_now)
    assert (await login(house, INSIDE)).status == 200
    status, out, _ = await command("status", file, "--json")
    (shown,) = json.loads(out)
    assert (shown["app"], shown["from"], shown["reason"]) == (
        "dashboard",
        "203.0.113.0/24, 2001:db8::/48",
        "Okta is down",
    )
    assert (await command("close", file, "--app", "dashboard"))[:2] == (0, "dashboard: closed\n")
    await eventually(lambda: not house.worker.break_glass.open_now)
    assert (await login(house, INSIDE)).status == 403
    assert (await command("close", file, "--app", "dashboard"))[:2] == (1, "dashboard: nothing was open\n")
    assert "nothing is open" in (await command("status", file))[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"--from": "0.0.0.0/0"}, "0.0.0.0/0 is too wide; allowed: /16 to /32 of IPv4"),
        ({"--from": "127.0.0.0/24"}, "overlaps 127.0.0.1/32 of trusted_proxies"),
        ({"--from": "198.51.100.0/24"}, "198.51.100.9 forwards other people's requests"),
        ({"--for": "3d"}, "allowed: 1m to 8h"),
        ({"--app": "dashbord"}, "is no app of this configuration; allowed: dashboard, portal"),
        ({"--reason": " "}, "the reason is empty"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_what_must_not_be_opened_is_refused_with_what_is_allowed(
    house: House, tmp_path: Path, given: dict[str, str], said: str
) -> None:
    """C-34: above all a range with a forwarding peer in it that nobody trusts."""
    await openings(house).write_forwarders(["198.51.100.9"], datetime.now(UTC))
    options = {"--app": "dashboard", "--for": "30m", "--from": "203.0.113.0/24", "--reason": "x", **given}
    status, _, errors = await command(
        "open", file_of(tmp_path, house), *(word for pair in options.items() for word in pair)
    )
    assert status == 2
    assert said in errors
    assert await openings(house).read("dashboard", datetime.now(UTC)) is None


ENVIRON = {"DOORWARD_TEST_KEY": "9W0mY3pVvT1cQk7XJb2sRz8dLhNfUoAe4iGxKqCw5tE", "DOORWARD_TEST_SECRET": "s"}


def sections_of_a_fleet(url: str, prefix: str) -> dict[str, Any]:
    """What all gateways of a fleet have in their files. No provider answers."""
    return {
        "redis": {"url": url, "key_prefix": prefix},
        "keys": [ENVIRON["DOORWARD_TEST_KEY"]],
        "openid": {"authority_url": "http://127.0.0.1:9", "client_id": "a", "client_secret": "b", **CLOSED},
        **PROXY,
    }


async def test_a_whole_fleet_hears_of_it_and_says_so(tmp_path: Path, valkey: str, prefix: str) -> None:
    """Two gateways of two workers each, no provider: opened once, closed once, by a command that asks none of them."""
    upstream = RecordingUpstream()
    await upstream.start()
    sections = sections_of_a_fleet(valkey, prefix)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with (
        running(folders[0], upstream.url, environ=ENVIRON, **sections) as one,
        running(folders[1], upstream.url, environ=ENVIRON, **sections) as two,
    ):
        assert (await one.ask("/", fields=INSIDE)).status == 401
        ask = ("--app", "portal", "--for", "5m", "--from", "203.0.113.0/24", "--reason", "drill")
        assert (await command("open", str(one.config), *ask))[0] == 0
        for door in (one, two):

            async def everywhere(door: Any = door) -> bool:
                shown = (await door.ready())["break_glass"]
                return [each["reason"] for each in shown] == ["drill"] and all(
                    [(await door.ask("/", fields=INSIDE)).status == 200 for _ in range(8)]
                )

            await eventually(everywhere)
            metrics = (await door.admin("/metrics")).body.decode()
            assert 'doorward_break_glass_open{app="portal"} 1.0' in metrics
            assert 'doorward_break_glass_requests_total{app="portal"}' in metrics
        assert (await command("close", str(two.config), "--app", "portal"))[0] == 0
        for door in (one, two):

            async def nowhere(door: Any = door) -> bool:
                return all([(await door.ask("/", fields=INSIDE)).status == 401 for _ in range(8)])

            await eventually(nowhere)
            assert 'doorward_break_glass_open{app="portal"} 0.0' in (await door.admin("/metrics")).body.decode()
        told = [line for door in (one, two) for line in door.output.splitlines() if "break_glass." in line]
        assert sum('"break_glass.opened"' in line for line in told) == 1
        assert sum('"break_glass.closed"' in line for line in told) == 1
    await upstream.close()


def _replaced(door: Running, before: set[int]) -> bool:
    return len(door.workers()) == 2 and not door.workers() & before


async def test_what_was_closed_stays_closed_after_a_reload(
    tmp_path: Path, valkey: str, prefix: str, redis: Redis
) -> None:
    """C-73: somebody who can write to Redis kept the record, takes away what is noted of its end, and has the workers replaced."""
    upstream = RecordingUpstream()
    await upstream.start()
    sections = sections_of_a_fleet(valkey, prefix)
    record, note = f"{prefix}glass:portal", f"{prefix}glass-over:*"
    async with running(tmp_path, upstream.url, environ=ENVIRON, **sections) as door:

        async def answers(status: int) -> bool:
            return all([(await door.ask("/", fields=INSIDE)).status == status for _ in range(8)])

        ask = ("--app", "portal", "--for", "5m", "--from", "203.0.113.0/24", "--reason", "drill")
        assert (await command("open", str(door.config), *ask))[0] == 0
        await eventually(lambda: answers(200))
        sealed = await stored(redis, record)
        assert (await command("close", str(door.config), "--app", "portal"))[0] == 0
        await eventually(lambda: answers(401))
        await eventually(lambda: '"break_glass.closed"' in door.output)
        before = door.workers()
        for by in (signal.SIGHUP, signal.SIGKILL):
            if by == signal.SIGHUP:
                door.hang_up()
            else:
                for pid in door.workers():
                    os.kill(pid, by)
            await eventually(partial(_replaced, door, before), within=60)
            await redis.delete(*[name async for name in redis.scan_iter(match=note)], f"{prefix}none")
            await redis.set(record, sealed, px=60_000)
            await eventually(lambda: redis.keys(note))  # a worker has seen it
            await eventually(lambda: answers(401))
            assert (await door.ready())["break_glass"] == []
            before = door.workers()
        assert door.output.count('"break_glass.opened"') == 1
    await upstream.close()


async def test_what_one_worker_saw_closed_stays_closed_in_one_that_stood_still(
    tmp_path: Path, valkey: str, prefix: str, redis: Redis
) -> None:
    """C-73: before it goes on, a writer to Redis puts the record back and deletes the note of its end. The parent has passed the end on."""
    upstream = RecordingUpstream()
    await upstream.start()
    record, note = f"{prefix}glass:portal", f"{prefix}glass-over:*"
    async with running(tmp_path, upstream.url, environ=ENVIRON, **sections_of_a_fleet(valkey, prefix)) as door:
        asked = f"GET / HTTP/1.1\r\nHost: portal.localhost:{door.port}\r\n{INSIDE}\r\n".encode()
        wire = await Wire.open(door.port)

        async def status() -> int:
            await wire.send(asked)
            return (await wire.response(timeout=30)).status

        async def opened() -> bool:
            return await status() == 200

        ask = ("--app", "portal", "--for", "5m", "--from", "203.0.113.0/24", "--reason", "drill")
        assert (await command("open", str(door.config), *ask))[0] == 0
        await eventually(opened)
        sealed = await stored(redis, record)
        behind = await door.worker_behind(door.port, wire.writer.get_extra_info("sockname")[1])
        others = door.workers() - {behind}
        try:
            os.kill(behind, signal.SIGSTOP)
            assert (await command("close", str(door.config), "--app", "portal"))[0] == 0
            await eventually(lambda: '"break_glass.closed"' in door.output)
            await eventually(lambda: redis.keys(note))
            await door.ready()  # what the other worker sent before this report has been passed on
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            await redis.delete(*await redis.keys(note))
            await redis.set(record, sealed, px=60_000)
            os.kill(behind, signal.SIGCONT)
            await eventually(lambda: redis.keys(note))  # it has read the record
            assert await status() == 401
        finally:
            for pid in door.workers():
                os.kill(pid, signal.SIGCONT)
            await wire.close()  # the end of the door does not wait for it
    await upstream.close()


async def test_what_it_lets_by_on_a_connection_leaves_the_apps_own_care_in_force(open_house: OpenHouse) -> None:
    """C-36, B-54: one page past a door by break-glass, and the next of the same connection is looked after as ever."""
    keys = {"password_routes": "nexudus", "responses": {"drop_cookies": ["rival"]}}
    house = await open_house(openid=CLOSED, apps={"portal": keys}, **PROXY)

    async def rival(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: rival=1\r\nContent-Length: 2\r\n\r\nok")

    house.upstream.answer = rival
    await opened(house, app="portal")
    fields = f"Host: {house.host()}\r\n{INSIDE}Cookie: {await house.session()}\r\n\r\n"
    wire, kept = await Wire.open(house.port), []
    for path in ("/a", "/a", "/login", "/a", "/a"):
        await wire.send(f"GET {path} HTTP/1.1\r\n{fields}".encode())
        kept.append((await wire.response()).values("set-cookie"))
    await wire.close()
    assert [kept[place] for place in (0, 1, 3, 4)] == [[], [], [], []]
