"""The `directory` section: one model a kind, every mistake with its key, what is allowed, and nothing that is read and ignored."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import schema
from tests.unit.config.made import NEXUDUS, config_with, problems_with

ROOT = Path(__file__).resolve().parents[3]
SCIM: dict[str, Any] = {
    "kind": "scim",
    "base_url": "https://people.example.com/scim/v2",
    "token": "a secret of the tests",
}
HTTP: dict[str, Any] = {
    "kind": "http",
    "base_url": "https://api.example.com",
    "headers": {"X-Key": "a secret of the tests"},
    "requests": {"find": {"path": "/users"}, "fetch": {"path": "/users/{id}"}},
    "answer": {"id": "/id", "email": "/email"},
}


def said(directory: dict[str, Any], **openid: Any) -> list[str]:
    changes = {"directory": directory} | {f"openid.{name}": value for name, value in openid.items()}
    return [str(problem) for problem in problems_with(changes)]


def test_each_kind_is_a_model_of_its_own() -> None:
    kinds = [schema.Nexudus, schema.Scim, schema.HttpApi, schema.NoDirectory]
    given: list[dict[str, Any]] = [NEXUDUS, SCIM, HTTP, {"kind": "none"}]
    assert [type(config_with({"directory": directory}).directory) for directory in given] == kinds
    assert isinstance(config_with({}).directory, schema.NoDirectory)


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ({"kind": "ldap"}, "directory.kind: 'ldap' is not one of the choices; allowed: nexudus, scim, http, none"),
        ({"kind": 5, "base_url": 7}, "directory.kind: 5 is not one of the choices; allowed: nexudus, scim, http, none"),
        ({"base_url": "https://x"}, "directory.base_url: is not a known key; allowed: with kind nexudus or scim or http"),
        ({"kind": "none", "timeout": "3s"}, "directory.timeout: is not a known key; allowed: with kind nexudus or scim or http"),
        (SCIM | {"business_ids": [1]}, "directory.business_ids: is not a known key; allowed: with kind nexudus"),
        (SCIM | {"tokn": "x"}, "directory.tokn: is not a known key; nearest: token"),
        ({"kind": "scim", "base_url": "https://x"}, "directory.token: is missing; allowed: the bearer token"),
        (SCIM | {"match": "active"}, "directory.match: 'active' is an attribute that may not be set"),
        (SCIM | {"fields": {"roles.value": "x"}}, "directory.fields.roles.value"),
        (SCIM | {"fields": {"displayName": "{nam}"}}, "directory.fields.displayName: '{nam}' has an unknown placeholder; allowed: "),
        (SCIM | {"fields": {"displayName": ["x"]}}, "directory.fields.displayName: is not a value; allowed: a text"),
        (SCIM | {"update": "at_login"}, "directory.update: is at_login, but no fields are named; allowed: "),
        (SCIM | {"mode": "dry"}, "directory.mode: 'dry' is not one of the choices; allowed: live, shadow"),
        (SCIM | {"defaults": {"apps": ["x"]}}, "directory.defaults[0].apps: names the app 'x', which is not there; allowed: portal"),
        (SCIM | {"budget": {"per_minute": -1}}, "directory.budget.per_minute: -1 is out of bounds; allowed: 0 to"),
        (NEXUDUS | {"link_field": "Email"}, "directory.link_field: 'Email' cannot keep it; allowed: ReferenceNumber, or Custom1"),
        (NEXUDUS | {"fields": {"Active": True}}, "directory.fields.Active"),
        (NEXUDUS | {"link_field": "Custom1", "fields": {"Custom1": "x"}}, "directory.link_field: is the same property as one of fields"),
        (HTTP | {"answer": {"id": "id", "email": "/email"}}, "directory.answer.id: 'id' is not a JSON Pointer; allowed: as /user/id"),
        (HTTP | {"answer": {"id": "/id"}}, "directory.answer.email: is missing; allowed: a JSON Pointer"),
        (HTTP | {"headers": {"Host": "x"}}, "directory.headers"),
        (HTTP | {"username": "me"}, "directory: needs both username and password; allowed: both, or neither"),
        (HTTP | {"statuses": {"success": [99]}}, "directory.statuses.success"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(directory: dict[str, Any], expected: str) -> None:
    (problem,) = said(directory)
    assert problem.startswith(expected)
    assert "a secret of the tests" not in problem


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ({"find": {"path": "users"}}, "directory.requests.find.path: 'users' is not a path; allowed: "),
        ({"find": {"path": "/../users"}}, "directory.requests.find.path: '/../users' is not a path"),
        ({"find": {"path": "/users?x=1"}}, "directory.requests.find.path: '/users?x=1' is not a path"),
        ({"find": {"path": "/users/{id}"}}, "directory.requests.find[0]: names {id}, which is not known at this request"),
        ({"find": {"path": "/users", "json": {}}}, "directory.requests.find[0]: is a GET with a body; allowed: query"),
        ({"find": []}, "directory.requests.find: is empty; allowed: at least one request"),
        ({"fetch": {"path": "/u/{page}"}}, "directory.requests.fetch: names {page}, which is not known at this request; allowed: {id}"),
        ({"fetch": {"path": "/u", "method": "HEAD"}}, "directory.requests.fetch.method: 'HEAD' is not one of the choices"),
        ({"create": {"path": "/u", "method": "POST", "json": {}, "form": {}}}, "directory.requests.create: has both json and form"),
        ({"create": {"path": "/u", "method": "POST", "json": {"a": ["{b"]}}}, "directory.requests.create.json"),
        ({"create": {"path": "/u", "method": "POST", "json": {"a": "{fields.x}"}}}, "directory.requests.create: names {fields.x}, but there is no such field"),
        ({"find_linked": {"path": "/u"}}, "directory.answer.link: is missing for requests.find_linked"),
        ({"craete": {"path": "/u"}}, "directory.requests.craete: is not a known key; nearest: create"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_request_is_told_where_it_stands(requests: dict[str, Any], expected: str) -> None:
    (problem,) = said(HTTP | {"requests": HTTP["requests"] | requests})
    assert problem.startswith(expected)


def keeping(kind: dict[str, Any], text: str) -> dict[str, Any]:
    """A directory whose links have this form."""
    if kind["kind"] == "http":
        return HTTP | {"answer": HTTP["answer"] | {"link": "/badge", "link_value": text}}
    return kind | {"link_value": text} | ({"link_field": "Custom1"} if kind["kind"] == "nexudus" else {})


def place(kind: dict[str, Any]) -> str:
    return "directory.answer.link_value" if kind["kind"] == "http" else "directory.link_value"


every_kind = pytest.mark.parametrize("kind", [NEXUDUS, SCIM, HTTP], ids=lambda kind: kind["kind"])


@every_kind
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sso", "is the same for every person"),
        ("", "is the same for every person"),
        ("{issuer}", "is the same for every person"),
        ("{email}", "holds {email}, which may change"),
        ("{claims.email}", "holds {claims.email}"),
        ("{claims.upn}", "holds {claims.upn}"),
        ("{subject}{name}", "holds {name}"),
        ("{preferred_username}", "holds {preferred_username}"),
        ("{user}", "holds {user}"),
        ("{groups}", "holds {groups}"),
        ("{fields.badge}", "holds {fields.badge}"),
        ("{claims.oid|subject}", "takes one value for one person and another value for the next"),
        ("{id}", "has an unknown placeholder"),
        ("{claims.tid}/{issuer}", "is the same for every person"),
        ("{claims.sid}", "holds {claims.sid}"),
        ("{subject}{claims.badge}", "has more than one part that differs from person to person"),
        ("{link}|{subject}", "has more than one part that differs from person to person"),
    ],
)
def test_a_link_must_be_one_persons_for_good(kind: dict[str, Any], text: str, what: str) -> None:
    """A-80: what two persons share, or what somebody may have changed, is a way into another's account."""
    (problem,) = said(keeping(kind, text))
    assert problem.startswith(f"{place(kind)}: ")
    assert what in problem
    assert "allowed: " in problem


