"""The `console` section: what `check` says about it, and the app that is made of it."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.config.checks.safety import warnings
from gateway.config.console import CONSOLE, console_app, is_console, with_console
from gateway.config.loader import ConfigInvalid, build
from gateway.sessions.keyring import new_key

WHOLE: dict[str, Any] = {
    "keys": [new_key()],
    "trusted_proxies": ["127.0.0.1/32"],
    "openid": {"authority_url": "https://login.example.com/", "client_id": "doorward", "client_secret": "s"},
    "apps": {"portal": {"hosts": ["portal.example.com"], "upstream": "http://127.0.0.1:8001"}},
    "console": {"hosts": ["console.example.com"], "require": {"groups": ["ops"]}},
}


def problems(**sections: Any) -> list[str]:
    try:
        build({**WHOLE, **sections})
    except ConfigInvalid as error:
        return [f"{problem.key}: {problem.what}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ({"hosts": ["console.example.com"]}, "console.require: is missing: everyone could see the console"),
        ({"hosts": [], "require": {"groups": ["ops"]}}, "console.hosts: is empty"),
        ({"require": {"groups": ["ops"]}}, "console.hosts: is missing"),
        (
            {"hosts": ["Portal.example.com:443"], "require": {"groups": ["ops"]}},
            "console.hosts[0]: is the same host as apps.portal.hosts[0]",
        ),
        (
            {"hosts": ["c.example.com", "C.example.com"], "require": {"groups": ["ops"]}},
            "console.hosts[1]: is the same host as console.hosts[0]",
        ),
        (
            {**WHOLE["console"], "roles": {"act": {"groups": []}}},
            "console.roles.act.groups: is empty",
        ),
        ({**WHOLE["console"], "require": {"groups": ["ops"], "emails": []}}, "console.require.emails: is empty"),
        ({**WHOLE["console"], "provider": "other"}, "console.provider: is no provider of this file"),
    ],
)
def test_a_console_that_would_be_open_or_unreachable_is_refused(console: dict[str, Any], said: str) -> None:
    """C-21, C-91, C-92."""
    assert any(problem.startswith(said) for problem in problems(console=console)), problems(console=console)


def test_an_app_cannot_have_the_consoles_name() -> None:
    """C-92."""
    portal = WHOLE["apps"]["portal"]
    both = {"portal": portal, "console": {**portal, "hosts": ["other.example.com"]}}
    assert problems(apps=both) == ["apps.console: is the name of the console, which is an app called console"]
    assert problems(apps=both, console=None) == []


def test_without_openid_the_console_keeps_its_provider_and_its_keys() -> None:
    assert problems(openid={"enabled": False}, keys=[]) == [
        "keys: is missing",
        "openid.authority_url: is missing",
        "openid.client_id: is missing",
        "openid.client_secret: is missing for client_secret_basic",
    ]
    off = {**WHOLE["openid"], "enabled": False}
    assert problems(openid=off) == []
    assert any("no person signs to an app" in line for line in warnings(build({**WHOLE, "openid": off})))


def test_plain_http_is_refused_for_a_console_elsewhere_than_on_this_machine() -> None:
    portal = {**WHOLE["apps"]["portal"], "hosts": ["portal.localhost:4180"]}
    found = problems(external_url_scheme="http", apps={"portal": portal})
    assert found == [
        "external_url_scheme: is http, but console.hosts[0] is not a loopback name: sessions could be read on the way"
    ]


def test_several_providers_need_a_choice_for_the_console_too() -> None:
    """C-21."""
    others = {name: {**WHOLE["openid"], "authority_url": f"https://{name}.example/"} for name in ("one", "two")}
    portal = {**WHOLE["apps"]["portal"], "provider": "one"}
    found = problems(openid={}, providers=others, apps={"portal": portal})
    assert found == ["console.provider: is missing where there are several"]


def test_the_roles_are_rules_of_the_app() -> None:
    config = build(
        {**WHOLE, "console": {**WHOLE["console"], "roles": {"view": {"groups": ["see"]}, "act": {"groups": ["do"]}}}}
    )
    assert config.console is not None
    app = console_app(config.console, "unix:/c.sock")
    assert (app.upstream, app.surface, app.require.groups) == (("unix:/c.sock",), "dashboard", ("ops",))
    assert [(rule.name, rule.match, rule.require.groups, rule.max_age) for rule in app.rules] == [
        ("act", ("* /console/act/**",), ("do",), timedelta(minutes=15)),
        ("settings", ("* /console/settings/edit/**",), (), timedelta(minutes=15)),
        ("view", ("* /**",), ("see",), None),
    ]


def test_a_console_is_an_app_once_its_address_is_known() -> None:
    config = build(WHOLE)
    assert with_console(config, None).apps.keys() == {"portal"}
    assert with_console(config, "unix:/c.sock").apps.keys() == {"portal", CONSOLE}
    assert is_console(config, CONSOLE)
    assert not is_console(build({**WHOLE, "console": None}), CONSOLE)
