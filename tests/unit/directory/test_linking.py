"""Whose account is it: the link decides once there is one, the verified address finds it the first time. With every kind of directory."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.demo.nexudus_stub import Fault
from gateway.directory.account_links import AccountLinks
from gateway.directory.api.calls import ApiTransport
from gateway.directory.factory import backend, policy_of
from gateway.directory.provisioner import Provisioner
from gateway.errors.signing_in import AccountLinkedElsewhere, AccountSuspended, DirectoryUnavailable, NotRegistered
from gateway.identity.claims import Identity
from gateway.observability import events as events
from gateway.observability.events import Audit
from gateway.sessions.keyring import KeyRing
from tests.fakes.directories import KINDS, asked_to_create, created
from tests.fakes.redis_commands import stored
from tests.unit.directory.api import ANA, EMAIL, provisioner
from tests.unit.directory.every import every_kind, settings_of
from tests.unit.directory.test_every_kind import FIELDS, LINKING, service_may_edit

LINK = f"{ANA.issuer}|{ANA.subject}"
MOVED = replace(ANA, email="ana.ruiz@elsewhere.example")
NAMESAKE = replace(ANA, subject="sub-2")


@dataclass
class Desk:
    api: Any
    provisioner: Provisioner
    audit: Audit
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def ensure(self, identity: Identity = ANA, registration: Any = "create", **claims: Any) -> Identity:
        return await self.provisioner.ensure(identity, app="portal", registration=registration, claims=claims)

    def told(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]


@asynccontextmanager
async def desk(kind: str, redis: Redis, prefix: str, **changes: Any) -> AsyncIterator[Desk]:
    async with KINDS[kind]() as api, aiohttp.ClientSession() as http:
        service_may_edit(api)
        settings = settings_of(api.section(**changes))
        lines: list[dict[str, Any]] = []
        audit = Audit(lambda line: lines.append(json.loads(line)))
        habits = policy_of(settings)
        means = ApiTransport(http=http, hold_writes=settings.mode == "shadow")
        desk_ = provisioner(
            backend(settings, means),
            redis,
            prefix,
            audit,
            10,
            habits={"shared": habits.shared, "update": habits.update},
        )
        yield Desk(api, desk_, audit, lines)


@every_kind
async def test_whose_address_changed_at_the_provider_keeps_the_account(redis: Redis, prefix: str, kind: str) -> None:
    async with desk(kind, redis, prefix) as at:
        first = await at.ensure()
        again = await at.ensure(MOVED)
        assert again.directory == first.directory
        assert again.email == MOVED.email
        assert at.api.addresses == [EMAIL]
        assert asked_to_create(at.api) == 1


@every_kind
async def test_whose_new_address_is_another_accounts_keeps_their_own(redis: Redis, prefix: str, kind: str) -> None:
    """A-59: an address that one gives oneself at the provider is no way into its account."""
    async with desk(kind, redis, prefix) as at:
        first = await at.ensure()
        at.api.add(str(MOVED.email), "Somebody else")
        assert (await at.ensure(MOVED)).directory == first.directory


@every_kind
async def test_the_address_finds_the_account_once_and_nobody_else_gets_it_by_the_address(
    redis: Redis, prefix: str, kind: str
) -> None:
    """A-59: who has the address today must not get the account of who had it before."""
    async with desk(kind, redis, prefix) as at:
        at.api.add(EMAIL, "Ana")
        await at.ensure()
        for registration in ("create", "refuse"):
            with pytest.raises(AccountLinkedElsewhere):
                await at.ensure(NAMESAKE, registration)
        assert [line["reason"] for line in at.told(events.ACCOUNT_REFUSED)] == ["linked_elsewhere"] * 2
        assert at.api.addresses == [EMAIL]
        assert (await at.ensure()).directory["id"] == at.api.ids[0]


@every_kind
async def test_whose_account_it_is_can_be_asked_without_linking_or_making_anything(
    redis: Redis, prefix: str, kind: str
) -> None:
    """A-59: for a hand-off of somebody whom no sign-in has looked up."""
    async with desk(kind, redis, prefix) as at:
        assert await at.provisioner.known(ANA) is None
        at.api.add(EMAIL, "Ana")
        for identity in (ANA, NAMESAKE):
            found = await at.provisioner.known(identity)
            assert found is not None
            assert found.id == at.api.ids[0]
        await at.ensure()
        assert await at.provisioner.known(NAMESAKE) is None
        moved = await at.provisioner.known(MOVED)
        assert moved is not None
        assert moved.id == at.api.ids[0]
        assert created(at.api) == 0


@every_kind
async def test_where_accounts_may_be_shared_both_come_in(redis: Redis, prefix: str, kind: str) -> None:
    async with desk(kind, redis, prefix, linked_elsewhere="allow") as at:
        first = await at.ensure()
        assert (await at.ensure(NAMESAKE)).directory == first.directory
        assert asked_to_create(at.api) == 1


@every_kind
async def test_a_link_that_only_the_directory_keeps_counts_too(redis: Redis, prefix: str, kind: str) -> None:
    """Redis was lost: the link finds the person, and keeps the namesake out."""
    async with desk(kind, redis, prefix, **LINKING.get(kind, {})) as at:
        at.api.add("old@tenant.example", "Ana", link=LINK)
        assert (await at.ensure()).directory["id"] == at.api.ids[0]
        assert at.api.addresses == ["old@tenant.example"]
        await redis.delete(*[key async for key in redis.scan_iter(match=f"{prefix}*")])
        with pytest.raises(AccountLinkedElsewhere):
            await at.ensure(replace(NAMESAKE, email="old@tenant.example"))


async def test_another_provisioners_number_is_no_link_where_links_are_kept_in_redis_only(
    redis: Redis, prefix: str
) -> None:
    async with desk("scim", redis, prefix, link_field=None, update="at_login", **FIELDS["scim"]) as at:
        at.api.add(EMAIL, "Ana", link="4711")
        assert (await at.ensure()).directory["id"] == at.api.ids[0]
        assert at.api.users[at.api.ids[0]]["externalId"] == "4711"
        with pytest.raises(AccountLinkedElsewhere):
            await at.ensure(NAMESAKE)


async def test_a_link_of_ours_counts_also_where_links_are_no_longer_kept_in_the_directory(
    redis: Redis, prefix: str
) -> None:
    """A-80: the configuration was changed; whose the account is was not."""
    async with desk("scim", redis, prefix, link_field=None) as at:
        at.api.add(EMAIL, "Ana", link=LINK)
        with pytest.raises(AccountLinkedElsewhere):
            await at.ensure(NAMESAKE)
        assert (await at.ensure()).directory["id"] == at.api.ids[0]


@every_kind
async def test_a_suspended_person_is_refused_even_where_another_account_has_the_address(
    redis: Redis, prefix: str, kind: str
) -> None:
    async with desk(kind, redis, prefix) as at:
        at.api.add(EMAIL, "Ana")
        await at.ensure()
        suspend(at.api)
        at.api.add(str(MOVED.email), "Ana, again")
        for identity in (ANA, MOVED):
            with pytest.raises(AccountSuspended):
                await at.ensure(identity)
        assert created(at.api) == 0


@every_kind
@pytest.mark.parametrize("registration", ["create", "refuse"])
async def test_a_link_to_an_account_that_is_gone_is_as_if_there_were_none(
    redis: Redis, prefix: str, kind: str, registration: str
) -> None:
    async with desk(kind, redis, prefix) as at:
        at.api.add(EMAIL, "Ana")
        old = (await at.ensure()).directory["id"]
        delete_everybody(at.api)
        if registration == "refuse":
            with pytest.raises(NotRegistered):
                await at.ensure(registration=registration)
            assert at.api.addresses == []
            return
        new = (await at.ensure()).directory["id"]
        assert new != old
        assert created(at.api) == 1
        assert (await at.ensure()).directory["id"] == new


async def test_a_link_is_sealed_and_one_that_somebody_wrote_into_redis_is_none(redis: Redis, prefix: str) -> None:
    """C-08: nor does a link that was copied to another person's place open."""
    links = AccountLinks(redis, prefix, KeyRing([bytes(32)]), "here")
    assert await links.claim("https://i|1", "7", shared=False)
    (key,) = [key async for key in redis.scan_iter(match=f"{prefix}link:here:*") if b"owner" not in key]
    sealed = await stored(redis, key)
    assert sealed != b"7"
    for planted in (b"7", sealed[:-1] + b"x", b""):
        await redis.set(key, planted)
        assert await links.read("https://i|1") is None
    assert await links.claim("https://i|2", "8", shared=False)
    for other in [k async for k in redis.scan_iter(match=f"{prefix}link:here:*") if b"owner" not in k and k != key]:
        await redis.set(other, sealed)
    assert await links.read("https://i|2") is None
    assert await AccountLinks(redis, prefix, KeyRing([bytes(32)]), "there").read("https://i|1") is None


