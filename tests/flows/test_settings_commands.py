"""`doorward settings`: what is saved without a browser, what is refused, and where no secret goes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from typer.testing import CliRunner

from gateway.cli import settings as cli
from gateway.config.loader import load, read
from gateway.demo.provider import DemoClient
from gateway.operations.check import advise
from gateway.operations.settings.editor import Author, SettingsEditor
from gateway.operations.settings.proposal import SettingsRefused
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.record import SettingsConflict
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing, new_key
from tests.fakes.provider import MisbehavingProvider

KEY = new_key()
ANA, BEN = Author(name="ana", session="s-1"), Author(name="ben", session="s-2")


@pytest.fixture
async def other() -> AsyncIterator[MisbehavingProvider]:
    """Another authority, of whom nobody entered a secret. It says everything that it is sent."""
    running = MisbehavingProvider()
    await running.start()
    running.register(DemoClient(client_id="doorward", redirect_uris=(), client_secret="entered-for-the-other"))
    yield running
    await running.close()


class Door:
    """A file, and the record of its settings."""

    def __init__(self, folder: Path, valkey: str, prefix: str, redis: Redis, authority: str) -> None:
        self.redis, self.name, self.folder = redis, f"{prefix}settings:record", folder
        self.path = folder / "gateway.yaml"
        self.data: dict[str, Any] = {
            "external_url_scheme": "http",
            "redis": {"url": valkey, "key_prefix": prefix, "data_dir": str(folder / "data")},
            "keys": [KEY],
            "openid": {"authority_url": authority, "client_id": "doorward", "client_secret": "the-secret"},
            "apps": {
                "portal": {
                    "hosts": ["portal.localhost"], "upstream": "http://127.0.0.1:9", "password_routes": "nexudus",
                    "unauthenticated": "pass",
                },
                "office": {"hosts": ["office.localhost"], "upstream": "http://127.0.0.1:9", "require": {"groups": ["ops"]}},
            },
            "directory": {"kind": "nexudus", "base_url": "https://spaces.nexudus.com", "username": "u", "password": "p", "business_ids": [1]},
        }  # fmt: skip
        self.store = SettingsStore(redis, KeyRing([KEY]), prefix)
        self.later = 0.0
        self.write()

    def write(self) -> None:
        self.path.write_text(yaml.safe_dump(self.data, sort_keys=False))

    def editor(self, environ: dict[str, str] | None = None) -> SettingsEditor:
        return SettingsEditor(
            read(self.path, environ or {}),
            self.store,
            SettingsCopy(self.folder / "data"),
            lambda: time.time() + self.later,
        )

    async def command(self, name: str, *arguments: str) -> tuple[int, str, str]:
        words = [name, str(self.path), *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, cli.app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr


@pytest.fixture
async def door(tmp_path: Path, valkey: str, prefix: str, redis: Redis, provider: MisbehavingProvider) -> Door:
    provider.register(DemoClient(client_id="doorward", redirect_uris=(), client_secret="the-secret"))
    return Door(tmp_path, valkey, prefix, redis, provider.issuer)


async def test_a_setting_is_shown_saved_confirmed_rolled_back_and_reset(door: Door) -> None:
    status, told, _ = await door.command("show")
    assert status == 0
    assert "openid.create_users" in told
    assert "the file, line" in told
    assert "the-secret" not in told
    assert "A person who signs in and is not registered is refused" in told
    on = ("openid.create_users=on", "openid.prevent_password_login=on")
    status, told, warned = await door.command("set", *on, "--reason", "members only")
    assert (status, told.splitlines()[0][:19]) == (0, "version 1 is saved;")
    assert "No person can log in to the portal with a password." in told
    assert "people who are not registered will have no access at all" in warned
    assert "set “When both are on”" in warned
    assert (await door.command("set", "openid.create_users=off", "--reason", "x"))[0] == 4
    assert (await door.command("confirm"))[:2] == (0, "version 1 stays\n")
    assert (await door.command("set", "openid.create_users=off", "--reason", "x", "--no-confirm"))[0] == 0
    assert (await door.command("rollback", "1", "--reason", "it was better"))[0] == 0
    shown = json.loads((await door.command("show", "--json"))[1])
    assert {row["key"]: (row["value"], row["source"]) for row in shown["settings"]}["openid.create_users"] == (
        "on",
        "the saved settings, version 3",
    )
    assert (await door.command("reset", "--reason", "back to the file"))[0] == 0
    rows = json.loads((await door.command("history", "--json"))[1])
    assert [row["state"] for row in rows][:3] == ["reset to the file", "rolled back to version 1", "saved"]
    assert [(each["key"], each["before"], each["after"]) for each in rows[-1]["changes"]] == [
        ("openid.create_users", "off", "on"),
        ("openid.prevent_password_login", "off", "on"),
    ]
    assert "members only" in (await door.command("history"))[1]


async def test_off_is_refused_while_apps_require_people_and_each_is_named(door: Door) -> None:
    status, _, told = await door.command("set", "openid.enabled=off", "--reason", "x")
    assert status == 2
    assert "apps.office" in told
    assert "apps.portal" not in told


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("openid.create_users=maybe", "allowed: on, off"),
        ("openid.issuer=https://x.example", "is no setting; allowed: openid.enabled"),
        ("providers.gone.client_id=x", "is no setting"),
        ("openid.log_out_url=ftp://x.example", "openid.log_out_url"),
        ("openid.unregistered_when_sso_only=perhaps", "openid.unregistered_when_sso_only"),
        ("openid.create_users", "is not KEY=VALUE"),
        ("openid.create_users=off", "nothing is changed"),
    ],
)
async def test_what_is_wrong_is_refused_with_what_is_allowed(door: Door, pair: str, said: str) -> None:
    status, _, told = await door.command("set", pair, "--reason", "x")
    assert status == 2
    assert said in told
    assert await door.redis.get(door.name) is None


async def test_no_stored_secret_is_sent_to_another_authority(door: Door, other: MisbehavingProvider) -> None:
    """C-95: neither that of the file, nor a saved one, nor one of the environment; the other authority receives nothing at all."""
    elsewhere = f"openid.authority_url={other.issuer}"
    for pairs in ([elsewhere], [elsewhere, "openid.client_secret="], ["openid.client_id=another"]):
        status, _, told = await door.command("set", *pairs, "--reason", "x")
        assert status == 2
        assert "openid.client_secret: enter it again" in told
    door.data["openid"]["client_secret"] = "wrong-since-yesterday"
    door.write()
    secret = door.folder / "secret"
    secret.write_text("the-secret\n")
    assert (await door.command("set", f"openid.client_secret=file:{secret}", "--reason", "x", "--no-confirm"))[0] == 0
    assert (await door.command("set", elsewhere, "--reason", "x"))[0] == 2
    fixed = door.editor({"DOORWARD__OPENID__CLIENT_SECRET": "secret-of-the-environment"})
    with pytest.raises(SettingsRefused, match="DOORWARD__OPENID__CLIENT_SECRET"):
        await fixed.propose({"openid.authority_url": other.issuer, "openid.client_secret": "entered"})
    assert other.seen == []
    # A secret that is saved goes with the authority that it was entered for, whatever the file says later.
    door.data["openid"]["authority_url"] = other.issuer
    door.write()
    saved = json.loads((await door.command("show", "--json"))[1])
    values = {row["key"]: row["value"] for row in saved["settings"]}
    assert values["openid.authority_url"] != other.issuer


async def test_provider_settings_are_saved_only_when_the_provider_accepts_them(
    door: Door, other: MisbehavingProvider
) -> None:
    wrong, right = door.folder / "wrong", door.folder / "right"
    wrong.write_text("not-it")
    right.write_text("entered-for-the-other")
    elsewhere = f"openid.authority_url={other.issuer}"
    status, _, told = await door.command("set", elsewhere, f"openid.client_secret=file:{wrong}", "--reason", "x")
    assert (status, "invalid_client" in told) == (2, True)
    assert await door.redis.get(door.name) is None
    nowhere = "openid.authority_url=http://127.0.0.1:9"
    status, _, told = await door.command("set", nowhere, f"openid.client_secret=file:{right}", "--reason", "x")
    assert (status, "the connection was refused" in told) == (2, True)
    insecure = "openid.authority_url=http://login.example.com"
    status, _, told = await door.command("set", insecure, f"openid.client_secret=file:{right}", "--reason", "x")
    assert (status, "openid.authority_url" in told) == (2, True)
    assert (await door.command("set", elsewhere, f"openid.client_secret=file:{right}", "--reason", "x"))[0] == 0


async def test_the_second_of_two_savers_sees_what_the_first_one_changed(door: Door) -> None:
    """C-99."""
    seen = (await door.editor().read()).record.revision
    await door.editor().save({"openid.create_users": True}, ANA, "mine", seen=seen, confirmed=True)
    with pytest.raises(SettingsConflict, match=r"version 1 by ana .* \(mine\) changed openid.create_users"):
        await door.editor().save(
            {"openid.create_users": False, "openid.prevent_password_login": True}, BEN, "mine", seen=seen
        )
    done = await asyncio.gather(
        *(door.editor().save({"openid.prevent_password_login": True}, author, "both", confirmed=True) for author in (ANA, BEN)),
        return_exceptions=True,
    )  # fmt: skip
    assert len([each for each in done if isinstance(each, SettingsConflict | SettingsRefused)]) == 1
    assert (await door.editor().read()).record.versions[-1].number == 2


async def test_who_saved_confirms_only_from_another_sign_in_and_in_time(door: Door) -> None:
    """C-98."""
    await door.editor().save({"openid.create_users": True}, ANA, "x")
    with pytest.raises(SettingsRefused, match="sign in again"):
        await door.editor().confirm(replace(ANA, signed_in_at=time.time() - 60))
    door.later = 301.0
    assert door.editor().in_force(await door.editor().read()).values == {}
    with pytest.raises(SettingsConflict, match="no version waits"):
        await door.editor().confirm(BEN)
    door.later = 0.0
    assert (await door.editor().confirm(replace(BEN, signed_in_at=time.time() + 1))).confirmed_by == "ben"


async def test_nothing_is_saved_over_a_record_that_was_lost(door: Door) -> None:
    """C-97: a save would take the file's values for everything else; a roll-back or a reset says what it does."""
    await door.editor().save({"openid.prevent_password_login": True}, ANA, "x", confirmed=True)
    SettingsCopy(door.folder / "data").write(await door.store.read())
    await door.redis.delete(door.name)
    status, _, told = await door.command("set", "openid.create_users=on", "--reason", "x")
    assert status == 2
    assert "`settings rollback 1` brings version 1 back" in told
    assert (await door.command("rollback", "1", "--reason", "lost"))[0] == 0
    assert door.editor().in_force(await door.editor().read()).values == {"openid.prevent_password_login": True}
    await door.redis.set(door.name, b"nonsense")
    assert (await door.command("reset", "--reason", "give up"))[0] == 0
    assert door.editor().in_force(await door.editor().read()).values == {}


