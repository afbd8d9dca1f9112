"""A file with mistakes: all of them are said at once."""

import json
from pathlib import Path

import pytest

from gateway.config.loader import ConfigInvalid, load_config
from tests.unit.config.made import (
    GOOD,
    KEY,
    NEXUDUS,
    changed,
    config_with,
    keys_with,
    loaded,
    problems_of,
    problems_with,
)

TEN_MISTAKES = """\
listen: 127.0.0.1
workers: many
trusted_proxies: [10.0.0.1/8]
keys:
  - tooshort
openid:
  authority_url: http://login.example.com/
  client_idd: doorward
  client_secret: first
  clock_skew: 10 minutes
  client_secret: second
apps:
  portal:
    hosts: [portal.example.com, "bad host"]
    upstream: http://127.0.0.1:8001/app
    public: ["GTE /assets/**"]
    rules:
      - match: ["* /admin/**"]
        require: {groups: [""]}
      - match: ["* /free/**"]
        public: true
        require: {groups: [staff]}
    session: {idle: 8d}
    password_routes: nexus
  dashboard:
    hosts: [portal.example.com]
    headers: {Host: "{mail}"}
directory:
  kind: ldap
"""


def test_every_mistake_of_a_file_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    """C-21: and none of them starts."""
    found = {(problem.key, problem.line): problem for problem in problems_of(tmp_path, TEN_MISTAKES)}
    assert list(found) == [
        ("listen", 1),
        ("workers", 2),
        ("trusted_proxies[0]", 3),
        ("keys[0]", 5),
        ("openid.authority_url", 7),
        ("openid.client_idd", 8),
        ("openid.clock_skew", 10),
        ("openid.client_secret", 11),
        ("apps.portal.hosts[1]", 14),
        ("apps.portal.upstream", 15),
        ("apps.portal.public[0]", 16),
        ("apps.portal.rules[0].require.groups[0]", 19),
        ("apps.portal.rules[1]", 20),
        ("apps.portal.session", 23),
        ("apps.portal.password_routes[0]", 24),
        ("apps.dashboard.upstream", 25),
        ("apps.dashboard.hosts[0]", 26),
        ("apps.dashboard.headers.Host", 27),
        ("directory.kind", 29),
    ]
    assert all(problem.what and problem.allowed for problem in found.values())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, "listen: '127.0.0.1' is not an address to listen on; allowed: 127.0.0.1:4180, "),
        (2, "workers: 'many' is not a number of processes; allowed: auto, or 1 to 256 (line 2)"),
        (8, "openid.client_idd: is not a known key; nearest: client_id (line 8)"),
        (10, "openid.clock_skew: '10 minutes' is not a duration; allowed: a number with a unit"),
        (11, "openid.client_secret: is given twice, in lines 9 and 11; allowed: each key once (line 11)"),
        (26, "apps.dashboard.hosts[0]: is the same host as apps.portal.hosts[0]; allowed: each host in one app"),
        (29, "directory.kind: 'ldap' is not one of the choices; allowed: nexudus, scim, http, none (line 29)"),
    ],
)
def test_a_problem_reads_as_key_what_is_wrong_what_is_allowed(tmp_path: Path, line: int, text: str) -> None:
    (said,) = [str(problem) for problem in problems_of(tmp_path, TEN_MISTAKES) if problem.line == line]
    assert said.startswith(text)


def test_problems_of_the_environment_are_said_together_with_the_files(tmp_path: Path) -> None:
    environ = {"DOORWARD__OPENID__CLIENTID": "x", "DOORWARD__LIMITS__HEAD": "1B"}
    keys = [problem.key for problem in problems_of(tmp_path, changed({"keys": ["${NOT_SET}", "short"]}), environ)]
    assert keys == ["keys[0]", "keys[1]", "DOORWARD__OPENID__CLIENTID", "limits.head"]


