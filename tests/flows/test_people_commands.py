"""`doorward provision`, `unlink` and `reconcile`: what would be done, the very call, and doing it, with every kind of directory."""

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from gateway.cli import main as cli
from gateway.demo.nexudus_stub import Fault
from gateway.directory.account_links import AccountLinks, realm_of
from gateway.directory.creation_markers import CreationMarkers
from gateway.sessions.keyring import KeyRing, new_key
from tests.fakes.directories import KINDS, asked_to_create, created
from tests.unit.directory.test_every_kind import service_may_edit

EMAIL = "ana@tenant.example"
CLAIMS = {
    "sub": "sub-1",
    "iss": "https://login.example.com/",
    "name": "Ana Ruiz",
    "preferred_username": "ana",
    "boat": "Kingfisher",
}
KEY = new_key()
SECRETS = ("service-password", "scim-token", "boathouse", "glpat", KEY, "very-secret")
every_kind = pytest.mark.parametrize("kind", KINDS)


class Operator:
    """Someone with a configuration file and a shell."""

    def __init__(self, folder: Path, api: Any, valkey: str, prefix: str, changes: dict[str, Any]) -> None:
        self.api = api
        self.config = folder / "gateway.yaml"
        self.claims = folder / "claims.json"
        self.claims.write_text(json.dumps(CLAIMS))
        self.section = api.section(**changes)
        data = {
            "external_url_scheme": "http", "keys": [KEY], "redis": {"url": valkey, "key_prefix": prefix},
            "openid": {"authority_url": "http://127.0.0.1:9", "client_id": "doorward", "client_secret": "very-secret"},
            "apps": {"portal": {"hosts": ["portal.localhost"], "upstream": "http://127.0.0.1:9"}},
            "directory": self.section,
        }  # fmt: skip
        self.config.write_text(yaml.safe_dump(data))

    async def __call__(self, command: str, *arguments: str, answer: str = "") -> Result:
        words = [command, str(self.config), *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, cli.app, words, input=answer, env={"COLUMNS": "200"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        for secret in SECRETS:
            assert secret not in done.output
        return done

    def links(self, redis: Redis, prefix: str) -> AccountLinks:
        realm = realm_of(self.section["kind"], self.section["base_url"])
        return AccountLinks(redis, prefix, KeyRing([KEY]), realm)


Hire = Callable[..., Any]


@pytest.fixture
async def hire(tmp_path: Path, valkey: str, prefix: str, redis: Redis) -> AsyncIterator[Hire]:
    async with AsyncExitStack() as stack:

        async def opened(kind: str, **changes: Any) -> Operator:
            api = await stack.enter_async_context(KINDS[kind]())
            service_may_edit(api)
            return Operator(tmp_path, api, valkey, prefix, changes)

        yield opened


@every_kind
async def test_a_dry_run_says_the_look_up_and_the_exact_call_with_secrets_masked_and_does_nothing(
    hire: Hire, kind: str
) -> None:
    """C-48."""
    operator = await hire(kind)
    done = await operator("provision", EMAIL, "--claims", str(operator.claims), "--dry-run")
    assert done.exit_code == 0
    assert "asked" in done.output
    assert f"{operator.api.url}/" in done.output
    assert "would create:" in done.output
    method, _, path = operator.api.CREATE.partition(" ")
    assert f"{method} {operator.api.url}{path}".lower() in done.output.lower()
    assert "***" in done.output
    assert "ana" in done.output.rpartition("would create:")[2]
    assert operator.api.addresses == []
    assert asked_to_create(operator.api) == 0


@every_kind
async def test_without_dry_run_it_asks_and_then_does_that_very_thing_once(
    hire: Hire, kind: str, redis: Redis, prefix: str
) -> None:
    operator = await hire(kind)
    arguments = (EMAIL, "--claims", str(operator.claims))
    assert (await operator("provision", *arguments, answer="n\n")).exit_code == 4
    assert operator.api.addresses == []
    done = await operator("provision", *arguments, answer="y\n")
    assert done.exit_code == 0, done.output
    assert f"account {operator.api.ids[0]} created" in done.output
    done = await operator("provision", *arguments, "--yes")
    assert "nothing to do" in done.output
    assert operator.api.addresses == [EMAIL]
    assert created(operator.api) == 1
    assert await operator.links(redis, prefix).read("https://login.example.com/|sub-1") == operator.api.ids[0]


async def test_the_differences_of_the_fields_are_shown_and_written(hire: Hire) -> None:
    fields = {"FullName": "{name}", "MobilePhone": "{claims.boat}"}
    operator = await hire("nexudus", fields=fields, update="at_login")
    operator.api.add(EMAIL, "Ana Maria")
    arguments = (EMAIL, "--claims", str(operator.claims))
    done = await operator("provision", *arguments, "--dry-run")
    rows = [line.split() for line in done.output.splitlines()]
    assert ["FullName", "Ana", "Maria", "Ana", "Ruiz"] in rows
    assert ["MobilePhone", "-", "Kingfisher"] in rows
    assert "would update:" in done.output
    assert operator.api.coworkers[0]["FullName"] == "Ana Maria"
    done = await operator("provision", *arguments, "--yes")
    assert "updated" in done.output
    record = operator.api.coworkers[0]
    assert (record["FullName"], record["MobilePhone"], record["Email"]) == ("Ana Ruiz", "Kingfisher", EMAIL)


@every_kind
async def test_an_account_is_suspended_on_demand_and_never_made_for_that(hire: Hire, kind: str) -> None:
    operator = await hire(kind)
    done = await operator("provision", EMAIL, "--suspend", "--yes")
    assert "nothing to do" in done.output
    number = operator.api.add(EMAIL, "Ana")
    done = await operator("provision", EMAIL, "--suspend", "--yes")
    assert f"account {number} suspended" in done.output
    assert operator.api.addresses == [EMAIL]
    assert "not active" in (await operator("provision", EMAIL, "--dry-run")).output


async def test_in_shadow_mode_nothing_is_written_whatever_is_answered(hire: Hire) -> None:
    operator = await hire("scim", mode="shadow")
    assert (await operator("provision", EMAIL, "--yes")).exit_code == 4
    assert operator.api.addresses == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("not an address",), "is not an e-mail address"),
        ((EMAIL, "--claims", "missing.json"), "missing.json"),
        ((EMAIL, "--app", "elsewhere"), "no such app; allowed: portal"),
    ],
)
async def test_a_wrong_call_is_told_what_is_wrong(hire: Hire, arguments: tuple[str, ...], words: str) -> None:
    operator = await hire("scim")
    done = await operator("provision", *arguments, "--dry-run")
    assert done.exit_code == 2
    assert words in done.output
    assert operator.api.seen == []