async def test_redis_that_does_not_answer_is_exit_status_3(door: Door) -> None:
    door.data["redis"] = {"url": "redis://127.0.0.1:9"}
    door.write()
    assert (await door.command("show"))[0] == 3


async def test_a_secret_is_kept_sealed(door: Door, provider: MisbehavingProvider) -> None:
    secret = door.folder / "secret"
    provider.register(DemoClient(client_id="other-client", redirect_uris=(), client_secret="very-secret"))
    secret.write_text("very-secret")
    pairs = ("openid.client_id=other-client", f"openid.client_secret=file:{secret}")
    assert (await door.command("set", *pairs, "--reason", "x"))[0] == 0
    raw = await door.store.read()
    assert b"very-secret" not in raw
    assert b"other-client" not in raw
    told = [await door.command(name, *more) for name in ("show", "history") for more in ((), ("--json",))]
    assert all("very-secret" not in out + errors for _, out, errors in told)
    assert "very-secret" in door.store.open(raw).versions[0].values.values()


async def test_check_online_says_that_settings_are_saved_over_the_file(door: Door) -> None:
    door.data["redis"].pop("data_dir")
    door.write()
    valid = load(door.path, {}).config
    assert [line for line in await advise(valid) if line.startswith("settings")] == []
    await door.editor().save({"openid.create_users": True}, ANA, "x", confirmed=True)
    (line,) = [line for line in await advise(valid) if line.startswith("settings")]
    assert line.startswith("settings: version 1 is saved over this file (openid.create_users)")
    await door.redis.set(door.name, b"nonsense")
    assert any("the record in Redis is not used" in line for line in await advise(valid))