async def test_what_is_kept_of_who_came_is_bounded_in_time(redis: Redis, prefix: str) -> None:
    links = AccountLinks(redis, prefix, KeyRing([bytes(32)]), "here")
    await links.mark_seen("long-ago", datetime(2020, 1, 1, tzinfo=UTC))
    await links.mark_seen("now", datetime.now(UTC))
    assert [entry.account_id async for entry in links.seen()] == ["now"]
    await links.claim("https://i|1", "7", shared=False)
    for key in [key async for key in redis.scan_iter(match=f"{prefix}link:here:*")]:
        assert key.endswith(b"seen") or 0 < await redis.pttl(key) <= 400 * 86_400_000


@every_kind
async def test_fields_are_kept_up_to_date_at_each_login_where_that_is_asked_for(
    redis: Redis, prefix: str, kind: str
) -> None:
    async with desk(kind, redis, prefix, update="at_login", **FIELDS[kind], **LINKING.get(kind, {})) as at:
        at.api.add(EMAIL, "Old Name", link=LINK)
        await at.ensure(boat="Kingfisher")
        (event,) = at.told(events.ACCOUNT_UPDATED)
        assert "Old Name" not in str(event)
        await at.ensure(boat="Kingfisher")
        assert len(at.told(events.ACCOUNT_UPDATED)) == 1
        assert "Ana Ruiz" in str(getattr(at.api, "users", None) or getattr(at.api, "members", None) or at.api.coworkers)