async def test_a_directory_that_does_not_answer_is_said(hire: Hire) -> None:
    operator = await hire("scim")
    operator.api.faults.add(Fault(kind="html", times=None))
    done = await operator("provision", EMAIL, "--dry-run")
    assert done.exit_code == 3
    assert "directory_unavailable" in done.output


async def test_an_account_can_be_given_to_the_next_person_who_comes(hire: Hire, redis: Redis, prefix: str) -> None:
    operator = await hire("scim")
    number = operator.api.add(EMAIL, "Ana")
    links = operator.links(redis, prefix)
    assert await links.claim("https://login.example.com/|old", number, shared=False)
    assert not await links.claim("https://login.example.com/|new", number, shared=False)
    done = await operator("unlink", EMAIL)
    assert f"account {number} has no link now" in done.output
    assert await links.read("https://login.example.com/|old") is None
    assert await links.claim("https://login.example.com/|new", number, shared=False)


async def test_another_persons_account_is_neither_changed_nor_linked(hire: Hire, redis: Redis, prefix: str) -> None:
    """A-80: with the guards of a sign-in. Without a subject it is the operator who says whose account is meant."""
    operator = await hire("scim", update="at_login", fields={"displayName": "{name}"})
    number = operator.api.add(EMAIL, "Old Name", link="00u-of-another-provisioner")
    arguments = (EMAIL, "--claims", str(operator.claims))
    for more in ("--dry-run", "--yes"):
        done = await operator("provision", *arguments, more)
        assert "account_linked_elsewhere" in done.output
        assert "linked to" in done.output
        assert "nothing to do" in done.output
    assert operator.api.users[number]["displayName"] == "Old Name"
    assert await operator.links(redis, prefix).read("https://login.example.com/|sub-1") is None
    operator.claims.write_text(json.dumps({"name": "Ana Maria"}))
    assert "updated" in (await operator("provision", *arguments, "--yes")).output
    assert operator.api.users[number]["externalId"] == "00u-of-another-provisioner"


