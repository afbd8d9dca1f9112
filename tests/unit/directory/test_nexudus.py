"""The Directory over a real server that follows the vendor's documents, and misbehaves as told."""

import asyncio
import json
import logging

import aiohttp
import pytest
from msgspec.structs import replace

from gateway.demo.nexudus_stub import Fault, Switches
from gateway.directory.account import CreationUncertain
from gateway.directory.api.calls import ApiTransport, NotSent
from gateway.directory.backends.nexudus import NexudusDirectory
from gateway.directory.person import Person
from gateway.errors.signing_in import DirectoryUnavailable
from tests.fakes.waiting import eventually
from tests.unit.directory.api import ANA, CREATE, EMAIL, LIST, PERSON, READ, bench, section


async def test_a_person_is_found_by_address_and_read_by_id() -> None:
    async with bench(coworkers=[{"email": "Ana@Tenant.example", "full_name": "Ana", "UserId": 5}]) as at:
        account = await at.directory.find(EMAIL)
        assert account is not None
        assert account.id == str(at.stub.coworkers[0]["Id"])
        assert account.facts == {"user_id": "5", "business_id": "501"}
        assert account.active
        assert (at.stub.counters["coworkers.list"], at.stub.counters["coworkers.read"]) == (1, 1)


async def test_an_address_with_a_plus_sign_is_asked_for_as_it_is() -> None:
    async with bench(coworkers=[{"email": "ana+tag@tenant.example", "full_name": "Ana"}]) as at:
        assert await at.directory.find("ana+tag@tenant.example") is not None
        assert await at.directory.find("ana@tenant.example") is None


async def test_a_list_whose_filter_is_ignored_does_not_make_somebody_of_anybody() -> None:
    """A-59."""
    people = [{"email": f"p{number}@tenant.example", "full_name": "P"} for number in range(60)]
    async with bench(coworkers=people, switches=Switches(deaf_filters=True)) as at:
        assert await at.directory.find(EMAIL) is None
        assert at.stub.counters["coworkers.list"] == 3
        at.stub.world.add_coworker(EMAIL, "Ana", Id=99_999_999)
        found = await at.directory.find(EMAIL)
        assert found is not None
        assert found.id == "99999999"


async def test_a_list_without_an_end_is_an_error() -> None:
    people = [{"email": f"p{number}@tenant.example", "full_name": "P"} for number in range(300)]
    async with bench(coworkers=people, switches=Switches(deaf_filters=True)) as at:
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.find(EMAIL)
        assert caught.value.reason == "incomplete"


async def test_a_filter_that_tells_case_apart_is_asked_again_in_lower_case() -> None:
    async with bench(coworkers=[{"email": EMAIL, "full_name": "Ana"}], switches=Switches(exact_case=True)) as at:
        assert await at.directory.find("Ana@tenant.example") is not None


async def test_of_several_records_one_is_chosen_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"email": EMAIL, "full_name": "A", "Id": 3, "Active": False},
        {"email": EMAIL, "full_name": "A", "Id": 5},
        {"email": EMAIL, "full_name": "A", "Id": 4, "Archived": True},
    ]
    async with bench(coworkers=rows) as at:
        with caplog.at_level(logging.WARNING):
            account = await at.directory.find(EMAIL)
    assert account is not None
    assert (account.id, account.active) == ("5", True)
    assert "chose 5" in caplog.text
    assert EMAIL not in caplog.text


async def test_a_person_whose_every_record_is_inactive_is_found_inactive() -> None:
    rows = [{"email": EMAIL, "full_name": "A", "Active": False}, {"email": EMAIL, "full_name": "A", "Active": False}]
    async with bench(coworkers=rows) as at:
        account = await at.directory.find(EMAIL)
        assert account is not None
        assert not account.active


async def test_somebody_who_is_only_archived_is_nobody() -> None:
    async with bench(coworkers=[{"email": EMAIL, "full_name": "A", "Archived": True}]) as at:
        assert await at.directory.find(EMAIL) is None


