"""What becomes of claims: placeholders, fields, defaults, and what of a provider's claims may go on at all."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.config.placeholders import parse
from gateway.directory.person import Person, all_fields, fill, link_of, plain
from tests.fakes.directories import NexudusApi
from tests.unit.directory.api import ANA
from tests.unit.directory.every import at, settings_of

CLAIMS = {
    "given_name": "Ana", "phone_number": "+34 600", "address": {"locality": "Madrid"}, "level": 3, "admin": False,
    "https://example.com/dept": "R&D", "teams": ["a", "b,c"], "weird": {"x": 1}, "split": "a\r\nX-Admin: 1", "huge": "x" * 513,
}  # fmt: skip
PERSON = Person(identity=replace(ANA, groups=("staff", "berlin")), claims=CLAIMS, app="portal")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{email}", "ana@tenant.example"),
        ("{email_local}", "ana"),
        ("{claims.given_name} {name}!", "Ana Ana Ruiz!"),
        ("{claims.nickname|claims.given_name|name}", "Ana"),
        ("{claims.address.locality}", "Madrid"),
        ("{claims.https://example.com/dept}", "R&D"),
        ("{claims.level}", 3),
        ("{claims.admin}", False),
        ("is {claims.admin}", "is false"),
        ("{groups}", ["staff", "berlin"]),
        ("{claims.teams}", ["a", "b,c"]),
        ("{link}", "https://login.example.com/|sub-1"),
        ("{{email}}", "{email}"),
        ("", ""),
        ("{claims.nothing}", None),
        ("Hello {claims.nothing}", None),
        ("{claims.weird}", None),
        ("{claims.split}", None),
        ("{claims.huge}", None),
        ("{preferred_username}", None),
    ],
)
def test_a_text_is_filled_in_with_what_is_known(text: str, expected: Any) -> None:
    """A-60: what is no plain value of one line is not known."""
    assert fill(text, PERSON.known) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [('mail eq "{email:dquote}"', 'mail eq "o\'b\\"x\\\\@x"'), ("mail = '{email:squote}'", "mail = 'o''b\"x\\@x'")],
)
def test_a_value_inside_quotes_ends_nothing(text: str, expected: str) -> None:
    """A-59."""
    person = Person(identity=replace(ANA, email="o'b\"x\\@x"))
    assert fill(text, person.known) == expected


@pytest.mark.parametrize(
    "text", ["{", "}", "{email", "{}", "{emial}", "{email||name}", "{email:quoted}", "{claims.}", "a\nb", "x" * 4001]
)
def test_what_is_no_text_with_placeholders_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="; allowed: "):
        parse(text)


@pytest.mark.parametrize("value", [None, {"a": 1}, [], [1], [{}], ["a\nb"], "", "a\x00b", "\ud800", ["x"] * 1001])
def test_what_is_no_plain_value_does_not_go_on(value: Any) -> None:
    """A-60."""
    assert plain(value) is None


def test_a_person_without_a_subject_has_no_link() -> None:
    assert link_of(replace(ANA, subject="")) == ""


def test_defaults_count_where_the_claims_gave_nothing_and_the_first_that_applies_goes_first() -> None:
    section = NexudusApi().section(
        base_url="https://spaces.example.com",
        fields={"MobilePhone": "{claims.phone_number}", "CompanyName": "{claims.company}", "Custom1": 7},
        defaults=[
            {"groups": ["nobody"], "fields": {"CompanyName": "Wrong"}},
            {"email_domains": ["other.example"], "fields": {"CompanyName": "Wrong"}},
            {"apps": ["dashboard"], "fields": {"CompanyName": "Wrong"}},
            {
                "groups": ["berlin", "x"],
                "email_domains": ["TENANT.example"],
                "apps": ["portal"],
                "fields": {"CompanyName": "Berlin"},
            },
            {
                "fields": {
                    "CompanyName": "Everybody",
                    "MobilePhone": "none",
                    "Notes": "{given|name}".replace("given", "claims.given_name"),
                }
            },
        ],
    )
    assert all_fields(settings_of(section), PERSON) == {
        "MobilePhone": "+34 600",
        "CompanyName": "Berlin",
        "Custom1": 7,
        "Notes": "Ana",
    }


@pytest.mark.parametrize(("groups", "home"), [(("berlin",), 502), (("staff",), 501)])
async def test_the_location_of_a_new_account_is_chosen_by_group(groups: tuple[str, ...], home: int) -> None:
    async with at("nexudus", defaults=[{"groups": ["berlin"], "business_ids": [502, 501]}]) as here:
        await here.directory.create(Person(identity=replace(ANA, groups=groups)))
        (record,) = here.api.coworkers
        assert record["InvoicingBusinessId"] == home
        assert record["Businesses"][0] == home
