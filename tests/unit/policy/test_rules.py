"""Who may go where."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import Require
from gateway.errors.requests import BadRequest
from gateway.operations.probe.spellings import spellings
from gateway.policy.paths import parse_target
from gateway.policy.rules import Requirement
from tests.unit.policy.made import patient, person, rules, target
from tests.unit.policy.test_paths import BYTES, TARGETS

STAFF = {"match": ["* /admin/**"], "require": {"groups": ["staff"]}}

# One identity that each option must deny, and one that it permits.
DENIED: dict[str, tuple[Any, Any, Any]] = {
    "groups": (["staff", "board"], person(groups=("Staff", "staffx")), person(groups=("x", "board"))),
    "emails": (["Ana@Company.com"], person(email="bob@company.com"), person(email="ANA@company.com")),
    "email_domains": (["company.com"], person(email="ana@sub.company.com"), person(email="x@COMPANY.com")),
}


def test_every_authorisation_option_has_somebody_it_denies() -> None:
    """C-20: an option that this table does not know fails here."""
    options = set(Require.model_fields)
    assert options == set(DENIED) == {field.name for field in fields(Requirement)} - {"rule"}


@pytest.mark.parametrize("option", DENIED)
@pytest.mark.parametrize("where", ["require", "rules"])
def test_each_option_denies_who_lacks_it_and_permits_who_has_it(option: str, where: str) -> None:
    """C-20."""
    entries, stranger, member = DENIED[option]
    required = {option: entries}
    settings = {"require": required} if where == "require" else {"rules": [{"match": ["* /x"], "require": required}]}
    ruling = rules(**settings).decide("GET", target("/x"))
    (requirement,) = ruling.requirements
    assert requirement.unmet(stranger) is not None
    assert requirement.unmet(person(email=None)) is not None
    assert requirement.unmet(member) is None
    assert ruling.rule == ("require" if where == "require" else "rules[0]")


def test_every_kind_that_is_listed_must_match() -> None:
    """C-20."""
    ruling = rules(require={"groups": ["staff"], "email_domains": ["company.com"]}).decide("GET", target("/"))
    (requirement,) = ruling.requirements
    assert requirement.unmet(person(groups=("staff",))) is None
    assert requirement.unmet(person(groups=("staff",), email="a@evil.com")) is not None
    assert requirement.unmet(person()) is not None


def test_an_empty_list_of_those_permitted_permits_nobody() -> None:
    """C-20."""
    for option in DENIED:
        nobody: dict[str, Any] = {option: frozenset()}
        assert Requirement(**nobody).unmet(DENIED[option][2]) is not None


@pytest.mark.parametrize(
    "email",
    [
        *(
            "attacker@evil.com@company.com",
            "a@company.com.evil",
            "a@company.com\n",
            "a@c\u00f6mpany.com",
            "a@sub.company.com",
            "@company.com",
        ),
        *(
            "a@",
            "company.com",
            "a@.company.com",
            "a@company.com ",
            "a@xcompany.com",
            "a@company.com.",
            "",
            "a@\uff43ompany.com",
            "a@companY\u200b.com",
        ),
    ],
)
def test_only_the_exact_domain_of_an_address_with_one_at_sign_counts(email: str) -> None:
    """A-59, A-58: an address that is not believed arrives as None and is refused in the test above."""
    requirement = Requirement(email_domains=frozenset(("company.com",)))
    assert requirement.unmet(person(email=email)) is not None
    assert requirement.unmet(person(email="a@COMPANY.com")) is None


def test_a_kelvin_sign_is_not_the_letter_k_in_a_domain_or_an_address() -> None:
    """A-59."""
    assert Requirement(email_domains=frozenset(("bank.com",))).unmet(person(email="a@ban\u212a.com")) is not None
    assert Requirement(emails=frozenset(("kay@bank.com",))).unmet(person(email="\u212aay@bank.com")) is not None


def test_a_rule_adds_to_what_the_app_requires() -> None:
    ruling = rules(require={"email_domains": ["company.com"]}, rules=[STAFF]).decide("GET", target("/admin/x"))
    assert [requirement.rule for requirement in ruling.requirements] == ["require", "rules[0]"]


def test_every_rule_that_matches_adds_what_it_requires() -> None:
    strict = {
        "match": ["* /admin/money/**"],
        "require": {"groups": ["money"]},
        "max_age": "5m",
        "acr": ["gold", "silver"],
    }
    usual = {**STAFF, "max_age": "1h", "acr": ["silver", "bronze"]}
    ruling = rules(rules=[strict, usual]).decide("GET", target("/admin/money"))
    assert ruling.rule == "rules[0]"
    assert [requirement.rule for requirement in ruling.requirements] == ["rules[0]", "rules[1]"]
    assert ruling.max_age == timedelta(minutes=5)
    assert ruling.acr == ("silver",)


def test_rules_whose_context_classes_exclude_each_other_let_nobody_through() -> None:
    """C-20."""
    both = [{"match": ["* /x"], "acr": ["gold"]}, {"match": ["* /x"], "acr": ["silver"]}]
    ruling = rules(rules=both).decide("GET", target("/x"))
    assert any(requirement.unmet(person(groups=("staff",))) for requirement in ruling.requirements)


def test_public_opens_and_a_rule_that_restricts_is_stronger() -> None:
    both = rules(public=["GET /**"], rules=[STAFF, {"match": ["GET /open/**"], "public": True}])
    assert both.decide("GET", target("/x")).public
    assert both.decide("GET", target("/open/x")).rule == "rules[1]"
    assert not both.decide("GET", target("/admin/x")).public
    assert both.decide("HEAD", target("/x")).public
    assert not both.decide("POST", target("/x")).public


@pytest.mark.parametrize("restriction", [{}, {"max_age": "5m"}, {"acr": ["gold"]}, {"require": {"emails": ["a@b.c"]}}])
def test_any_rule_that_is_not_public_needs_a_person(restriction: dict[str, Any]) -> None:
    found = rules(public=["GET /**"], rules=[{"match": ["* /admin/**"], **restriction}])
    assert not found.decide("GET", target("/admin")).public
    assert found.decide("GET", target("/admin")).rule == "rules[0]"


def test_a_rule_that_is_public_and_restricts_only_restricts() -> None:
    found = rules(rules=[{**STAFF, "public": True}])
    assert not found.decide("GET", target("/admin")).public


def test_what_nothing_names_needs_a_person_and_no_more() -> None:
    ruling = rules().decide("GET", target("/x"))
    assert (ruling.rule, ruling.public, ruling.requirements) == ("default", False, ())


@pytest.mark.parametrize(
    "sent",
    [
        *("/admin/x?path=/public/y", "/admin?/public/", "/admin%3f/public/"),  # C-03
        *("/public%23/x", "/public%3f/x", "/foo/secret%23/bar"),  # C-04
        *("/admin/public", "/publicity", "/public/../admin", "/xpublic/x"),  # C-05
        *("/public/%2e%2e/admin", "/public/.%2e/admin", "/public/x/../../admin", "/public../admin"),  # C-10
        *("//admin", "///admin", "//public/../admin", "//evil.test/admin", "/./admin", "/admin/."),  # C-11
        *("/PUBLIC/x", "/%2e/Public/x", "/;/public/x", "/public%20/x"),
        *("/admin;.css", "/admin%3b.css", "/admin%23.css", "/admin%3f.css", "/admin;x/y.css", "/admin%EF%BC%9F.css"),
    ],
)
def test_a_public_route_opens_nothing_but_what_it_names_in_every_reading(sent: str) -> None:
    """C-03, C-04, C-05, C-10, C-11."""
    found = rules(public=["GET /public/**", "GET /*.css", "GET /foo/*/bar"])
    assert not found.decide("GET", target(sent)).public


@pytest.mark.parametrize(
    "sent",
    ["/public", "/public/", "/public/x/y", "//public//x", "/public/x;v=1", "/%70ublic/x", "/app.css", "/foo/x/bar"],
)
def test_a_public_route_opens_what_it_names(sent: str) -> None:
    """C-05."""
    assert rules(public=["GET /public/**", "GET /*.css", "GET /foo/*/bar"]).decide("GET", target(sent)).public


@pytest.mark.parametrize("path", ["/admin", "/admin/users", "/Admin/a-b/c"])
def test_every_spelling_of_a_restricted_path_is_refused_or_restricted(path: str) -> None:
    """C-10, C-11, C-12."""
    found = rules(public=["* /**"], rules=[{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}])
    for spelling in spellings(path):
        try:
            read = parse_target(spelling.target)
        except BadRequest:
            continue
        ruling = found.decide(spelling.method or "GET", read)
        assert not ruling.public, spelling
        assert ruling.requirements, spelling


@patient
@given(st.one_of(TARGETS, BYTES), st.sampled_from(["GET", "HEAD", "POST", "DELETE"]))
def test_a_path_and_its_canonical_form_are_decided_alike(raw: bytes, method: str) -> None:
    """C-10: what is judged is what is forwarded."""
    found = rules(
        public=["GET /a/**", "* /admin/*"],
        rules=[STAFF, {"match": ["GET /**/Z"], "max_age": "5m"}],
        require={"emails": ["a@b.c"]},
    )
    try:
        read = parse_target(raw)
    except BadRequest:
        return
    assert found.decide(method, read) == found.decide(method, parse_target(read.wire()))


@pytest.mark.parametrize(
    "query",
    [
        "_method=DELETE",
        "_method=delete",
        "x=1&_METHOD=DELETE",
        "%5Fmethod=DELETE",
        "_method=%44ELETE",
        "a;_method=DELETE",
        "X-HTTP-Method-Override=DELETE",
    ],
)
def test_a_query_that_asks_for_another_method_is_judged_as_that_method_too(query: str) -> None:
    """B-35."""
    found = rules(public=["GET /x"], rules=[{"match": ["DELETE /x"], "require": {"groups": ["staff"]}}])
    assert found.decide("GET", target("/x")).public
    assert found.decide("GET", target("/x?" + query)).requirements
    assert not rules(public=["GET /x"]).decide("GET", target("/x?" + query)).public


def test_an_app_says_whether_any_of_its_rules_names_a_method() -> None:
    """B-35: then header fields that override the method must not travel."""
    assert not rules().by_method
    assert not rules(rules=[STAFF], public=["* /x"]).by_method
    assert rules(public=["GET /x"]).by_method
    assert rules(rules=[{"match": ["PUT /x"], "max_age": "1h"}]).by_method