@pytest.mark.parametrize("status", [404, 401])
async def test_a_deleted_record_that_lists_still_show_is_nobody(status: int) -> None:
    async with bench(
        coworkers=[{"email": EMAIL, "full_name": "A", "ghost": True}], switches=Switches(missing_status=status)
    ) as at:
        assert await at.directory.find(EMAIL) is None
        assert at.stub.counters["token.password"] == 1  # "Not found" is not an expired token
        at.stub.world.add_coworker(EMAIL, "A")
        assert await at.directory.find(EMAIL) is not None


async def test_fetch_reads_one_record_by_its_number_and_nothing_else() -> None:
    async with bench(coworkers=[{"email": EMAIL, "full_name": "A", "Id": 7}]) as at:
        account = await at.directory.fetch("7")
        assert account is not None
        assert account.has("ANA@tenant.example")
        assert not account.has("ben@tenant.example")
        assert await at.directory.fetch("8") is None
        with pytest.raises(DirectoryUnavailable):
            await at.directory.fetch("7/../users")


async def test_creation_sends_what_the_strict_api_wants() -> None:
    async with bench(settings={"create_login": True}) as at:
        number = await at.directory.create(PERSON)
        assert at.stub.coworkers[0] | {"Email": EMAIL, "FullName": "Ana Ruiz"} == at.stub.coworkers[0]
        assert at.stub.coworkers[0]["Businesses"] == [501]
        assert [mail["to"] for mail in at.stub.outbox] == [EMAIL]
        account = await at.directory.fetch(number)
        assert account is not None
        assert account.user_id is not None


async def test_nothing_is_created_without_a_location() -> None:
    async with bench(settings={"business_ids": ()}) as at:
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.create(PERSON)
        assert caught.value.reason == "rejected"
        assert at.stub.coworkers == []


@pytest.mark.parametrize("given", [{}, {"country_id": 1226}, {"time_zone_id": 2023}])
async def test_country_and_time_zone_that_nobody_typed_are_those_of_the_service_account(given: dict[str, int]) -> None:
    async with bench(settings={"country_id": None, "time_zone_id": None} | given) as at:
        for email in ("a@tenant.example", "b@tenant.example"):
            await at.directory.create(Person(identity=replace(ANA, email=email)))
        wanted = {"country_id": 1113, "time_zone_id": 2029} | given
        for record in at.stub.coworkers:
            assert (record["CountryId"], record["SimpleTimeZoneId"]) == (wanted["country_id"], wanted["time_zone_id"])
        assert sum(path == "/api/auth/me" for _, path, _ in at.stub.seen) == 1


@pytest.mark.parametrize(
    "said", ['{"DefaultCountryId":0,"DefaultSimpleTimeZoneId":0}', "[]", '{"DefaultCountryId":true}']
)
async def test_a_service_account_without_a_country_says_which_key_to_set(said: str) -> None:
    async with bench(settings={"country_id": None}) as at:
        at.stub.faults.add(Fault(kind="answer", match="GET /api/auth/me", status=200, body=said))
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.create(PERSON)
        assert "set directory.country_id" in caught.value.detail
        assert at.stub.coworkers == []


@pytest.mark.parametrize(
    ("fault", "reason", "uncertain"),
    [
        (Fault(kind="unsuccessful", body="Ooops! ana@tenant.example"), "rejected", False),
        (
            Fault(kind="answer", status=400, body='{"Message":"Email: is in use","WasSuccessful":false}'),
            "rejected",
            False,
        ),
        (Fault(kind="html"), "not_json", False),
        (Fault(kind="redirect"), "rejected", False),
        (Fault(kind="throttle", retry_after="900"), "throttled", False),
        (Fault(kind="html", status=200), "not_json", True),
        (Fault(kind="answer", status=200, body='{"WasSuccessful":true,"Value":null}'), "incomplete", True),
        (Fault(kind="answer", status=200, body="[]"), "incomplete", True),
        (Fault(kind="big"), "incomplete", True),
        (Fault(kind="error"), "unreachable", True),
        (Fault(kind="cut"), "unreachable", True),
    ],
)
async def test_a_creation_that_did_not_succeed_is_either_surely_undone_or_said_to_be_uncertain(
    fault: Fault, reason: str, uncertain: bool
) -> None:
    fault.match = CREATE
    async with bench() as at:
        at.stub.faults.add(fault)
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.create(PERSON)
        assert caught.value.reason == reason
        assert isinstance(caught.value, CreationUncertain) is uncertain
        assert EMAIL not in caught.value.detail
        posts = [path for method, path, _ in at.stub.seen if f"{method} {path}" == CREATE]
        assert len(posts) == 1  # never sent twice


