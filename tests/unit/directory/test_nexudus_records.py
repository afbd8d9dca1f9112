"""Reading what the API says, and what a new customer is made of."""

from typing import Any

import pytest

from gateway.directory.backends.nexudus_records import account_of, candidates, created_id, new_record, read_page
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.identity.claims import Identity

EMAIL = "ana@tenant.example"


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "Id": number,
        "Email": EMAIL,
        "Active": True,
        "Archived": False,
        "IsDefaultProfile": False,
        "InvoicingBusinessId": 501,
    } | fields


def page(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"Records": list(rows), "TotalItems": len(rows), "CurrentPage": 1, "HasNextPage": False} | fields


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([row(9), row(8)], 8),
        ([row(8), row(9, InvoicingBusinessId=777)], 8),
        ([row(8, InvoicingBusinessId=777), row(9)], 9),
        ([row(8), row(9, IsDefaultProfile=True, InvoicingBusinessId=777)], 9),
        ([row(8, IsDefaultProfile=True, Active=False), row(9, InvoicingBusinessId=777)], 9),
        ([row(8, Archived=True, IsDefaultProfile=True), row(9)], 9),
        ([row(8, Email="ben@tenant.example"), row(9)], 9),
        ([row(8, Email="ana@tenant.example.evil"), row(7, Email=None), row(9, Email="ANA@tenant.example")], 9),
    ],
)
def test_the_best_row_is_active_then_default_then_in_a_wanted_business_then_the_oldest(
    rows: list[dict[str, Any]], chosen: int
) -> None:
    assert candidates(rows, EMAIL, (501,))[0]["Id"] == chosen


def test_rows_of_other_people_are_nobody_even_when_the_filter_let_them_through() -> None:
    """A-59: a domain or a substring that matches is not the person."""
    assert (
        candidates([row(1, Email="xana@tenant.example"), row(2, Email="ana@tenant.example.evil")], EMAIL, (501,)) == []
    )


@pytest.mark.parametrize(
    "value",
    [
        [],
        None,
        "text",
        {},
        page(TotalItems=None),
        page(Records=None),
        page(Records=[1]),
        page(TotalItems=3),
        page(CurrentPage=2),
        page(HasNextPage=None),
        page(HasNextPage=True),
        {"WasSuccessful": False, "Message": "no", "Records": [], "TotalItems": 0, "HasNextPage": False},
    ],
)
def test_what_is_not_a_complete_page_is_an_error_and_never_an_empty_one(value: object) -> None:
    with pytest.raises(DirectoryUnavailable):
        read_page(value, 1)


def test_an_empty_list_is_nobody() -> None:
    assert read_page(page(), 1).rows == ()


def test_a_record_is_judged_by_what_it_says_when_read_by_its_id() -> None:
    account = account_of(row(7, UserId=3), "7")
    assert account is not None
    assert (account.id, account.user_id, account.facts) == ("7", "3", {"user_id": "3", "business_id": "501"})
    assert account_of(row(7, Archived=True), "7") is None
    with pytest.raises(DirectoryUnavailable):
        account_of(row(8), "7")


@pytest.mark.parametrize("active", [False, None, "true", 1])
def test_only_a_plain_true_is_active(active: object) -> None:
    account = account_of(row(7, Active=active), "7")
    assert account is not None
    assert not account.active


def test_a_new_record_has_the_fourteen_fields_and_its_location_twice() -> None:
    identity = Identity(issuer="https://x", subject="1", email=EMAIL, name="  Ana \n Ruiz ")
    record = new_record(identity, businesses=(502, 501), country=1113, time_zone=2029, create_login=True)
    assert record == {
        "FullName": "Ana Ruiz",
        "Email": EMAIL,
        "CoworkerType": 1,
        "Gender": 1,
        "TaxRateType": 1,
        "MondayAttendance": 5,
        "TuesdayAttendance": 5,
        "WednesdayAttendance": 5,
        "ThursdayAttendance": 5,
        "FridayAttendance": 5,
        "SaturdayAttendance": 5,
        "SundayAttendance": 5,
        "CountryId": 1113,
        "SimpleTimeZoneId": 2029,
        "Businesses": [502, 501],
        "InvoicingBusinessId": 502,
        "Active": True,
        "CreateUser": True,
        "Tag": "sso",
    }


@pytest.mark.parametrize(("name", "expected"), [(None, "ana"), (" \t", "ana"), ("x" * 400, "x" * 100)])
def test_a_name_is_bounded_and_comes_from_the_address_when_there_is_none(name: str | None, expected: str) -> None:
    identity = Identity(issuer="https://x", subject="1", email=EMAIL, name=name)
    record = new_record(identity, businesses=(501,), country=1, time_zone=1, create_login=False)
    assert record["FullName"] == expected


@pytest.mark.parametrize("email", [None, "", "a@" + "x" * 253])
def test_nobody_is_made_without_an_address_or_with_an_endless_one(email: str | None) -> None:
    identity = Identity(issuer="https://x", subject="1", email=email)
    with pytest.raises(DirectoryUnavailable) as caught:
        new_record(identity, businesses=(501,), country=1, time_zone=1, create_login=False)
    assert caught.value.reason == "rejected"


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"WasSuccessful": False, "Value": {"Id": 1}},
        {"WasSuccessful": "true", "Value": {"Id": 1}},
        {"Value": {"Id": 1}},
        {"WasSuccessful": True, "Value": None},
        {"WasSuccessful": True, "Value": {"Id": True}},
        {"WasSuccessful": True, "Value": {"Id": "1"}},
        {"WasSuccessful": True, "Value": {"Id": 0}},
    ],
)
def test_a_creation_succeeded_only_with_was_successful_and_an_id(value: object) -> None:
    assert created_id(value) is None
    assert created_id({"WasSuccessful": True, "Value": {"Id": 7}}) == "7"
