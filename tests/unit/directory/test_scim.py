"""What is SCIM's own: filters, ServiceProviderConfig, uniqueness, PATCH and PUT, extensions (RFC 7643, RFC 7644)."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.demo.nexudus_stub import Fault
from gateway.directory.account import AlreadyThere
from gateway.directory.backends.scim_records import quoted, value_at, with_value
from gateway.directory.person import Person
from gateway.errors.signing_in import AccountAmbiguous, DirectoryUnavailable
from gateway.observability.events import Audit
from tests.fakes.scim import CORE, ENTERPRISE, ScimServer
from tests.unit.directory.api import ANA, EMAIL, PERSON, provisioner
from tests.unit.directory.every import At, at

FIELDS = {
    "name.givenName": "{claims.given_name}",
    f"{ENTERPRISE}:department": "{claims.department}",
    'phoneNumbers[type eq "mobile"].value': "{claims.phone_number}",
}
CLAIMED = Person(
    identity=ANA,
    claims={"given_name": "Ana", "family_name": "Ruiz", "department": "R&D", "phone_number": "+34 600 000 000"},
)


def server(here: At) -> ScimServer:
    api = here.api
    assert isinstance(api, ScimServer)
    return api


async def test_a_new_user_has_what_rfc_7643_calls_a_user_and_whose_it_is() -> None:
    async with at("scim", fields=FIELDS) as here:
        number = await here.directory.create(CLAIMED)
        user = server(here).users[number]
        assert user["schemas"] == [CORE, ENTERPRISE]
        assert user["externalId"] == "https://login.example.com/|sub-1"
        assert (user["userName"], user["displayName"], user["active"]) == (EMAIL, "Ana Ruiz", True)
        assert user["name"] == {"formatted": "Ana Ruiz", "givenName": "Ana", "familyName": "Ruiz"}
        assert user["emails"] == [{"value": EMAIL, "type": "work", "primary": True}]
        assert user[ENTERPRISE] == {"department": "R&D"}
        assert user["phoneNumbers"] == [{"type": "mobile", "value": "+34 600 000 000"}]


@pytest.mark.parametrize("match", ["userName", "emails.value", 'emails[type eq "work"].value'])
async def test_the_attribute_that_holds_the_address_is_a_setting(match: str) -> None:
    async with at("scim", match=match) as here:
        here.api.add("ana", "Ana", emails=[{"value": EMAIL, "type": "work"}])
        account = await here.directory.find(EMAIL)
        assert (account is not None) == (match != "userName")


async def test_a_server_that_ignores_the_filter_makes_nobody_of_anybody() -> None:
    """A-59."""
    async with at("scim") as here:
        server(here).deaf = True
        for number in range(3):
            here.api.add(f"p{number}@tenant.example", "P")
        assert await here.directory.find(EMAIL) is None
        for number in range(3, 30):
            here.api.add(f"p{number}@tenant.example", "P")
        with pytest.raises(DirectoryUnavailable):
            await here.directory.find(EMAIL)


@pytest.mark.parametrize("text", ['a"b', "a\\b", 'a\\" or userName pr', "é", "\n"])
def test_a_filter_holds_a_value_as_one_json_string(text: str) -> None:
    """A-59: RFC 7644 section 3.4.2.2."""
    assert json.loads(quoted(text)) == text


@pytest.mark.parametrize("status", [409, 400])
@pytest.mark.parametrize("kind", ["uniqueness", None])
async def test_taken_means_taken_in_both_spellings_and_nothing_else_does(status: int, kind: str | None) -> None:
    async with at("scim") as here:
        here.api.add(EMAIL, "Ana")
        server(here).conflict, server(here).conflict_type = status, kind
        with pytest.raises(DirectoryUnavailable) as caught:
            await here.directory.create(PERSON)
        assert isinstance(caught.value, AlreadyThere) == (status == 409 or kind == "uniqueness")


@pytest.mark.parametrize("hidden", [False, True])
async def test_who_was_made_by_somebody_else_meanwhile_is_looked_up_once_more_and_then_let_in(
    redis: Redis, prefix: str, hidden: bool
) -> None:
    """A user that the look-up hides is an error: nobody else is made instead, and nobody comes in."""
    async with at("scim") as here:
        here.api.add(EMAIL, "Ana")
        nobody = '{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0}'
        # Both look-ups by link and both by address before the creation show nobody.
        here.api.faults.add(Fault(kind="answer", match=ScimServer.FIND, status=200, body=nobody, times=3))
        server(here).hides = {EMAIL} if hidden else set()
        desk = provisioner(here.directory, redis, prefix, Audit(lambda line: None))
        if hidden:
            with pytest.raises(DirectoryUnavailable) as caught:
                await desk.ensure(ANA, app="portal", registration="create")
            assert caught.value.reason == "rejected"
        else:
            identity = await desk.ensure(ANA, app="portal", registration="create")
            assert identity.directory["id"] == here.api.ids[0]
        assert here.api.counters["create"] == 1
        assert here.api.counters["created"] == 0


async def test_two_users_with_one_external_id_are_no_choice() -> None:
    async with at("scim") as here:
        for email in ("a@tenant.example", "b@tenant.example"):
            here.api.add(email, "A", link=PERSON.link)
        with pytest.raises(AccountAmbiguous):
            await here.directory.find_linked(PERSON.link)


async def test_a_server_that_does_not_filter_by_external_id_finds_people_by_address() -> None:
    async with at("scim") as here:
        server(here).filterable = ["userName"]
        here.api.add(EMAIL, "Ana", link=PERSON.link)
        assert await here.directory.find_linked(PERSON.link) is None
        assert await here.directory.find(EMAIL) is not None


async def test_a_server_that_says_it_cannot_filter_is_of_no_use_and_that_is_said() -> None:
    async with at("scim") as here:
        server(here).filters = False
        with pytest.raises(DirectoryUnavailable) as caught:
            await here.directory.find(EMAIL)
        assert "cannot filter" in caught.value.detail
        with pytest.raises(DirectoryUnavailable):
            await here.directory.ping()


async def test_what_the_server_can_is_asked_once() -> None:
    async with at("scim") as here:
        for _ in range(3):
            await here.directory.find(EMAIL)
        assert sum(path.endswith("/ServiceProviderConfig") for _, path, _ in here.api.seen) == 1


@pytest.mark.parametrize(
    ("patches", "configured", "how"), [(True, True, "patch"), (False, True, "put"), (True, False, "put")]
)
async def test_changes_are_patched_where_the_server_can_and_put_whole_where_not(
    patches: bool, configured: bool, how: str
) -> None:
    async with at("scim", fields={"displayName": "{name}", "name.givenName": "{claims.given_name}"}) as here:
        server(here).patches, server(here).configured = patches, configured
        number = here.api.add(EMAIL, "Old", nickName="Anita", name={"familyName": "Ruiz"}, link=PERSON.link)
        account = await here.directory.find(EMAIL)
        assert account is not None
        await here.directory.update(account, here.directory.changes(account, CLAIMED))
        user = server(here).users[number]
        assert (user["displayName"], user["nickName"], user["userName"]) == ("Ana Ruiz", "Anita", EMAIL)
        assert user["name"] == {"familyName": "Ruiz", "givenName": "Ana"}
        assert (here.api.counters["patch"], here.api.counters["put"]) == ((1, 0) if how == "patch" else (0, 1))


@pytest.mark.parametrize("active", [False, None, "true", 1])
async def test_only_a_plain_true_and_nothing_said_is_active(active: Any) -> None:
    async with at("scim") as here:
        number = here.api.add(EMAIL, "Ana")
        server(here).users[number]["active"] = active
        account = await here.directory.find(EMAIL)
        assert account is not None
        assert account.active == (active is None)


async def test_attribute_names_are_read_in_any_case() -> None:
    """RFC 7643 section 2.1."""
    assert value_at({"USERNAME": "ana", "Name": {"GivenName": "Ana"}}, "userName") == "ana"
    assert value_at({"Name": {"GivenName": "Ana"}}, "name.givenName") == "Ana"
    assert with_value({"DisplayName": "x"}, "displayName", "y") == {"DisplayName": "y"}
    assert value_at({"emails": [{"value": "a"}, {"value": "b"}]}, "emails.value") == ["a", "b"]


async def test_a_person_without_an_address_is_not_created() -> None:
    async with at("scim") as here:
        with pytest.raises(DirectoryUnavailable):
            await here.directory.create(Person(identity=replace(ANA, email=None)))
        assert here.api.counters["create"] == 0


async def test_a_new_token_error_names_no_token() -> None:
    """C-48."""
    async with at("scim", token="wrong-token-of-the-tests") as here:
        with pytest.raises(DirectoryUnavailable) as caught:
            await here.directory.find(EMAIL)
        assert caught.value.reason == "unauthorized"
        assert "wrong-token" not in f"{caught.value.detail} {here.directory!r}"