async def test_a_creation_that_is_not_answered_in_time_is_uncertain_and_leaves_time_to_look_again() -> None:
    async with bench(timeout=2) as at:
        await at.directory.ping()
        at.stub.faults.add(Fault(kind="slow", match=CREATE, seconds=1.9, after=True))
        started = asyncio.get_running_loop().time()
        with pytest.raises(CreationUncertain) as caught:
            await at.directory.create(PERSON)
        assert caught.value.reason == "timeout"
        assert asyncio.get_running_loop().time() - started < 1.9


async def test_access_denied_on_creation_means_a_dead_reference_and_not_an_expired_token() -> None:
    async with bench(settings={"business_ids": (999,)}) as at:
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.create(PERSON)
        assert caught.value.reason == "rejected"
        assert "business_ids" in caught.value.detail
        assert (at.stub.counters["token.password"], at.stub.counters["token.refresh"]) == (1, 0)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(kind="html", times=None), "not_json"),
        (Fault(kind="html", status=200, times=None), "not_json"),
        (Fault(kind="error", times=None), "unreachable"),
        (Fault(kind="cut", times=None), "unreachable"),
        (Fault(kind="redirect", times=None), "rejected"),
        (Fault(kind="unsuccessful", body="no", times=None), "rejected"),
        (Fault(kind="big", times=None), "incomplete"),
        (Fault(kind="answer", status=200, body="[]", times=None), "incomplete"),
        (Fault(kind="answer", status=200, body="[" * 100_000, times=None), "not_json"),
        (Fault(kind="answer", status=404, body="", times=None), "rejected"),
        (Fault(kind="throttle", times=None), "throttled"),
        (Fault(kind="throttle", status=429, retry_after="1", times=None), "throttled"),
        (Fault(kind="slow", seconds=1, times=None), "timeout"),
    ],
)
@pytest.mark.parametrize("match", [LIST, READ])
async def test_an_error_is_never_nobody(fault: Fault, reason: str, match: str) -> None:
    fault.match = match
    async with bench(timeout=0.6 if reason == "timeout" else 5, coworkers=[{"email": EMAIL, "full_name": "A"}]) as at:
        at.stub.faults.add(fault)
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.find(EMAIL)
        assert caught.value.reason == reason


async def test_a_redirect_is_not_followed() -> None:
    """A-65: whoever is redirected to would be given the service account's token."""
    async with bench() as at:
        at.stub.faults.add(Fault(kind="redirect", match=LIST, body=f"{at.stub.url}/elsewhere"))
        with pytest.raises(DirectoryUnavailable):
            await at.directory.find(EMAIL)
        assert not any(path.startswith("/elsewhere") for _, path, _ in at.stub.seen)


@pytest.mark.parametrize("fault", [Fault(kind="error"), Fault(kind="cut")])
async def test_one_hiccup_of_a_look_up_is_repeated(fault: Fault) -> None:
    fault.match, fault.times = LIST, 1
    async with bench(coworkers=[{"email": EMAIL, "full_name": "A"}]) as at:
        at.stub.faults.add(fault)
        assert await at.directory.find(EMAIL) is not None


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        (Fault(kind="throttle", times=3), 1.0),
        (Fault(kind="throttle", retry_after="2"), 2.0),
        (Fault(kind="throttle", status=429, body="Too fast. Wait 3 seconds."), 3.0),
        (Fault(kind="throttle", status=429, body='{"Message": "Wait 1 second"}'), 1.0),
    ],
)
@pytest.mark.parametrize("match", [LIST, CREATE, "POST /api/token"])
async def test_throttling_is_waited_for_as_long_as_the_api_asks(fault: Fault, least: float, match: str) -> None:
    fault = Fault(
        kind="throttle",
        match=match,
        times=fault.times,
        status=fault.status,
        retry_after=fault.retry_after,
        body=fault.body,
    )
    async with bench(timeout=10) as at:
        at.stub.faults.add(fault)
        if match == CREATE:
            await at.directory.create(PERSON)
            assert at.stub.counters["coworkers.created"] == 1
        else:
            assert await at.directory.find(EMAIL) is None
        assert all(least <= pause <= least * 1.25 for pause in at.waited)
        assert len(at.waited) in (1, 3)


