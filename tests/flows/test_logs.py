"""What is written down, and what never is: logins, failures and sign-outs, then a look through every line and all of Redis."""

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from redis.asyncio import Redis

from gateway.demo.nexudus_stub import SERVICE, Fault, NexudusStub
from gateway.observability.logging import JsonFormatter, TextFormatter
from gateway.sessions.keyring import new_key
from tests.fakes.browser import Browser
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider, parameters_of, says
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

CLIENT_SECRET = "client-secret-that-nobody-may-read"
TYPED = "typed-password-7"
RESET_TOKEN = "reset-token-in-a-query"
APPS: dict[str, dict[str, Any]] = {
    "portal": {
        "password_routes": ["nexudus"],
        "rules": [{"name": "staff-only", "match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
        "headers": {"X-Who": "{email}"},
    },
    "dashboard": {"surface": "dashboard"},
}
OPENID = {
    "client_secret": CLIENT_SECRET, "create_users": True, "prevent_password_login": True, "unregistered_when_sso_only": "create",
    "scopes": ["openid", "email", "profile", "offline_access"],
}  # fmt: skip
ADDRESSES = ("mia@example.com", "ada@example.com", "mia%40example.com", "mia%2540example.com", "bWlhQGV4YW1wbGUuY29t")


class Everything(logging.Handler):
    """Each record as both formatters write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [JsonFormatter().format(record), TextFormatter().format(record)]


@pytest.fixture
def everything() -> Iterator[Everything]:
    """All logging of the process, down to debug."""
    handler, root, ours = Everything(), logging.getLogger(), logging.getLogger("doorward")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])


async def a_house(open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub, **sections: Any) -> House:
    directory = {
        "kind": "nexudus", "base_url": stub.url, "username": SERVICE[0], "password": SERVICE[1], "business_ids": [501],
        "country_id": 1113, "time_zone_id": 2029, "timeout": "1s",
    }  # fmt: skip
    return await open_house(apps=APPS, openid=OPENID, provider=provider, directory=directory, **sections)


async def live_through_everything(house: House, provider: MisbehavingProvider, stub: NexudusStub) -> list[Browser]:
    """Logins that succeed and fail, refusals, a sign-out; the browsers remember all that they were told."""
    browsers = [house.browser() for _ in range(8)]
    mia, ada, *others = browsers
    assert (await house.sign_in(mia, at="/bookings?secret=" + RESET_TOKEN)).status == 200
    assert (await house.sign_in(ada, ADA["sub"], app="dashboard")).status == 200
    assert (await mia.open(house.origin() + "/admin/x")).status == 403
    assert (await mia.open(house.origin() + "/login/login?t=" + RESET_TOKEN)).status == 403
    typed = f"Email=mia%40example.com&Password={TYPED}".encode()
    assert (await mia.post_from(house.origin() + "/login", house.origin() + "/login", typed)).status == 403
    basic = base64.b64encode(f"mia@example.com:{TYPED}".encode()).decode()
    assert (await mia.open(house.origin() + "/", headers={"Authorization": f"Basic {basic}"})).status == 403
    await fail_in_every_way(house, provider, stub, others)
    await mia.open(house.origin() + "/oauth2/sign_out?rd=/goodbye")
    await mia.submit()
    return browsers


async def fail_in_every_way(
    house: House, provider: MisbehavingProvider, stub: NexudusStub, browsers: list[Browser]
) -> None:
    first, second, third, fourth, fifth, sixth = browsers
    provider.told.id_token["nonce"] = "another"
    assert (await house.sign_in(first)).status >= 400
    provider.told.id_token.clear()
    provider.faults["token"] = says(
        '{"error": "invalid_grant", "error_description": "for mia@example.com"}', status=400
    )
    assert (await house.sign_in(second)).status >= 400
    del provider.faults["token"]
    provider.told.userinfo["email"] = "mia@example.com@evil"
    assert (await house.sign_in(third)).status >= 400
    provider.told.userinfo.clear()
    stub.faults.add(
        Fault(kind="unsuccessful", match="GET /api/spaces/coworkers*", body="mia@example.com is odd", times=None)
    )
    assert (await house.sign_in(fourth)).status == 503
    stub.faults.clear()
    page = await fifth.open(house.origin() + "/oauth2/callback?code=stolen-code&state=stolen-state")
    assert page.status == 400
    away = await fifth.open(house.origin() + "/", follow=False)
    description = "for+mia%252540example.com%2C+mia%40example.com+and+bWlhQGV4YW1wbGUuY29t"
    answer = urlencode(
        {"state": dict(parameters_of(away.location))["state"], "iss": provider.issuer, "error": "server_error"}
    )
    page = await fifth.open(house.origin() + f"/oauth2/callback?{answer}&error_description={description}")
    assert page.status == 400
    house.upstream.answer = _breaks
    assert (await house.sign_in(sixth, at="/broken")).status == 502


async def _breaks(request: Any, reader: Any, writer: Any) -> None:
    writer.write(b"HTTP/1.1 oops\r\n\r\n")
    writer.close()


def secrets_of(  # noqa: C901 - one list of what is looked for
    house: House, provider: MisbehavingProvider, stub: NexudusStub, browsers: list[Browser]
) -> dict[str, str]:
    """Every secret that was under way, by what it is."""
    found: dict[str, str] = {
        "client secret": CLIENT_SECRET, "typed password": TYPED, "reset token": RESET_TOKEN, "directory password": SERVICE[1],
        "ring key": house.worker.config.keys[0].get_secret_value(), "stolen code": "stolen-code", "stolen state": "stolen-state",
    }  # fmt: skip
    for number, browser in enumerate(browsers):
        for answer in browser.history:
            for url in (answer.url, answer.location):
                for name, value in parameters_of(url):
                    if name in ("code", "state", "nonce", "code_challenge", "id_token_hint") and value:
                        found[f"{name} {value[:6]}"] = value
            for cookie in answer.all("Set-Cookie"):
                name, _, value = cookie.partition(";")[0].partition("=")
                if len(value) > 30:
                    found[f"cookie {name} {number} {value[:6]}"] = value
                    if "session" in name:
                        found[f"session key {number} {value[:6]}"] = house.worker.store.key_of(value)
    for seen in provider.seen:
        for name in ("code", "code_verifier", "token", "refresh_token"):
            if name in seen.form:
                found[f"{seen.endpoint} {name} {seen.form[name][:6]}"] = seen.form[name]
        if seen.headers.get("Authorization"):
            found[f"{seen.endpoint} authorization {len(found)}"] = seen.headers["Authorization"].partition(" ")[2]
    for upstream in house.upstreams.values():
        for request in upstream.requests:
            for assertion in request.values("x-doorward-jwt-assertion"):
                found[f"assertion {len(found)}"] = assertion.decode()
    found |= {f"directory token {n}": token for n, token in enumerate((*stub.world.access, *stub.world.refresh))}
    return found


async def dump(redis: Redis, prefix: str) -> list[bytes]:
    """All keys and values."""
    found: list[bytes] = []
    async for key in redis.scan_iter(match=prefix + "*"):
        values: dict[bytes | str, Callable[[bytes], Awaitable[object]]] = {
            b"string": redis.get,
            b"set": redis.smembers,
            b"hash": redis.hgetall,
            b"zset": lambda name: redis.zrange(name, 0, -1),
        }
        value = await values[await redis.type(key)](key)
        found += [key, repr(value).encode() if not isinstance(value, bytes) else value]
    return found


async def test_no_secret_and_no_address_is_in_any_line_or_in_redis(
    open_house: OpenHouse, provider: MisbehavingProvider, redis: Redis, prefix: str, everything: Everything
) -> None:
    """C-48: after logins, failures of every kind and a sign-out, while other sessions live."""
    async with NexudusStub() as stub:
        house = await a_house(open_house, provider, stub)
        browsers = await live_through_everything(house, provider, stub)
        secrets = secrets_of(house, provider, stub, browsers)
        house.worker.context.flush()
        written = b"".join(house.lines).decode() + "\n".join(everything.lines)
        stored = await dump(redis, prefix)
    kinds = {name.split()[0] for name in secrets}
    assert {
        "code",
        "state",
        "cookie",
        "session",
        "assertion",
        "userinfo",
        "token",
        "revoke",
        "directory",
        "id_token_hint",
    } <= kinds
    assert len(secrets) > 60
    leaked = sorted(name for name, value in secrets.items() if value in written)
    assert leaked == []
    assert "the provider returned server_error" in written
    assert [address for address in ADDRESSES if address.lower() in written.lower()] == []
    assert len(stored) >= 8
    in_redis = b"\n".join(stored)
    assert b":s:" in in_redis
    keys_are_hashes = {name: value for name, value in secrets.items() if not name.startswith("session key")}
    assert sorted(name for name, value in keys_are_hashes.items() if value.encode() in in_redis) == []
    token = next(cookie.value for cookie in browsers[1].jar.cookies if cookie.name == "doorward_session")
    assert f"{prefix}s:{hashlib.sha256(token.encode()).hexdigest()}".encode() in stored
    for plain in (*ADDRESSES, "Mia Lindqvist", "hd-1001", "hd-1003"):
        assert plain.encode() not in in_redis


async def test_the_events_of_a_whole_visit_are_there_with_their_reasons_and_ids(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """docs/interface.md "Events": one JSON line each, counted by app."""
    async with NexudusStub() as stub:
        house = await a_house(open_house, provider, stub)
        await live_through_everything(house, provider, stub)
    events = [line for line in map(json.loads, b"".join(house.lines).splitlines()) if "event" in line]
    told = {line["event"] for line in events}
    assert told >= {
        "login.started", "login.succeeded", "login.refused", "account.created", "directory.failed", "access.denied", "route.blocked",
        "session.revoked", "logout",
    }  # fmt: skip
    assert all(line["request_id"] for line in events)
    (out,) = [line for line in events if line["event"] == "logout"]
    (came,) = [line for line in events if line["event"] == "login.succeeded" and line["session"] == out["session"]]
    (ended,) = [line for line in events if line["event"] == "session.revoked" and line["session"] == out["session"]]
    (denied,) = [line for line in events if line["event"] == "access.denied"]
    assert (came["app"], out["kind"], ended["by"], denied["session"]) == ("portal", "local", "sign_out", out["session"])
    assert (denied["rule"], denied["method"], denied["path"], denied["client"]) == (
        "staff-only",
        "GET",
        "/admin/x",
        "127.0.0.1",
    )
    assert {(line["path"], line["method"]) for line in events if line["event"] == "route.blocked"} >= {
        ("/login", "POST")
    }
    assert {line["reason"] for line in events if line["event"] == "login.refused"} >= {
        "nonce",
        "directory_unavailable",
        "no_attempt",
    }
    assert {(line["level"], line["log"]) for line in events} == {("info", "event")}
    assert {line["kind"] for line in events if line["event"] == "route.blocked"} == {"password", "passwordless"}
    for (name, app), count in house.worker.audit.counts.items():
        assert count == sum(line["event"] == name and line["app"] == app for line in events)


@pytest.mark.parametrize("pii", ["minimal", "full"])
async def test_addresses_are_in_the_events_only_where_the_operator_asked_for_them(
    open_house: OpenHouse, provider: MisbehavingProvider, pii: str
) -> None:
    house = await open_house(provider=provider, log={"pii": pii})
    await house.sign_in(house.browser())
    assert (b"mia@example.com" in b"".join(house.lines)) == (pii == "full")


@pytest.mark.parametrize("pii", ["minimal", "full"])
async def test_a_refused_sign_in_says_who_from_where_and_for_which_page(
    open_house: OpenHouse, provider: MisbehavingProvider, pii: str
) -> None:
    house = await open_house(provider=provider, openid={"email_domains": ["other.example"]}, log={"pii": pii})
    page = await house.sign_in(house.browser(), at="/bookings?token=" + RESET_TOKEN)
    assert page.status == 403
    events = [json.loads(line) for batch in house.lines for line in batch.splitlines() if b'"log":"event"' in line]
    (started,) = [line for line in events if line["event"] == "login.started"]
    (refused,) = [line for line in events if line["event"] == "login.refused"]
    assert (started["client"], started["provider"], started["page"]) == ("127.0.0.1", "openid", "/bookings")
    known = ("reason", "app", "client", "provider", "page", "subject")
    wanted = ("email_domain", "portal", "127.0.0.1", "openid", "/bookings", MIA["sub"])
    assert tuple(refused[name] for name in known) == wanted
    assert refused.get("email") == (MIA["email"] if pii == "full" else None)


async def test_behind_a_trusted_proxy_events_and_access_lines_name_the_client(open_house: OpenHouse) -> None:
    house = await open_house(
        apps={"portal": {"rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}]}},
        trusted_proxies=["127.0.0.1/32"],
    )
    cookie, clients = await house.session(), ["192.0.2.7", "192.0.2.7", "192.0.2.8"]
    wire = await Wire.open(house.port)
    for client in clients:
        await wire.send(
            f"GET /admin/x HTTP/1.1\r\nHost: {house.host()}\r\nX-Forwarded-For: {client}\r\nCookie: {cookie}\r\n\r\n".encode()
        )
        assert (await wire.response()).status == 403
    await wire.close()
    house.worker.context.flush()
    lines = [json.loads(line) for batch in house.lines for line in batch.splitlines()]
    assert [line["client"] for line in lines if line["log"] == "event"] == clients
    assert [line["client"] for line in lines if line["log"] == "access"] == clients


@pytest.mark.parametrize("form", ["json", "text"])
async def test_access_lines_have_the_fields_that_the_operator_chose(
    open_house: OpenHouse, provider: MisbehavingProvider, form: str
) -> None:
    house = await open_house(provider=provider, log={"format": form, "access_fields": ["user", "host", "agent"]})
    await house.sign_in(house.browser())
    cookie = await house.session(subject="bob-7")
    await house.ask("/x", cookie=cookie, fields='User-Agent: "a" \xe9 {b}\r\n')
    await house.ask("/oauth2/userinfo", fields="User-Agent: probe\r\nUser-Agent: two\r\n")
    await house.raw(b"nonsense\r\n\r\n")
    house.worker.context.flush()
    lines = [line for batch in house.lines for line in batch.decode().splitlines() if '"log":"event"' not in line]
    if form == "text":
        assert any(line.endswith(rf' user="bob-7" host="{house.host()}" agent="\"a\" \u00e9 {{b}}"') for line in lines)
        return
    access = [json.loads(line) for line in lines]
    chosen = {(line["path"], line["user"], line["host"], line["agent"]) for line in access}
    assert chosen >= {
        ("/x", "bob-7", house.host(), '"a" \xe9 {b}'),
        ("/oauth2/userinfo", "", house.host(), "probe"),
        ("-", "", "", ""),
    }


@pytest.mark.parametrize("form", ["json", "text"])
async def test_the_access_log_has_a_line_a_request_without_its_query(
    open_house: OpenHouse, provider: MisbehavingProvider, form: str
) -> None:
    """C-48: queries carry tokens; a path cannot begin a line of its own."""
    house = await open_house(provider=provider, log={"format": form})
    browser = house.browser()
    await house.sign_in(browser, at="/deep/link?token=" + RESET_TOKEN)
    await house.ask('/a%22,%22b%22:%22c%0d%0a{"event":"x"}?q', fields=BROWSER)
    await house.ask('/quote%22"x', fields=BROWSER)
    house.worker.context.flush()
    await eventually(lambda: any(b"/deep/link" in line for line in house.lines))
    lines = [line for batch in house.lines for line in batch.decode().splitlines()]
    assert RESET_TOKEN not in "\n".join(lines)
    if form == "text":
        assert any(" portal GET /deep/link 200 " in line for line in lines)
        return
    access = [line for line in map(json.loads, lines) if line.get("log") == "access"]
    assert all(set(line) == set(access[0]) for line in access)
    (served,) = [line for line in access if (line["path"], line["status"]) == ("/deep/link", 200)]
    userinfo = json.loads((await browser.open(house.origin() + "/oauth2/userinfo")).body)
    assert served["session"] == userinfo["session"]["sid"]
    assert {line["path"] for line in access if line["rule"] == "own"} == {"/oauth2/callback"}
    refused = {(line["path"], line["status"], line["rule"]) for line in access if line["status"] in (302, 400)}
    assert ("/deep/link", 302, "default") in refused
    assert ("/a%22,%22b%22:%22c%0d%0a%7B%22event%22:%22x%22%7D", 400, "target") in refused


@pytest.mark.parametrize(
    ("target", "fields", "why"),
    [
        ("/a%2fb", "", "ambiguous_target: b'%2f' in the path"),
        ("/x", "Host: other.example\r\n", "malformed_request: "),
        ("/x", "Authorization: Basic eDp5\r\n", "password_login_disabled: "),
    ],
)
async def test_the_log_says_under_the_request_id_of_the_page_why_it_was_refused(
    open_house: OpenHouse, caplog: pytest.LogCaptureFixture, target: str, fields: str, why: str
) -> None:
    caplog.set_level("INFO", logger="doorward.app")
    house = await open_house(apps={"portal": {"password_routes": ["nexudus"]}}, openid={"prevent_password_login": True})
    answer = await house.ask(target, fields=fields)
    request_id = json.loads(answer.body)["request_id"]
    assert any(line.startswith(why) and f"(request {request_id})" in line for line in caplog.messages)


async def test_the_access_log_can_be_switched_off(open_house: OpenHouse) -> None:
    house = await open_house(log={"access": False})
    await house.ask("/x", cookie=await house.session())
    house.worker.context.flush()
    assert house.lines == []


async def test_a_defect_is_logged_without_the_texts_of_its_exception(everything: Everything) -> None:
    """C-48: exception texts quote what they failed on."""
    try:
        raise ValueError(f"cannot parse {CLIENT_SECRET}")
    except ValueError:
        logging.getLogger("doorward.test").exception("a page failed")
    (line,) = [json.loads(line) for line in everything.lines if line.startswith("{") and "a page failed" in line]
    assert line["error"] == "ValueError"
    assert "test_logs.py" in line["at"]
    assert CLIENT_SECRET not in "".join(everything.lines)


async def test_an_exception_that_ends_a_process_is_a_line_without_its_text() -> None:
    """C-48: the interpreter's own traceback quotes it."""
    program = (
        "from gateway.config.schema import Log\nfrom gateway.observability.logging import configure_start\n"
        f"configure_start(Log())\nraise ValueError('cannot parse {CLIENT_SECRET}')"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    line = json.loads(errors)
    assert (line["level"], line["error"]) == ("critical", "ValueError")
    assert CLIENT_SECRET.encode() not in errors


async def test_the_sample_person_is_the_one_that_was_looked_for() -> None:
    """The greps above would find nothing otherwise."""
    assert MIA["email"] in ADDRESSES
    assert ADA["email"] in ADDRESSES


async def test_standard_output_that_is_not_read_costs_lines_and_no_request(tmp_path: Path) -> None:
    upstream = RecordingUpstream()
    await upstream.start()
    secrets = {"DOORWARD_TEST_KEY": new_key(), "DOORWARD_TEST_SECRET": "very-secret-client-secret"}
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        async with running(tmp_path, upstream.url, environ=secrets, stdout=writer, log={"queue": "16KiB"}) as door:
            os.close(writer)
            for _ in range(20):
                answers = await asyncio.gather(*(door.ask("/open/x") for _ in range(20)))
                assert {answer.status for answer in answers} == {200}
            await eventually(lambda: _dropped(door))
            os.set_blocking(reader, False)
            found = bytearray()
            await eventually(lambda: b"lines were dropped" in _read_into(found, reader))
    finally:
        os.close(reader)
        await upstream.close()
    assert b'"path":"/open/x","status":200' in found


async def _dropped(door: Running) -> bool:
    metrics = (await door.admin("/metrics")).body.decode()
    return 'doorward_log_lines_dropped_total{stream="stdout"}' in metrics and (
        'doorward_log_lines_dropped_total{stream="stdout"} 0.0' not in metrics
    )


def _read_into(found: bytearray, reader: int) -> bytearray:
    with contextlib.suppress(BlockingIOError):
        while some := os.read(reader, 65536):
            found += some
    return found