async def test_an_account_that_somebody_signed_in_to_is_not_changed_for_another_person(
    hire: Hire, redis: Redis, prefix: str
) -> None:
    """A-80: Redis knows whose it is."""
    operator = await hire("scim", link_field=None, update="at_login", fields={"displayName": "{name}"})
    number = operator.api.add(EMAIL, "Old Name")
    assert await operator.links(redis, prefix).claim("https://login.example.com/|sub-9", number, shared=False)
    done = await operator("provision", EMAIL, "--claims", str(operator.claims), "--yes")
    assert done.exit_code == 3
    assert "account_linked_elsewhere" in done.output
    assert operator.api.users[number]["displayName"] == "Old Name"


async def test_an_account_that_was_just_made_for_another_person_is_not_linked(
    hire: Hire, redis: Redis, prefix: str
) -> None:
    """A-80: the list does not show it yet, a note of its maker does."""
    operator = await hire("scim")
    number = operator.api.add(EMAIL, "Ana", link="https://login.example.com/|sub-9")
    operator.api.hides = {EMAIL}
    name = hashlib.sha256(EMAIL.encode()).hexdigest()
    await CreationMarkers(redis, prefix).finish(name, number)
    done = await operator("provision", EMAIL, "--claims", str(operator.claims), "--yes")
    assert done.exit_code == 3
    assert "account_linked_elsewhere" in done.output
    assert await operator.links(redis, prefix).read("https://login.example.com/|sub-1") is None


async def test_unlink_says_what_the_directory_itself_keeps(hire: Hire) -> None:
    operator = await hire("scim")
    operator.api.add(EMAIL, "Ana", link="00u-of-another-provisioner")
    done = await operator("unlink", EMAIL)
    assert "the directory itself keeps '00u-of-another-provisioner': clear that there" in done.output.replace("\n", " ")


@every_kind
async def test_reconcile_reports_who_does_not_come_and_whose_account_is_gone(
    hire: Hire, kind: str, redis: Redis, prefix: str
) -> None:
    operator = await hire(kind)
    fresh, stale, never = (operator.api.add(f"{name}@tenant.example", name) for name in ("fresh", "=stale", "never"))
    links, now = operator.links(redis, prefix), datetime.now(UTC)
    await links.mark_seen(fresh, now - timedelta(days=2))
    await links.mark_seen(stale, now - timedelta(days=100))
    await links.mark_seen("gone-1", now - timedelta(days=3))
    done = await operator("reconcile", "--csv", "--emails")
    assert done.exit_code == 0, done.output
    rows = {row["account"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert {number: row["why"] for number, row in rows.items()} == {
        stale: "not seen",
        never: "never seen",
        "gone-1": "gone",
    }
    assert rows[stale]["email"] == "'=stale@tenant.example"
    done = await operator("reconcile", "--days", "120")
    assert stale not in [line.split()[2] for line in done.output.splitlines() if line.startswith("not seen")]
    assert "tenant.example" not in done.output
    assert operator.api.counters["created"] == 0
