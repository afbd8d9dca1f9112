"""`doorward sessions`: who is signed in, and ending that, while the door is open."""

import asyncio
import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from typer.testing import CliRunner, Result

from gateway.cli import main as cli
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.store import SessionStore
from tests.fakes.house import House
from tests.fakes.provider import MisbehavingProvider, says
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse
from tests.flows.test_sign_out import is_alive
from tests.flows.test_websockets import echo_socket, open_socket

TWO_APPS: dict[str, dict[str, Any]] = {"portal": {}, "dashboard": {"surface": "dashboard"}}
SECRETS = ("id.token.secret", "access-secret", "refresh-secret")


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(apps=TWO_APPS)


class Operator:
    """Someone with the configuration file and a shell."""

    def __init__(self, config: Path) -> None:
        self.config = config

    async def __call__(self, command: str, *arguments: str, answer: str = "") -> Result:
        words = ["sessions", command, str(self.config), *arguments]
        return await asyncio.to_thread(CliRunner().invoke, cli.app, words, input=answer, env={"COLUMNS": "200"})

    async def listed(self, *arguments: str) -> list[dict[str, Any]]:
        done = await self("list", "--json", *arguments)
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]


def written(house: House, path: Path, **changes: Any) -> Path:
    """The house's configuration, as a file."""
    config = house.worker.config
    data = {
        "external_url_scheme": "http",
        "keys": [key.get_secret_value() for key in config.keys],
        "redis": {"url": config.redis.url.get_secret_value(), "key_prefix": config.redis.key_prefix},
        "openid": {"authority_url": "http://127.0.0.1:9", "client_id": "doorward", "client_secret": "very-secret"},
        "apps": {name: {"hosts": list(app.hosts), "upstream": list(app.upstream)} for name, app in config.apps.items()},
        **changes,
    }
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture
def operator(house: House, tmp_path: Path) -> Operator:
    return Operator(written(house, tmp_path / "gateway.yaml"))


async def four(house: House) -> dict[str, str]:
    """Cookies of four sessions: Bob on both apps, Eve at the portal yesterday, Ann from elsewhere."""
    tokens = dict(zip(("id_token", "access_token", "refresh_token"), SECRETS, strict=True))
    return {
        "bob": await house.session(address="192.0.2.7", provider_sid="bob-at-work", **tokens),
        "bob-dashboard": await house.session("dashboard", address="192.0.2.7", provider_sid="bob-at-work"),
        "eve": await house.session(
            subject="eve", email="Eve@example.com", created_at=utc_now() - timedelta(days=1), address="2001:db8::9"
        ),
        "ann": await house.session(subject="ann", email="ann@example.com", address="198.51.100.20"),
    }


async def test_every_way_to_choose_finds_just_those(house: House, operator: Operator) -> None:
    await four(house)
    one = (await operator.listed())[0]
    assert one["provider"] == "openid"
    issuer = ("--issuer", str(one["issuer"]))
    for arguments, wanted in (
        ((), ["ann", "bob", "bob", "eve"]),
        (("--email", "BOB@example.com"), ["bob", "bob"]),
        (("--email", "eve@EXAMPLE.com", "--email", "ann@example.com"), ["ann", "eve"]),
        (("--subject", "bob"), ["bob", "bob"]),
        ((*issuer, "--subject", "bob"), ["bob", "bob"]),
        ((*issuer, "--subject", "bob", "--app", "portal"), ["bob"]),
        (("--issuer", "https://other.example"), []),
        (("--app", "dashboard"), ["bob"]),
        (("--address", "192.0.2.7"), ["bob", "bob"]),
        (("--address", "192.0.2.0/24", "--address", "2001:db8::/32"), ["bob", "bob", "eve"]),
        (("--provider-sid", "bob-at-work"), ["bob", "bob"]),
        (("--older-than", "12h"), ["eve"]),
        (("--newer-than", "12h"), ["ann", "bob", "bob"]),
        (("--older-than", "12h", "--app", "dashboard"), []),
    ):
        assert sorted(row["subject"] for row in await operator.listed(*arguments)) == wanted, arguments