async def test_a_wait_that_nobody_at_a_login_would_wait_is_refused_at_once() -> None:
    async with bench(timeout=10) as at:
        at.stub.faults.add(Fault(kind="throttle", match=LIST, retry_after="60"))
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.find(EMAIL)
        assert (caught.value.reason, caught.value.retry_after, at.waited) == ("throttled", 61, [])


async def test_waits_and_calls_share_one_budget() -> None:
    async with bench(timeout=3) as at:
        at.stub.faults.add(Fault(kind="throttle", times=None, retry_after="1", match=READ))
        at.stub.world.add_coworker(EMAIL, "A")
        began = at.clock.monotonic()
        with pytest.raises(DirectoryUnavailable):
            await at.directory.find(EMAIL)
        assert at.clock.monotonic() - began <= 3


async def test_too_few_rights_are_told_from_an_expired_token() -> None:
    async with bench() as at:
        service = at.stub.world.user_by_email("sso@ops.example")
        assert service is not None
        service["UserRoles"] = []
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.find(EMAIL)
        assert caught.value.reason == "unauthorized"
        assert at.stub.counters["coworkers.list"] == 2  # one renewal, no more


async def test_nobody_listens_is_unreachable_and_surely_nothing_was_sent() -> None:
    async with aiohttp.ClientSession() as http:
        directory = NexudusDirectory(section("http://127.0.0.1:9"), ApiTransport(http=http))
        with pytest.raises(NotSent) as caught:
            await directory.create(PERSON)
        assert caught.value.reason == "unreachable"


async def test_ping_returns_when_the_credentials_can_list_and_raises_when_not() -> None:
    async with bench() as at:
        await at.directory.ping()
        at.stub.faults.add(Fault(kind="html", match=LIST))
        with pytest.raises(DirectoryUnavailable):
            await at.directory.ping()
        await at.directory.close()


async def test_neither_password_nor_token_shows_in_log_or_error(caplog: pytest.LogCaptureFixture) -> None:
    """C-48."""
    echo = {"Message": "no"}
    with caplog.at_level(logging.DEBUG):
        async with bench(settings={"password": "wrong-secret-word"}) as at:
            at.stub.faults.add(Fault(kind="answer", status=500, body=json.dumps(echo), match=LIST, times=None))
            with pytest.raises(DirectoryUnavailable) as caught:
                await at.directory.find(EMAIL)
            with pytest.raises(DirectoryUnavailable):
                await at.directory.find(EMAIL)
    assert "wrong-secret-word" not in caplog.text + str(caught.value) + caught.value.detail


async def test_a_list_that_ignores_the_link_gives_nobody_somebody_elses_record() -> None:
    """A-59: nor are those records even read."""
    people = [{"email": f"p{number}@tenant.example", "full_name": "P", "ReferenceNumber": "x"} for number in range(3)]
    async with bench(
        coworkers=people, switches=Switches(deaf_filters=True), settings={"link_field": "ReferenceNumber"}
    ) as at:
        assert await at.directory.find_linked(PERSON.link) is None
        assert at.stub.counters["coworkers.read"] == 0
        at.stub.world.add_coworker("old@tenant.example", "Ana", Id=7, ReferenceNumber=PERSON.link)
        found = await at.directory.find_linked(PERSON.link)
        assert found is not None
        assert found.id == "7"


async def test_a_record_that_became_another_persons_after_it_was_listed_is_nobodys() -> None:
    """A-59: what was read last decides."""
    async with bench(settings={"link_field": "ReferenceNumber"}) as at:
        record = at.stub.world.add_coworker("old@tenant.example", "Ana", Id=7, ReferenceNumber=PERSON.link)
        at.stub.faults.add(Fault(kind="slow", match=READ, seconds=0.3))
        asking = asyncio.create_task(at.directory.find_linked(PERSON.link))
        await eventually(lambda: at.stub.counters["coworkers.list"] == 1)
        record["ReferenceNumber"] = "https://login.example.com/|sub-2"
        assert await asking is None
        assert at.stub.counters["coworkers.read"] == 1
