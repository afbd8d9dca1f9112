"""What is the http kind's own: values in every position of a request, pointers into every shape of an answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.config import schema
from gateway.demo.nexudus_stub import Fault
from gateway.directory.backends.http_api import account_of, outgoing, pointed
from gateway.directory.person import Person
from gateway.errors.signing_in import AccountAmbiguous, DirectoryUnavailable
from tests.fakes.rowing_club import RowingClub
from tests.unit.directory.api import ANA, EMAIL, PERSON
from tests.unit.directory.every import At, at


def request(**parts: Any) -> schema.HttpRequest:
    return schema.HttpRequest.model_validate({"path": "/x", **parts})


@asynccontextmanager
async def club(**changes: Any) -> AsyncIterator[At]:
    async with at("rowing club", **changes) as here:
        yield here


@pytest.mark.parametrize(
    ("subject", "path"),
    [
        ("a/b", "/u/a%2Fb/x"),
        ("a?b#c", "/u/a%3Fb%23c/x"),
        ("a%2f", "/u/a%252f/x"),
        ("é", "/u/%C3%A9/x"),
        ("a;b=c", "/u/a%3Bb%3Dc/x"),
    ],
)
def test_a_value_in_a_path_is_one_segment(subject: str, path: str) -> None:
    """A-59."""
    person = Person(identity=replace(ANA, subject=subject))
    assert outgoing(request(path="/u/{subject}/x"), person.known, {}, write=False).path == path


@pytest.mark.parametrize("subject", ["..", ".", ""])
def test_a_path_that_would_leave_its_place_is_not_asked_for(subject: str) -> None:
    """A-59."""
    person = Person(identity=replace(ANA, subject=subject))
    with pytest.raises(DirectoryUnavailable):
        outgoing(request(path="/u/{subject}"), person.known, {}, write=False)


def test_a_header_never_holds_a_second_one() -> None:
    """A-60: what a header cannot hold is an error, not another header."""
    for name in ("Ana\r\nX-Admin: 1", "é"):
        person = Person(identity=replace(ANA, name=name))
        with pytest.raises(DirectoryUnavailable):
            outgoing(request(headers={"X-Name": "{name}"}), person.known, {}, write=False)


def test_the_configured_headers_win_over_those_of_a_request() -> None:
    sent = outgoing(request(headers={"X-Key": "{name}"}), PERSON.known, {"X-Key": "secret"}, write=False)
    assert sent.headers["X-Key"] == "secret"


def test_json_keeps_types_and_leaves_out_what_is_not_known() -> None:
    person = Person(identity=replace(ANA, groups=("a", "b")), claims={"level": 3, "on": True})
    body = {
        "groups": "{groups}", "level": "{claims.level}", "on": "{claims.on}", "text": "level {claims.level}", "n": None,
        "none": "{claims.nothing}", "inner": {"none": "{claims.nothing}"}, "list": ["{email}", "{claims.nothing}", 1], "empty": {},
    }  # fmt: skip
    sent = outgoing(request(method="POST", json=body), person.known, {}, write=True)
    assert sent.body == (
        b'{"groups": ["a", "b"], "level": 3, "on": true, "text": "level 3", "n": null, "list": ["ana@tenant.example", 1], "empty": {}}'
    )
    assert sent.headers["Content-Type"] == "application/json"


def test_a_form_and_a_query_are_encoded_value_by_value() -> None:
    person = Person(identity=replace(ANA, name="R&D = 100% +é"))
    sent = outgoing(request(method="POST", form={"n": "{name}", "x": "{claims.nothing}"}), person.known, {}, write=True)
    assert sent.body == b"n=R%26D+%3D+100%25+%2B%C3%A9"
    assert outgoing(request(query={"n": "{name}", "x": "{claims.x}"}), person.known, {}, write=False).query == {
        "n": "R&D = 100% +é"
    }


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", {"a/b": 1, "m~n": 2, "l": [{"x": 3}], "": 4}),
        ("/a~1b", 1), ("/m~0n", 2), ("/l/0/x", 3), ("/", 4), ("/l/1", None), ("/l/-1", None), ("/nothing/x", None), ("/l/٠", None),
    ],
)  # fmt: skip
def test_pointers_are_those_of_rfc_6901(pointer: str, expected: Any) -> None:
    assert pointed({"a/b": 1, "m~n": 2, "l": [{"x": 3}], "": 4}, pointer) == expected


ANSWER = schema.HttpAnswer.model_validate(
    {
        "id": "/id",
        "email": "/mail",
        "active": "/state",
        "active_values": ["active", 1],
        "user_id": "/login",
        "facts": {"team": "/team"},
    }
)


@pytest.mark.parametrize(
    ("state", "active"),
    [("active", True), (1, True), ("Active", False), (True, False), ("1", False), (None, False), ({}, False)],
)
def test_only_the_named_values_are_active(state: Any, active: bool) -> None:
    assert account_of(ANSWER, {"id": 7, "mail": EMAIL, "state": state}).active == active
    assert not account_of(ANSWER, {"id": 7, "mail": EMAIL}).active


@pytest.mark.parametrize("record", [None, [], {}, {"id": ""}, {"id": None}, {"id": True}, {"id": {}}, "x"])
def test_a_record_without_an_id_where_it_was_to_be_is_an_error(record: Any) -> None:
    with pytest.raises(DirectoryUnavailable):
        account_of(ANSWER, record)


def test_facts_are_plain_and_bounded() -> None:
    record = {"id": 7, "mail": [EMAIL, "b@x"], "login": 9, "state": 1, "team": "x" * 600}
    account = account_of(ANSWER, record)
    assert (account.id, account.user_id, account.has("B@x")) == ("7", "9", True)
    assert account.facts == {"user_id": "9", "team": "x" * 512}
    assert account_of(ANSWER, record | {"team": {"a": 1}}).facts == {"user_id": "9"}


async def test_look_ups_are_tried_in_turn_until_one_knows_the_person() -> None:
    find = [
        {"method": "POST", "path": "/members/search", "json": {"where": {"mail": "x@y"}}},
        {"method": "POST", "path": "/members/search", "json": {"where": {"mail": "{email}"}}},
    ]
    async with club() as before:
        requests = before.api.section()["requests"]
    async with club(requests=requests | {"find": find}) as here:
        number = here.api.add(EMAIL, "Ana")
        account = await here.directory.find(EMAIL)
        assert account is not None
        assert account.id == number
        assert len(here.api.seen) == 2


async def test_the_api_is_spoken_to_with_basic_where_that_is_configured() -> None:
    async with club(headers={}, username="me", password="päss:word") as here:
        with pytest.raises(DirectoryUnavailable):
            await here.directory.find(EMAIL)
        assert here.api.seen[0][2]["Authorization"] == "Basic bWU6cMOkc3M6d29yZA=="


@pytest.mark.parametrize(
    "body", ["[]", '{"result":{}}', '{"result":{"hits":[1]}}', '{"result":{"hits":"x"}}', '{"result":null}']
)
async def test_an_answer_without_a_list_where_it_was_to_be_is_an_error(body: str) -> None:
    async with club() as here:
        here.api.faults.add(Fault(kind="answer", match=RowingClub.FIND, status=200, body=body))
        with pytest.raises(DirectoryUnavailable):
            await here.directory.find(EMAIL)


async def test_a_row_without_the_persons_address_is_not_the_persons() -> None:
    """A-59."""
    other = '{"result":{"hits":[{"member":{"no":1,"mails":["ben@tenant.example"],"standing":"captain"}}]}}'
    async with club() as here:
        here.api.faults.add(Fault(kind="answer", match=RowingClub.FIND, status=200, body=other))
        assert await here.directory.find(EMAIL) is None


async def test_two_accounts_with_one_link_are_no_choice() -> None:
    row = '{"member":{"no":%d,"mails":["a@x"],"badge":"https://login.example.com/|sub-1"}}'
    async with club() as here:
        both = f'{{"badge":{{"holder":[{row % 1},{row % 2}]}}}}'
        here.api.faults.add(Fault(kind="answer", match="GET /v7/badges/*", status=200, body=both))
        with pytest.raises(AccountAmbiguous):
            await here.directory.find_linked(PERSON.link)


async def test_what_an_api_cannot_is_said() -> None:
    async with club() as before:
        requests = {name: before.api.section()["requests"][name] for name in ("find", "fetch")}
    async with club(requests=requests) as here:
        here.api.add(EMAIL, "Ana")
        account = await here.directory.find(EMAIL)
        assert account is not None
        for ability in ("create", "update", "suspend", "sign_in_token", "link", "list"):
            assert not here.directory.can(ability)
        for call in (
            here.directory.create(PERSON),
            here.directory.suspend(account),
            here.directory.sign_in_token(account),
        ):
            with pytest.raises(DirectoryUnavailable) as caught:
                await call
            assert caught.value.reason == "unsupported"