async def test_a_list_counts_and_tells_no_secret(house: House, operator: Operator) -> None:
    """C-48: no token, no cookie, no hash of one; addresses of people only when they are asked for."""
    cookies = await four(house)
    (bob,) = await operator.listed("--email", "bob@example.com", "--app", "portal")
    outputs = [
        await operator("list"),
        await operator("list", "--json"),
        await operator("list", "--csv"),
        await operator("list", "--emails"),
        await operator("show", bob["sid"]),
        await operator("show", bob["sid"], "--json"),
        await operator("revoke", "--all", "--dry-run"),
        await operator("revoke", "--all", "--yes"),
    ]
    assert [done.exit_code for done in outputs] == [0] * len(outputs)
    tokens = [cookie.partition("=")[2] for cookie in cookies.values()]
    keys = [house.worker.store.key_of(token) for token in tokens]
    ring = house.worker.config.keys[0].get_secret_value()
    for done in outputs:
        for secret in (*SECRETS, *tokens, *keys, "very-secret", ring):
            assert secret not in done.output, done.output
    table, _, _, with_emails, *_ = outputs
    assert "4 sessions: dashboard 1, portal 3" in table.stdout
    assert "192.0.2.7" in table.stdout
    assert "@example.com" not in "".join(done.output for done in outputs if done is not with_emails)
    assert "bob@example.com" in with_emails.stdout


async def test_the_forms_of_a_list_say_the_same(house: House, operator: Operator) -> None:
    await four(house)
    rows = await operator.listed("--emails")
    table = csv.DictReader(io.StringIO((await operator("list", "--csv", "--emails")).stdout))
    shown = {row["sid"]: {name: "" if value is None else str(value) for name, value in row.items()} for row in rows}
    for row in table:
        assert {**row, "idle_seconds_left": ""} == {**shown[row["sid"]], "idle_seconds_left": ""}
    page = (await operator("list", "--limit", "2")).stdout
    assert all(row["sid"] in page for row in rows if row["subject"] == "ann")
    assert not any(row["sid"] in page for row in rows if row["subject"] == "eve")
    assert "the newest 2 of them" in page


async def test_revoking_ends_just_those_in_a_door_that_knows_them(house: House, operator: Operator) -> None:
    """C-44: the worker has them in memory, and a WebSocket is open."""
    cookies = await four(house)
    apps = {name: name.partition("-")[2] or "portal" for name in cookies}
    for name, cookie in cookies.items():
        assert await is_alive(house, cookie, apps[name])
    house.upstream.answer = echo_socket
    socket = await open_socket(house, cookies["bob"])
    done = await operator("revoke", "--email", "bob@example.com", "--yes")
    assert done.exit_code == 0
    assert await socket.ended()
    await eventually(lambda: _gone(house, cookies["bob"], "portal"))
    await eventually(lambda: _gone(house, cookies["bob-dashboard"], "dashboard"))
    assert not await _gone(house, cookies["ann"], "portal")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted((event["event"], event["app"], event["by"]) for event in events) == [
        ("session.revoked", "dashboard", "operator"),
        ("session.revoked", "portal", "operator"),
    ]
    assert "2 sessions ended: dashboard 1, portal 1" in done.stderr


async def _gone(house: House, cookie: str, app: str) -> bool:
    return (await house.ask("/oauth2/userinfo", app=app, cookie=cookie)).status == 401


async def test_nothing_ends_without_a_yes(house: House, operator: Operator) -> None:
    cookies = await four(house)
    rows = await operator.listed()
    for arguments, answer, status in (
        ((rows[0]["sid"],), "n\n", 4),
        ((rows[0]["sid"],), "", 4),
        (("--all",), "\n", 4),
        (("--all", "--dry-run"), "", 0),
        ((), "y\n", 2),
        (("--all", "--app", "portal", "--yes"), "", 2),
        (("--older-than", "yesterday", "--yes"), "", 2),
        (("--address", "here", "--yes"), "", 2),
    ):
        done = await operator("revoke", *arguments, answer=answer)
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.output
    assert len(await operator.listed()) == 4
    done = await operator("revoke", rows[0]["sid"], answer="y\n")
    assert "1 session would end" in done.stderr
    assert done.exit_code == 0
    assert {row["sid"] for row in await operator.listed()} == {row["sid"] for row in rows[1:]}
    assert len(cookies) == 4


async def test_tokens_are_given_back_to_the_provider_where_the_operator_asks_for_it(
    open_house: OpenHouse, provider: MisbehavingProvider, tmp_path: Path
) -> None:
    scopes = ["openid", "email", "profile", "offline_access"]
    house = await open_house(provider=provider, openid={"scopes": scopes})
    known = {"authority_url": provider.issuer, "client_id": "doorward", "client_secret": "secret"}
    operator = Operator(written(house, tmp_path / "gateway.yaml", openid=known))
    for arguments, calls, failures in ((("--tokens",), 2, 0), ((), 0, 0), (("--tokens",), 2, 1)):
        await house.sign_in(house.browser())
        provider.seen.clear()
        if failures:
            provider.faults["revoke"] = says("no", status=503)
        done = await operator("revoke", "--all", "--yes", *arguments)
        assert done.exit_code == 0, done.output
        assert provider.count("revoke") == calls
        events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
        assert events == ["session.revoked"] + ["token.revocation_failed"] * failures