@every_kind
def test_a_link_is_no_address_under_another_claims_name(kind: dict[str, Any]) -> None:
    """A-80, A-81."""
    changes = {"directory": keeping(kind, "{claims.mail}"), "openid.claims": {"email": "mail"}}
    (problem,) = [str(problem) for problem in problems_with(changes)]
    assert problem.startswith(f"{place(kind)}: holds {{claims.mail}}, which is an address, a name or groups of openid")


@pytest.mark.parametrize("kind", [NEXUDUS, SCIM | {"link_field": None}], ids=lambda kind: kind["kind"])
def test_the_form_of_links_without_a_field_for_them_is_told(kind: dict[str, Any]) -> None:
    assert said(kind | {"link_value": "{subject}"}) == [
        "directory.link_value: means nothing without link_field; allowed: together, or neither"
    ]


def with_members(kind: dict[str, Any], text: str, other: str) -> list[str]:
    members = {"authority_url": other, "client_id": "x", "client_secret": "another secret"}
    changes = {"directory": keeping(kind, text), "providers": {"members": members}}
    return [str(problem) for problem in problems_with(changes)]


@every_kind
@pytest.mark.parametrize(
    "text", ["{subject}", "{claims.oid}", "sso-{subject}", "{claims.tid}{link}", "{claims.tid}/{claims.oid}"]
)
def test_with_several_providers_a_link_that_does_not_say_which_is_refused(kind: dict[str, Any], text: str) -> None:
    """A-84: the same subject at two providers is two people."""
    (problem,) = with_members(kind, text, "https://members.example.net/")
    assert problem.startswith(f"{place(kind)}: cannot tell people of openid from people of members; allowed: ")
    assert said(keeping(kind, text)) == []