def test_what_follows_from_a_wrong_value_is_not_a_second_problem() -> None:
    assert keys_with({"openid.client_id": ..., "openid.client_idd": "x"}) == ["openid.client_idd"]
    assert keys_with({"openid.client_secret": 5}) == ["openid.client_secret"]
    assert keys_with({"apps.portal.hosts": ["a b"]}) == ["apps.portal.hosts[0]"]
    assert keys_with({"apps.portal.session": {"idle": "x", "lifetime": "1h"}}) == ["apps.portal.session.idle"]
    assert keys_with({"openid": {"enabled": "maybe"}}) == ["openid.enabled"]
    assert keys_with({"keys": "no key"}) == ["keys"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"openid.enabled": "maybe"}, "openid.enabled: 'maybe' is not true or false; allowed: true, false"),
        ({"openid.scopes": None}, "openid.scopes: is empty; allowed: a list, as [one, two]"),
        ({"apps.portal.public": "/x"}, "apps.portal.public: '/x' is not a route: it needs methods"),
        ({"apps.portal.hosts": "a b"}, "apps.portal.hosts: 'a b' is not a host"),
        ({"apps.portal.require": {"groups": 5}}, "apps.portal.require.groups: 5 is not text"),
        ({"apps.portal.rules": {"match": "x", "public": True}}, "apps.portal.rules.match: 'x' is not a route"),
        ({"openid.client_id": 12}, "openid.client_id: 12 is not text; allowed: text; put it in quotes"),
        ({"openid.client_id": None}, "openid.client_id: is empty; allowed: text; put it in quotes"),
        ({"openid": None}, "openid: is empty; allowed: keys below it"),
        ({"limits": 5}, "limits: 5 is not a section; allowed: keys below it"),
        ({"limits.headers": "many"}, "limits.headers: 'many' is not a whole number; allowed: a whole number"),
        ({"limits.headers": True}, "limits.headers: true is a true/false value; allowed: a whole number"),
        ({"apps.portal.surface": "admin"}, "apps.portal.surface: 'admin' is not one of the choices; allowed: portal, dashboard, shared"),
        ({"apps.portal.require": {"groups": [False]}}, "apps.portal.require.groups[0]: false is not text; allowed: text; put it in quotes"),
        ({"apps": ...}, "apps: is missing; allowed: at least one app with hosts and upstream"),
        ({"apps": {}}, "apps: is empty; allowed: at least one app with hosts and upstream"),
        ({"apps": {"Portal": GOOD["apps"]["portal"]}}, "apps.Portal: is not an app's name; allowed: lower-case"),
        ({"client_id": "x"}, "client_id: is not a known key; nearest: openid.client_id"),
        ({"zzz": 1}, "zzz: is not a known key; allowed: listen, admin_listen, "),
        ({"apps.portal.rules": [{"match": []}]}, "apps.portal.rules[0].match: is empty; allowed: at least one"),
        ({"apps.portal.rules": [{}]}, "apps.portal.rules[0].match: is missing; allowed: METHODS PATH-GLOB"),
        ({"apps.portal.rules": ["* /x"]}, "apps.portal.rules[0]: '* /x' is not a section; allowed: keys below it"),
        ({"apps.portal.password_routes": {"match": "x"}}, "apps.portal.password_routes.match: 'x' is not a route"),
        ({"apps.portal.password_routes": [{"match": "* /", "knd": 1}]}, "apps.portal.password_routes[0].knd: is not a known key; nearest: kind"),
        ({"apps.portal.password_routes": [3]}, "apps.portal.password_routes[0]: 3 is not a section; allowed: keys below it"),
        ({"tls.certificate": ""}, "tls.certificate: is empty; allowed: a path, or no such key"),
    ],
)  # fmt: skip
def test_pydantics_findings_are_said_in_plain_words(changes: dict[str, object], said: str) -> None:
    (problem,) = problems_with(changes)
    assert str(problem).startswith(said)


def test_one_value_stands_for_a_list_of_one_wherever_a_list_is_allowed() -> None:
    """The way it is written at the first try means the same as the list."""
    lone = {
        "keys": KEY,
        "trusted_proxies": "10.0.0.0/8",
        "directory": NEXUDUS | {"business_ids": 501},
        "apps.portal.hosts": "portal.example.com",
        "apps.portal.public": "GET /assets/**",
        "apps.portal.rules": {"match": "* /admin/**", "require": {"groups": "staff"}, "acr": "mfa"},
        "apps.portal.responses": {"drop_cookies": "rival"},
    }
    listed = {
        **{key: [value] for key, value in lone.items() if isinstance(value, str)},
        "directory": NEXUDUS,
        "apps.portal.rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}, "acr": ["mfa"]}],
        "apps.portal.responses": {"drop_cookies": ["rival"]},
    }
    assert config_with(lone) == config_with(listed)


def test_password_routes_may_be_a_pack_a_rule_or_a_list_of_both() -> None:
    rule = {"match": "POST /token", "when": {"json": {"type": "password"}}}
    for given, count in (("nexudus", 1), (rule, 1), (["nexudus", rule], 2), ([], 0)):
        assert len(config_with({"apps.portal.password_routes": given}).apps["portal"].password_routes) == count


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "", "5\n"])
def test_a_file_that_is_no_mapping_is_a_problem(tmp_path: Path, text: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert str(problem) == "the file: is not a mapping; allowed: key: value"


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read: no such file"):
        load_config(tmp_path / "missing.yaml", {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="is not UTF-8"):
        load_config(tmp_path / "binary.yaml", {})


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert load_config(tmp_path / "gateway.yaml", {}).keys[0].get_secret_value() == KEY


def test_a_good_file_has_no_problem(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD).apps["portal"].upstream == ("http://127.0.0.1:8001",)