async def test_what_no_key_opens_is_counted_and_goes_with_all(house: House, tmp_path: Path) -> None:
    """C-43: a removed key, a foreign value, a key of another type."""
    await four(house)
    redis, prefix = house.worker.redis, house.worker.store.record_prefix
    await redis.set(prefix + "0" * 64, b"x" * 300_000)
    await redis.lpush(prefix + "1" * 64, "a")
    operator = Operator(written(house, tmp_path / "gateway.yaml", keys=[new_key()]))
    done = await operator("list")
    assert (done.exit_code, "6 records that no key" in done.stdout) == (0, True)
    assert (await operator("revoke", "--app", "portal", "--yes")).exit_code == 0
    assert len(await redis.keys(prefix + "*")) == 6
    assert (await operator("revoke", "--all", "--yes")).exit_code == 0
    assert await redis.keys(prefix + "*") == []


async def test_a_thousand_sessions_are_read_in_batches(house: House, operator: Operator) -> None:
    for start in range(0, 1200, 24):
        await asyncio.gather(*(house.session(subject=f"person-{number}") for number in range(start, start + 24)))
    assert len({row["subject"] for row in await operator.listed()}) == 1200
    done = await operator("revoke", "--all", "--yes")
    assert "1200 sessions ended: portal 1200" in done.stderr
    assert await operator.listed() == []


async def test_without_redis_there_is_a_plain_word_and_a_status(house: House, tmp_path: Path) -> None:
    nobody = Operator(written(house, tmp_path / "a.yaml", redis={"url": "redis://127.0.0.1:9"}))
    forgetful = Operator(written(house, tmp_path / "b.yaml", redis={"url": "embedded"}))
    never = Operator(written(house, tmp_path / "c.yaml", redis={"url": "embedded", "data_dir": str(tmp_path)}))
    for operator, word in (
        (nobody, "127.0.0.1:9: the connection was refused"),
        (forgetful, "data_dir"),
        (never, "holds no sessions"),
    ):
        done = await operator("list")
        assert (done.exit_code, word in done.stderr) == (3, True), done.output
    assert (await Operator(tmp_path / "nowhere.yaml")("list")).exit_code == 1
    assert (await nobody("show", "x")).exit_code == 3


async def test_what_a_provider_says_of_a_person_cannot_steer_the_terminal(house: House, operator: Operator) -> None:
    """C-33: escape sequences in a subject or an acr."""
    await house.session(subject="a\x1b]0;b\x07\x1b[2J", acr="c\x1b[31m")
    (row,) = await operator.listed()
    for done in (await operator("list"), await operator("show", row["sid"]), await operator("list", "--json")):
        assert done.exit_code == 0
        assert "\x1b" not in done.output
        assert "\x07" not in done.output


async def test_a_handle_that_nobody_has_is_not_found(operator: Operator) -> None:
    done = await operator("show", "nobody")
    assert (done.exit_code, done.stdout) == (1, "")


# --- keys -------------------------------------------------------------------------------------------------------------


async def _status(operator: Operator, *arguments: str) -> Result:
    words = ["keys", "status", str(operator.config), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli.app, words)


async def test_keys_status_counts_what_each_key_still_encrypts(house: House, tmp_path: Path) -> None:
    """C-48: and shows no key."""
    await four(house)
    (old,) = (key.get_secret_value() for key in house.worker.config.keys)
    new = new_key()
    operator = Operator(written(house, tmp_path / "gateway.yaml", keys=[new, old]))
    told = json.loads((await _status(operator, "--json")).stdout)
    assert [row["sessions"] for row in told["keys"]] == [0, 4]
    redis, store = house.worker.redis, house.worker.store
    rotated = SessionStore(redis, KeyRing([new, old]), house.worker.config.redis.key_prefix)
    names = cast(list[bytes], await redis.keys(store.record_prefix + "*"))
    await rotated.reseal([names[0].decode().removeprefix(store.record_prefix)])
    done = await _status(operator)
    told = json.loads((await _status(operator, "--json")).stdout)
    assert [row["sessions"] for row in told["keys"]] == [1, 3]
    assert "still needed" in done.stdout
    assert "encrypts and signs" in done.stdout
    assert old not in done.output
    assert new not in done.output
    published = json.loads((await house.ask("/.well-known/doorward/jwks.json")).body)["keys"]
    assert [key["kid"] for key in published] == [told["keys"][1]["kid"]]
    without = Operator(written(house, tmp_path / "without.yaml", keys=[new]))
    assert json.loads((await _status(without, "--json")).stdout)["unknown"] == 3
