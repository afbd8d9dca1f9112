"""`cors_preflight`: a word, or a section that cannot be written so that it opens more than it says."""

from typing import Any

import pytest

from gateway.config.checks.safety import warnings
from gateway.config.schema import CorsPreflight
from tests.unit.config.made import config_with, problems_with

ORIGIN = "https://app.example.com"


def said(section: Any) -> list[str]:
    return [str(problem) for problem in problems_with({"apps.portal.cors_preflight": section})]


def test_a_section_says_what_is_allowed() -> None:
    config = config_with(
        {"apps.portal.cors_preflight": {"allow_origins": ["HTTPS://App.Example.com:443", "http://[::1]:80"]}}
    )
    cors = config.apps["portal"].cors_preflight
    assert isinstance(cors, CorsPreflight)
    assert cors.allow_origins == (ORIGIN, "http://[::1]")
    assert (cors.allow_methods, cors.allow_headers, cors.allow_credentials) == (("GET", "HEAD", "POST"), (), False)
    assert cors.max_age.total_seconds() == 600
    for word in ("pass", "refuse"):
        assert config_with({"apps.portal.cors_preflight": word}).apps["portal"].cors_preflight == word


@pytest.mark.parametrize(
    ("section", "begins", "allowed"),
    [
        ("answer", "cors_preflight: 'answer' is not one of the choices", "pass, refuse, or a section with allow_origins"),
        (True, "cors_preflight: true is not one of the choices", "pass, refuse, or a section"),
        ([ORIGIN], "cors_preflight: is not one of the choices", "pass, refuse, or a section"),
        ({}, "cors_preflight.allow_origins: is missing", "allowed:"),
        ({"allow_origins": []}, "cors_preflight.allow_origins: is empty", "at least one origin"),
        ({"allow_origins": ["null"]}, "cors_preflight.allow_origins[0]: 'null' is the origin of every sandboxed frame", "* alone"),
        ({"allow_origins": ["NULL"]}, "cors_preflight.allow_origins[0]: 'NULL' is the origin of every sandboxed frame", "* alone"),
        ({"allow_origins": [None]}, "cors_preflight.allow_origins[0]: is empty", ""),
        ({"allow_origins": ["https://*.example.com"]}, "cors_preflight.allow_origins[0]", "allowed:"),
        ({"allow_origins": ["app.example.com"]}, "cors_preflight.allow_origins[0]", "allowed:"),
        ({"allow_origins": [ORIGIN + "/x"]}, "cors_preflight.allow_origins[0]", "without path"),
        ({"allow_origins": [ORIGIN + "?x"]}, "cors_preflight.allow_origins[0]", "allowed:"),
        ({"allow_origins": ["https://u@app.example.com"]}, "cors_preflight.allow_origins[0]", "allowed:"),
        ({"allow_origins": ["file:///x"]}, "cors_preflight.allow_origins[0]", "allowed:"),
        ({"allow_origins": ["*", ORIGIN]}, "cors_preflight.allow_origins: names * beside other origins", "* alone"),
        ({"allow_origins": ["*"], "allow_credentials": True}, "cors_preflight.allow_credentials: is on while allow_origins is *", "origins by name"),
        ({"allow_origins": [ORIGIN], "allow_methods": ["*"]}, "cors_preflight.allow_methods[0]: '*' is not a method", "by name"),
        ({"allow_origins": [ORIGIN], "allow_methods": ["GET, PUT"]}, "cors_preflight.allow_methods[0]", "by name"),
        ({"allow_origins": [ORIGIN], "allow_methods": ["trace"]}, "cors_preflight.allow_methods[0]: 'trace' is a method that no page can send", "by name"),
        ({"allow_origins": [ORIGIN], "allow_headers": ["*"]}, "cors_preflight.allow_headers[0]", "allowed: names"),
        ({"allow_origins": [ORIGIN], "allow_headers": ["X-A\r\nX-B"]}, "cors_preflight.allow_headers[0]", "allowed: names"),
        ({"allow_origins": [ORIGIN], "max_age": 600}, "cors_preflight.max_age", "allowed: a number with a unit"),
        ({"allow_origins": [ORIGIN], "max_age": "2d"}, "cors_preflight.max_age: '2d' is out of bounds", "0s to 1d"),
        ({"allow_origins": [ORIGIN], "allow_origin": "x"}, "cors_preflight.allow_origin: is not a known key", "nearest: allow_origins"),
    ],
)  # fmt: skip
def test_what_would_open_more_than_it_says_is_refused(section: Any, begins: str, allowed: str) -> None:
    """C-79, C-21."""
    (problem,) = said(section)
    assert problem.startswith("apps.portal." + begins)
    assert allowed in problem


@pytest.mark.parametrize(
    ("section", "begins"),
    [
        ({"allow_origins": ["*"]}, "apps.portal.cors_preflight.allow_origins: is *; pages of every site"),
        ({"allow_origins": ["http://app.example.com"], "allow_credentials": True}, "apps.portal.cors_preflight.allow_origins: names http://app.example.com together with"),
    ],
)  # fmt: skip
def test_check_warns_of_origins_that_are_anybody(section: Any, begins: str) -> None:
    new = set(warnings(config_with({"apps.portal.cors_preflight": section}))) - set(warnings(config_with({})))
    (warning,) = new
    assert warning.startswith(begins)


@pytest.mark.parametrize("section", [{"allow_origins": [ORIGIN], "allow_credentials": True}, {"allow_origins": ["http://localhost:3000"], "allow_credentials": True}, "pass"])  # fmt: skip
def test_check_says_nothing_of_others(section: Any) -> None:
    assert warnings(config_with({"apps.portal.cors_preflight": section})) == warnings(config_with({}))