@pytest.mark.parametrize(
    ("text", "other", "tells"),
    [
        ("{link}", "https://login.example.com/m", True),
        ("sso {link}", "https://login.example.com/m", True),
        ("{issuer}|{claims.oid}", "https://login.example.com/m", True),
        ("{subject}@{issuer}", "https://members.example.net", True),
        ("{issuer}{subject}", "https://members.example.net", True),
        ("{issuer}{subject}", "https://login.example.com/m", False),  # the subject `m1` of one is `1` of the other
        ("{issuer}/{subject}", "https://login.example.com/m", False),
        ("{issuer}", "https://login.example.com/m", False),
        ("{link}", "https://login.example.com", True),  # the same issuer: the same people
    ],
)  # fmt: skip
def test_a_link_tells_two_providers_apart_where_no_subject_makes_them_one(text: str, other: str, tells: bool) -> None:
    """A-84: without something between issuer and subject the end of one is the beginning of the other."""
    assert (with_members(HTTP, text, other) == []) == tells


def test_the_example_keeps_one_form_everywhere() -> None:
    """A-80: what is looked for, what is written and what is compared."""
    text = (ROOT / "config" / "directory-http.example.yaml").read_text()
    directory = yaml.safe_load(text)["directory"]
    assert directory["requests"]["find_linked"]["query"]["extern_uid"] == "{link}"
    assert directory["requests"]["create"]["json"]["extern_uid"] == "{link}"
    assert directory["answer"]["link_value"] == "{link}"


def test_what_the_toggles_and_settings_need_of_an_api_must_be_described() -> None:
    assert [text.partition(";")[0] for text in said(HTTP, create_users=True)] == [
        "directory.requests.create: is missing, but openid.create_users is on"
    ]
    updating = HTTP | {"update": "at_login", "fields": {"name": "{name}"}}
    assert {text.partition(":")[0] for text in said(updating)} == {
        "directory.requests.update",
        "directory.answer.fields",
    }


def test_no_secret_of_a_directory_is_printed() -> None:
    """C-48."""
    for directory in (NEXUDUS, SCIM, HTTP, HTTP | {"username": "me", "password": "a secret of the tests"}):
        assert "secret of the tests" not in repr(config_with({"directory": directory}))


def test_a_hand_off_needs_a_directory_that_gives_tokens() -> None:
    for directory, gives in ((NEXUDUS, True), (SCIM, False), (HTTP, False)):
        found = [
            str(problem)
            for problem in problems_with({"directory": directory, "apps.portal.hand_off": {"kind": "nexudus"}})
        ]
        said_so = [text for text in found if "gives no one-time tokens" in text]
        assert (said_so == []) == gives
    giving = HTTP | {"requests": HTTP["requests"] | {"sign_in_token": {"method": "POST", "path": "/users/{id}/token"}}}
    found = [
        str(problem) for problem in problems_with({"directory": giving, "apps.portal.hand_off": {"kind": "nexudus"}})
    ]
    assert not [text for text in found if "gives no one-time tokens" in text]


def test_who_changes_one_limit_of_nexudus_keeps_the_vendors_others() -> None:
    directory = config_with({"directory": NEXUDUS | {"budget": {"per_minute": 30}}}).directory
    assert isinstance(directory, schema.Nexudus)
    assert (directory.budget.per_minute, directory.budget.per_second, directory.budget.writes_per_minute) == (
        30,
        10,
        60,
    )
