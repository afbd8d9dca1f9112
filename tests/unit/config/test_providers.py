"""The providers of a file, and which of them an app offers."""

from typing import Any

import pytest

from gateway.config.checks.safety import warnings
from gateway.config.providers import offered_by_app, providers_of, title_of
from gateway.config.toggles import toggle_table
from tests.unit.config.made import config_with, keys_with, problems_with

MEMBERS = {"authority_url": "https://members.example.net", "client_id": "x", "client_secret": "another secret"}
APP = {"hosts": ["dashboard.example.com"], "upstream": "http://127.0.0.1:8002"}


def said(changes: dict[str, Any]) -> list[str]:
    return [f"{problem.key}: {problem.what}; {problem.allowed}" for problem in problems_with(changes)]


def test_a_file_with_one_provider_needs_no_name() -> None:
    config = config_with({})
    assert list(providers_of(config)) == ["openid"]
    assert offered_by_app(config) == {"portal": ("openid",)}


def test_an_app_that_names_none_takes_openid() -> None:
    config = config_with({"providers.members": MEMBERS})
    assert list(providers_of(config)) == ["openid", "members"]
    assert offered_by_app(config) == {"portal": ("openid",)}


def test_named_providers_may_stand_in_the_place_of_openid() -> None:
    """The toggles stay in `openid`."""
    toggles = {"openid": {"create_users": True, "prevent_password_login": True}}
    config = config_with({**toggles, "providers.members": MEMBERS})
    assert list(providers_of(config)) == ["members"]
    assert offered_by_app(config) == {"portal": ("members",)}
    several = {**toggles, "providers.members": MEMBERS, "providers.staff": MEMBERS}
    assert said(several) == ["apps.portal.provider: is missing where there are several; allowed: members, staff"]


def test_an_app_offers_what_it_names_in_its_order() -> None:
    changes = {"providers.members": MEMBERS, "apps.dashboard": {**APP, "provider": "members"}}
    config = config_with({**changes, "apps.portal.providers": ["members", "openid"]})
    assert offered_by_app(config) == {"portal": ("members", "openid"), "dashboard": ("members",)}
    assert [row.providers for row in toggle_table(config)] == [("members", "openid"), ("members",)]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"apps.portal.provider": "staff"}, "apps.portal.provider: is no provider of this file; allowed: openid, members"),
        ({"apps.portal.providers": ["members", "staff"]}, "apps.portal.providers[1]: is no provider of this file; allowed: openid, members"),
        ({"apps.portal.providers": ["members", "members"]}, "apps.portal.providers: names a provider twice; allowed: each once"),
        ({"apps.portal.provider": "members", "apps.portal.providers": ["openid"]}, "apps.portal.provider: is given twice, here and in providers; allowed: provider, or providers"),
        ({"providers.members.client_secret": ...}, "providers.members.client_secret: is missing for client_secret_basic; allowed: the secret, as ${NAME} or file:PATH"),
        ({"providers.members.authority_url": ...}, "providers.members.authority_url: is missing; allowed: the provider's https URL"),
        ({"providers.members.scopes": ["email"]}, "providers.members.scopes: does not contain openid; allowed: [openid, email, profile]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_said(changes: dict[str, Any], problem: str) -> None:
    """C-21."""
    assert said({"providers.members": dict(MEMBERS), **changes}) == [problem]


def test_a_groups_filter_that_drops_a_group_of_a_rule_is_refused_at_each_place_that_names_one() -> None:
    """C-21: unless another provider of the app keeps it."""
    changes = {
        "openid.groups_filter": ["member*"],
        "apps.portal.require": {"groups": ["members", "staff"]},
        "apps.portal.rules": [{"match": "* /x", "require": {"groups": "admins"}}],
    }
    told = "which openid.groups_filter drops; allowed: groups that it keeps; or add this one to it"
    assert said(changes) == [
        f"apps.portal.require.groups[1]: names staff, {told}",
        f"apps.portal.rules[0].require.groups[0]: names admins, {told}",
    ]
    both = {"providers.members": MEMBERS, "apps.portal.providers": ["openid", "members"]}
    assert said({**changes, **both}) == []
    assert said({"openid.groups_filter": []}) == [
        'openid.groups_filter: is empty; allowed: the groups that sessions keep, as [staff, "team-*"], or no groups_filter'
    ]


@pytest.mark.parametrize("name", ["openid", "Members", "my_members", "a/b", "-a", "a--b", "", "a" * 65])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    assert len(keys_with({"providers": {name: MEMBERS}})) == 1


def test_toggles_are_not_a_providers_to_set() -> None:
    assert keys_with({"providers.members": {**MEMBERS, "create_users": True}}) == ["providers.members.create_users"]


def test_http_to_a_named_provider_must_be_asked_for() -> None:
    """A-69."""
    plain = {"providers.members": {**MEMBERS, "authority_url": "http://members.example.net"}}
    assert keys_with(plain) == ["providers.members.authority_url"]
    assert keys_with({**plain, "allow_insecure_http": True}) == []


def test_several_providers_that_may_say_any_address_are_warned_of() -> None:
    """A-59."""
    changes = {"providers.members": MEMBERS, "apps.portal.providers": ["openid", "members"]}
    found = [warning.partition(":")[0] for warning in warnings(config_with(changes))]
    assert {"openid.email_domains", "providers.members.email_domains"} <= set(found)
    bounded = {"openid.email_domains": ["example.com"], "providers.members.email_domains": ["members.example"]}
    found = [warning.partition(":")[0] for warning in warnings(config_with({**changes, **bounded}))]
    assert not {"openid.email_domains", "providers.members.email_domains"} & set(found)


def test_two_providers_that_vouch_for_one_domain_are_warned_of() -> None:
    """A-81."""
    changes = {"providers.members": {**MEMBERS, "verified_email_domains": ["members.example", "Example.com"]}}
    both = warnings(config_with({**changes, "openid.verified_email_domains": ["example.com"]}))
    text = "providers.members.verified_email_domains: has example.com, and so has openid; each of the two can name people of the other's"
    assert text in both
    apart = warnings(config_with({**changes, "openid.verified_email_domains": ["staff.example"]}))
    assert not [line for line in apart if "verified_email_domains" in line]


@pytest.mark.parametrize("key", ["openid", "providers.members"])
@pytest.mark.parametrize("domain", ["@example.com", "*.example.com", "", "exämple.com", "ana@example.com"])
def test_who_vouches_is_named_by_whole_domains(key: str, domain: str) -> None:
    changes = {"providers.members": dict(MEMBERS), f"{key}.verified_email_domains": [domain]}
    assert keys_with(changes) == [f"{key}.verified_email_domains[0]"]


def test_a_provider_that_no_app_offers_is_warned_of() -> None:
    assert "providers.members: is offered by no app; no person signs in there" in warnings(
        config_with({"providers.members": MEMBERS})
    )


def test_people_choose_by_titles() -> None:
    config = config_with({"providers.members": {**MEMBERS, "title": "Members & friends"}})
    assert [title_of(name, keys) for name, keys in providers_of(config).items()] == ["openid", "Members & friends"]


def test_an_answer_by_form_needs_https() -> None:
    """A-88: over plain http browsers do not send the cookie that binds it."""
    plain = {"external_url_scheme": "http", "allow_insecure_http": True}
    for place in ("openid", "providers.members"):
        by_form = {"providers.members": MEMBERS, f"{place}.response_mode": "form_post"}
        assert said(by_form) == []
        fault = f"{place}.response_mode: is form_post, and external_url_scheme is http; allowed: with https, or query"
        assert said(by_form | plain) == [fault]