@every_kind
async def test_a_directory_that_does_not_take_a_change_keeps_nobody_out(redis: Redis, prefix: str, kind: str) -> None:
    async with desk(kind, redis, prefix, update="at_login", **FIELDS[kind]) as at:
        at.api.add(EMAIL, "Old Name")
        for method in ("PUT", "PATCH"):
            at.api.faults.add(Fault(kind="html", match=f"{method} /*", times=None))
        assert (await at.ensure(boat="Kingfisher")).directory["id"] == at.api.ids[0]
        assert [line["account"] for line in at.told(events.DIRECTORY_FAILED)] == at.api.ids


@every_kind
async def test_in_shadow_mode_everybody_is_judged_and_nothing_is_written(redis: Redis, prefix: str, kind: str) -> None:
    """Who would be created comes in without an account; who is suspended or unregistered does not come in."""
    async with desk(kind, redis, prefix, mode="shadow", update="at_login", **FIELDS[kind]) as at:
        stranger = await at.ensure()
        assert stranger == ANA
        (event,) = at.told(events.ACCOUNT_PLANNED)
        assert event["what"] == "create"
        assert at.told(events.ACCOUNT_CREATED) == []
        with pytest.raises(NotRegistered):
            await at.ensure(registration="refuse")
        at.api.add(EMAIL, "Old Name")
        assert (await at.ensure()).directory["id"] == at.api.ids[0]
        assert [line["what"] for line in at.told(events.ACCOUNT_PLANNED)] == ["create", "update"]
        suspend(at.api)
        with pytest.raises(AccountSuspended):
            await at.ensure()
        assert asked_to_create(at.api) == 0
        assert all(method not in ("PUT", "PATCH", "DELETE") for method, _, _ in at.api.seen)


@every_kind
async def test_at_a_refresh_the_account_is_asked_for_again(redis: Redis, prefix: str, kind: str) -> None:
    """`recheck`: suspended or gone ends the session; no answer does not."""
    async with desk(kind, redis, prefix) as at:
        at.api.add(EMAIL, "Ana")
        known = await at.ensure()

        async def again(registration: Any = "refuse", before: Identity = known) -> Identity:
            return await at.provisioner.recheck(before, MOVED, app="portal", registration=registration)

        fresh = await again()
        assert (fresh.email, fresh.directory) == (MOVED.email, known.directory)
        at.api.faults.add(Fault(kind="html", times=None))
        with pytest.raises(DirectoryUnavailable):
            await again()
        assert (await again("skip")).directory == known.directory
        assert (await again(before=ANA)).directory == {}
        at.api.faults.clear()
        suspend(at.api)
        with pytest.raises(AccountSuspended):
            await again()
        delete_everybody(at.api)
        with pytest.raises(NotRegistered):
            await again()


def suspend(api: Any) -> None:
    """The first account, as its people would do it."""
    if hasattr(api, "world"):
        api.coworkers[0]["Active"] = False
    elif hasattr(api, "members"):
        next(iter(api.members.values()))["standing"] = "ashore"
    else:
        user = next(iter(api.users.values()))
        user |= {"state": "blocked"} if "state" in user else {"active": False}


def delete_everybody(api: Any) -> None:
    books = api.world.coworkers if hasattr(api, "world") else getattr(api, "members", None)
    (api.users if books is None else books).clear()
