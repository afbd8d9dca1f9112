"""`pages`, and an app's `pages`: what an operator may put on our pages, and nothing that would leave its place in them."""

from typing import Any

import pytest

from tests.unit.config.made import config_with, problems_with


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("color", "#2156C9"),
        ("support", "https://help.example.com"),
        ("support", "https://help.example.com:8443/space?topic=door#now"),
        ("support", "mailto:help@example.com"),
        ("support", "mailto:front.desk+door@example.com?subject=Sign-in"),
        ("support", "tel:+351210000000"),
        ("title", "Harbour"),
        ("texts", {"en": {"not_registered.title": "No member yet"}, "de": {"signed_out.title": "Bis bald"}}),
        ("texts", {"de": {"sign_in_expired.cookies": "Cookies für {host}!"}}),
        ("language", "de"),
    ],
)
def test_what_is_taken_is_taken_for_all_apps_and_for_one(key: str, value: Any) -> None:
    config = config_with({"pages": {key: value}, "apps.portal.pages": {key: value}})
    assert getattr(config.pages, key) == getattr(config.apps["portal"].pages, key) == value


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("color", "red", "is not a colour"),
        ("color", "#fff", "is not a colour"),
        ("color", "#2156c9; } body { display: none", "is not a colour"),
        ("color", "#2156c9\n", "is not a colour"),
        ("support", "javascript:alert(1)", "is not a support link"),
        ("support", "JAVASCRIPT:alert(1)", "is not a support link"),
        ("support", "data:text/html,x", "is not a support link"),
        ("support", "http://help.example.com", "is not a support link"),
        ("support", "//help.example.com", "is not a support link"),
        ("support", "https://help.example.com@evil.example", "is not a support link"),
        ("support", 'https://help.example.com/" onclick="x', "is not a support link"),
        ("support", "https://help.example.com/<b>", "is not a support link"),
        ("support", "mailto:help", "is not a support link"),
        ("support", "tel:javascript", "is not a support link"),
        ("support", "https://help.example.com/\n", "is not a support link"),
        ("texts", {"de": {"zzz": "x"}}, "is not the ID of a message"),
        ("texts", {"de": {"sign_in_expired.cookies": "{host} {person}"}}, "has {person}, which this message does not"),
        ("texts", {"de": {"not_registered.title": "{host}"}}, "has {host}, which this message does not"),
        ("texts", {"de": {"not_registered.message": "two\nlines"}}, "is not a page's text"),
        ("texts", {"de": {"not_registered.message": "a\u202eb"}}, "is not a page's text"),
        ("texts", {"de": {"not_registered.message": "x" * 601}}, "is not a page's text"),
        ("texts", {"de": {"not_registered.title": " "}}, "is not a page's text"),
        ("texts", {"sv": {"not_registered.title": "x"}}, "is not one of the choices"),
        ("language", "sv", "is not one of the choices"),
    ],
)
def test_what_would_leave_its_place_in_a_page_is_refused_by_name(key: str, value: Any, problem: str) -> None:
    """A-76: for all apps, and for one."""
    for section in ("pages", "apps.portal.pages"):
        (found,) = problems_with({section: {key: value}})
        assert found.key.startswith(f"{section}.{key}")
        assert problem in found.what
        assert "allowed: " in str(found)


def test_an_unknown_id_names_the_nearest() -> None:
    (found,) = problems_with({"pages": {"texts": {"de": {"not_registred.title": "x"}}}})
    assert str(found) == "pages.texts.de.not_registred.title: is not the ID of a message; nearest: not_registered.title"
