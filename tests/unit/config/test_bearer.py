"""The `bearer` section, and the rules for programs: what `check` says about them."""

from typing import Any

import pytest

from gateway.config.checks.safety import warnings
from gateway.config.loader import build
from tests.unit.config.test_console import WHOLE
from tests.unit.config.test_console import problems as problems_of

GOOD: dict[str, Any] = {"audiences": ["https://api.example.com"]}
HAND_OFF = {
    "kind": "http",
    "session_cookies": ["s"],
    "login_pages": ["/login"],
    "redeem": {"path": "/sso?ticket={token}"},
}


def problems(bearer: dict[str, Any] | None, rules: Any = (), **keys: Any) -> list[str]:
    app = {"hosts": ["portal.example.com"], "upstream": "http://127.0.0.1:8001", "rules": list(rules), **keys}
    return problems_of(apps={"portal": app if bearer is None else {**app, "bearer": bearer}})


def test_a_good_section_has_no_problem() -> None:
    rules = [{"match": ["* /v1/**"], "programs": "also"}, {"match": ["* /v1/x"], "scopes": ["export"]}]
    assert problems({**GOOD, "introspection": {}, "issuers": ["https://m.example.com"]}, rules) == []


@pytest.mark.parametrize(
    ("bearer", "said"),
    [
        ({}, "audiences: is missing"),
        ({"audiences": []}, "audiences: is missing"),
        (
            {"audiences": ["doorward"], "profile": "jwt"},
            "audiences[0]: is our client_id, which is the audience of ID Tokens",
        ),
        ({**GOOD, "profile": "saml"}, "profile: is not one of the choices"),
        ({**GOOD, "default": "always"}, "default: is not one of the choices"),
        ({**GOOD, "introspection": {"cache": "1h"}}, "introspection.cache: is out of range"),
        ({"audiences": ["a b"]}, "audiences[0]: is not an audience"),
    ],
)
def test_a_section_that_would_let_in_too_much_is_refused(bearer: dict[str, Any], said: str) -> None:
    """D-32, D-33"""
    found = problems(bearer)
    assert any(each.startswith("apps.portal.bearer.") and said.partition(":")[0] in each for each in found), found


def test_our_client_id_is_an_audience_where_the_kind_of_token_is_certain() -> None:
    for profile in ("rfc9068", "id_token"):
        assert problems({"audiences": ["doorward"], "profile": profile}) == []


def test_bearer_and_hand_off_exclude_each_other() -> None:
    assert any("stands beside hand_off" in each for each in problems(GOOD, hand_off=HAND_OFF))


def test_rules_for_programs_need_bearer_and_something_to_say() -> None:
    for key, value in (("programs", "also"), ("scopes", ["x"])):
        (problem,) = problems(None, [{"match": ["* /x"], key: value}])
        assert problem.startswith(f"apps.portal.rules[0].{key}: is about programs")
    assert any(
        "scopes: is empty" in each for each in problems(GOOD, [{"match": ["* /x"], "scopes": [], "programs": "also"}])
    )
    assert any(
        "is public and" in each for each in problems(GOOD, [{"match": ["* /x"], "public": True, "programs": "also"}])
    )


@pytest.mark.parametrize(("more", "warned"), [({}, 1), ({"scopes": ["x"]}, 0), ({"programs": "never"}, 0)])
def test_programs_by_an_address_alone_are_warned_about(more: dict[str, Any], warned: int) -> None:
    rule = {"match": ["* /v1/**"], "programs": "also", "require": {"emails": ["ana@example.com"]}, **more}
    app = {"hosts": ["p.example.com"], "upstream": "http://127.0.0.1:8001", "rules": [rule], "bearer": GOOD}
    config = build({**WHOLE, "apps": {"portal": app}})
    assert len([each for each in warnings(config) if each.startswith("apps.portal.rules[0].programs")]) == warned
