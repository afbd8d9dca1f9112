"""What holds whichever API knows the people: Nexudus, SCIM, and two that only YAML knows."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from gateway.demo.nexudus_stub import Fault
from gateway.directory.account import AlreadyThere, CreationUncertain
from gateway.directory.api.calls import WriteHeld
from gateway.directory.person import Person
from gateway.errors.signing_in import AccountAmbiguous, DirectoryUnavailable
from tests.fakes.directories import asked_to_create, created
from tests.unit.directory.api import ANA, EMAIL, PERSON
from tests.unit.directory.every import at, every_kind

LINKING: dict[str, dict[str, Any]] = {"nexudus": {"link_field": "ReferenceNumber"}}
FIELDS: dict[str, dict[str, Any]] = {
    "nexudus": {"fields": {"FullName": "{name}"}},
    "scim": {"fields": {"displayName": "{name}"}},
    "rowing club": {"fields": {"full_name": "{name}", "boat": "{claims.boat}"}},
    "gitlab": {"fields": {"name": "{name}"}},
}


@every_kind
async def test_a_person_is_found_by_address_in_any_case_and_read_by_id(kind: str) -> None:
    async with at(kind) as here:
        here.api.add("ben@tenant.example", "Ben")
        number = here.api.add("Ana@tenant.example", "Ana")
        account = await here.directory.find(EMAIL)
        assert account is not None
        assert (account.id, account.active) == (number, True)
        again = await here.directory.fetch(number)
        assert again is not None
        assert again.has(EMAIL)


@every_kind
async def test_whoever_is_not_there_is_nobody_and_no_error(kind: str) -> None:
    async with at(kind) as here:
        here.api.add("ana@tenant.example.org", "Ana")
        assert await here.directory.find(EMAIL) is None
        assert await here.directory.fetch("999") is None


@every_kind
@pytest.mark.parametrize(
    "local", ["o'brien", "a+b", "a&b=c", "a%22b", 'a" or userName pr or userName eq "b', "a\\", "*"]
)
async def test_an_address_reaches_the_api_as_it_is_whatever_it_holds(kind: str, local: str) -> None:
    """A-59: nothing of it becomes a filter, a parameter or a path."""
    async with at(kind) as here:
        here.api.add(EMAIL, "Ana")
        assert await here.directory.find(f"{local}@tenant.example") is None
        number = here.api.add(f"{local}@tenant.example", "Somebody")
        account = await here.directory.find(f"{local}@tenant.example")
        assert account is not None
        assert account.id == number


@every_kind
@pytest.mark.parametrize("number", ["..", "../../admin", "1/../2", "1?x=1", "", "."])
async def test_an_id_is_one_segment_of_a_path(kind: str, number: str) -> None:
    """A-59."""
    async with at(kind) as here:
        with suppress(DirectoryUnavailable):
            assert await here.directory.fetch(number) is None
        for _, path, _ in here.api.seen:
            assert not {".", ".."} & set(path.partition("?")[0].split("/"))
            assert "/admin" not in path


@every_kind
async def test_a_suspended_account_is_found_as_suspended(kind: str) -> None:
    async with at(kind) as here:
        here.api.add(EMAIL, "Ana", active=False)
        account = await here.directory.find(EMAIL)
        assert account is not None
        assert not account.active


@every_kind
async def test_a_new_account_has_the_persons_address_and_is_found(kind: str) -> None:
    async with at(kind) as here:
        number = await here.directory.create(PERSON)
        account = await here.directory.fetch(number)
        assert account is not None
        assert account.active
        assert account.has(EMAIL)
        found = await here.directory.find(EMAIL)
        assert found is not None
        assert found.id == number
        assert here.api.addresses == [EMAIL]


@every_kind
async def test_an_account_is_found_by_the_link_that_the_directory_keeps(kind: str) -> None:
    async with at(kind, **LINKING.get(kind, {})) as here:
        assert here.directory.can("link")
        assert await here.directory.find_linked(PERSON.link) is None
        here.api.add("ben@tenant.example", "Ben", link=f"{ANA.issuer}|another")
        number = here.api.add("old@tenant.example", "Ana", link=PERSON.link)
        account = await here.directory.find_linked(PERSON.link)
        assert account is not None
        assert account.id == number


@every_kind
async def test_a_new_account_keeps_whose_it_is(kind: str) -> None:
    async with at(kind, **LINKING.get(kind, {})) as here:
        number = await here.directory.create(PERSON)
        account = await here.directory.find_linked(PERSON.link)
        assert account is not None
        assert (account.id, account.link) == (number, PERSON.link)


@pytest.mark.parametrize("kind", ["scim", "rowing club", "gitlab"])
async def test_several_accounts_with_one_address_are_no_choice(kind: str) -> None:
    async with at(kind) as here:
        here.api.add(EMAIL, "Ana")
        here.api.add(EMAIL.upper(), "Ana too")
        with pytest.raises(AccountAmbiguous):
            await here.directory.find(EMAIL)


@every_kind
@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="html", times=None),
        Fault(kind="error", times=None),
        Fault(kind="cut", times=None),
        Fault(kind="redirect", times=None),
        Fault(kind="big", times=None),
        Fault(kind="answer", status=200, body='"nonsense"', times=None),
        Fault(kind="answer", status=403, body="{}", times=None),
        Fault(kind="throttle", status=429, retry_after="99", times=None),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
async def test_an_error_is_never_an_unknown_person(kind: str, fault: Fault) -> None:
    async with at(kind, timeout="2s") as here:
        here.api.add(EMAIL, "Ana")
        here.api.faults.add(replace(fault, match=here.api.FIND))
        with pytest.raises(DirectoryUnavailable):
            await here.directory.find(EMAIL)


@every_kind
@pytest.mark.parametrize("fault", [Fault(kind="cut"), Fault(kind="error"), Fault(kind="answer", status=200, body="{}")])
async def test_a_creation_whose_answer_was_lost_is_uncertain_and_is_not_sent_again(kind: str, fault: Fault) -> None:
    async with at(kind) as here:
        here.api.faults.add(replace(fault, match=here.api.CREATE, after=True))
        with pytest.raises(CreationUncertain):
            await here.directory.create(PERSON)
        assert asked_to_create(here.api) == created(here.api) == 1


@pytest.mark.parametrize("kind", ["scim", "rowing club", "gitlab"])
async def test_a_conflict_says_that_somebody_else_was_quicker(kind: str) -> None:
    async with at(kind) as here:
        here.api.add(EMAIL, "Ana")
        with pytest.raises(AlreadyThere):
            await here.directory.create(PERSON)


@every_kind
async def test_fields_that_differ_are_written_and_everything_else_stays(kind: str) -> None:
    changes = {**FIELDS[kind], "update": "at_login", **LINKING.get(kind, {})}
    async with at(kind, **changes) as here:
        service_may_edit(here.api)
        here.api.add(EMAIL, "Old Name", link=PERSON.link)
        account = await here.directory.find(EMAIL)
        assert account is not None
        found = here.directory.changes(account, PERSON)
        assert [(change.before, change.after) for change in found] == [("Old Name", "Ana Ruiz")]
        await here.directory.update(account, found)
        again = await here.directory.find(EMAIL)
        assert again is not None
        assert here.directory.changes(again, PERSON) == ()
        assert (again.id, again.active, again.email) == (account.id, True, account.email)


@every_kind
async def test_a_suspension_takes_effect_and_deletes_nothing(kind: str) -> None:
    async with at(kind) as here:
        service_may_edit(here.api)
        here.api.add(EMAIL, "Ana")
        account = await here.directory.find(EMAIL)
        assert account is not None
        await here.directory.suspend(account)
        again = await here.directory.fetch(account.id)
        assert again is not None
        assert not again.active
        assert here.api.addresses == [EMAIL]


@every_kind
async def test_every_account_is_listed_over_all_pages(kind: str) -> None:
    async with at(kind) as here:
        people = [f"p{number}@tenant.example" for number in range(5)]
        for email in people:
            here.api.add(email, "P", active=not email.startswith("p3"))
        listed = [account async for account in here.directory.accounts()]
        assert [account.email for account in listed] == people
        assert [account.active for account in listed] == [True, True, True, False, True]


@every_kind
async def test_where_writes_are_held_the_exact_call_is_told_and_nothing_is_sent(kind: str) -> None:
    """C-48: and no secret is in what is told."""
    seen: list[Any] = []
    async with at(kind, {"hold_writes": True, "watch": seen.append}) as here:
        assert await here.directory.find(EMAIL) is None
        with pytest.raises(WriteHeld) as held:
            await here.directory.create(PERSON)
        assert held.value.planned.method in ("POST", "PUT")
        assert "ana" in held.value.planned.body
        assert asked_to_create(here.api) == 0
        told = str([(call.method, call.url, call.headers, call.body) for call in seen])
        assert "***" in told
        for secret in ("service-password", "scim-token", "boathouse", "glpat", "eyJ"):
            assert secret not in told


@every_kind
async def test_a_directory_that_answers_is_well_and_one_that_refuses_us_is_not(kind: str) -> None:
    async with at(kind) as here:
        await here.directory.ping()
        here.api.faults.add(Fault(kind="answer", status=401, body="{}", times=None))
        with pytest.raises(DirectoryUnavailable) as caught:
            await here.directory.ping()
        assert caught.value.reason == "unauthorized"


@pytest.mark.parametrize("kind", ["rowing club", "gitlab"])
async def test_an_api_that_has_one_time_tokens_gives_them(kind: str) -> None:
    async with at(kind) as here:
        number = here.api.add(EMAIL, "Ana")
        account = await here.directory.find(EMAIL)
        assert account is not None
        assert account.facts["user_id"] == number
        token = await here.directory.sign_in_token(account)
        assert token in (f"glpat-for-{number}", "key-0")


async def test_an_api_without_them_says_so() -> None:
    async with at("scim") as here:
        here.api.add(EMAIL, "Ana")
        account = await here.directory.find(EMAIL)
        assert account is not None
        with pytest.raises(DirectoryUnavailable) as caught:
            await here.directory.sign_in_token(account)
        assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("kind", ["rowing club"])
async def test_claims_become_fields_of_a_new_account(kind: str) -> None:
    async with at(kind) as here:
        await here.directory.create(Person(identity=ANA, claims={"boat": "Kingfisher & Sons"}))
        account = await here.directory.find(EMAIL)
        assert account is not None
        assert account.facts["boat"] == "Kingfisher & Sons"


def service_may_edit(api: Any) -> None:
    """Nexudus tells apart who may write: the service account of these tests may."""
    if hasattr(api, "world"):
        for group in api.world.userroles.values():
            group["Roles"] = [role["Id"] for role in api.world.roles.values()]
