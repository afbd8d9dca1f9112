"""What must stand together: one test an option that would otherwise be unsafe or silently without effect."""

from typing import Any

import pytest

from tests.unit.config.made import KEY, NEXUDUS, OTHER_KEY, problems_with

OFF = {"openid": {"enabled": False}, "keys": []}


def said(changes: dict[str, Any]) -> list[str]:
    return [f"{problem.key}: {problem.what}" for problem in problems_with(changes)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tls": {"certificate": "/a.pem"}}, "tls: needs both certificate and key"),
        ({"tls": {"key": "/a.pem"}}, "tls: needs both certificate and key"),
        ({"redis": {"url": "rediss://h", "tls": {"key": "/a"}}}, "redis.tls: needs both certificate and key"),
        ({"redis": {"url": "redis://h", "tls": {"ca": "/a"}}}, "redis.tls: is given, but redis.url does not use TLS"),
        ({"redis": {"url": "redis+cluster://h", "tls": {"ca": "/a"}}}, "redis.tls: is given, but redis.url does not use"),
        ({"redis": {"url": "redis://h", "sentinel": {"password": "x"}}}, "redis.sentinel: is given, but redis.url names no"),
        (
            {"redis": {"url": "redis+sentinel://h/n", "sentinel": {"username": "x"}}},
            "redis.sentinel: has a username without a password",
        ),
        ({"keys": []}, "keys: is missing"),
        ({"keys": [KEY, OTHER_KEY, KEY]}, "keys[2]: is the same key as keys[0]"),
        ({"keys": [KEY, KEY + "="]}, "keys[1]: is the same key as keys[0]"),
        ({"openid.authority_url": ...}, "openid.authority_url: is missing"),
        ({"openid.client_id": ""}, "openid.client_id: is missing"),
        ({"openid.client_secret": ...}, "openid.client_secret: is missing for client_secret_basic"),
        ({"openid.client_secret": ""}, "openid.client_secret: is empty"),
        ({"openid.scopes": ["email"]}, "openid.scopes: does not contain openid"),
        (
            {"openid.issuer": "https://login.example.com/{tenantid}/v2.0"},
            "openid.allowed_tenants: is missing",
        ),
        (
            {"openid.issuer": "https://login.example.com/v2.0", "openid.allowed_tenants": ["one"]},
            "openid.allowed_tenants: is used only with {tenantid} in issuer",
        ),
        ({"openid.issuer": "https://{tenantid}.example.com/"}, "openid.issuer: 'https://{tenantid}.example.com/' has a placeholder in its host"),
        ({"openid.issuer": "https://login.example.com/{tenant}"}, "openid.issuer: 'https://login.example.com/{tenant}' has a placeholder in its host or another"),
        ({"openid.issuer": "login.example.com"}, "openid.issuer: "),
        ({"openid.scopes": []}, "openid.scopes: does not contain openid"),
        ({"openid.scopes": ["openid", "email", "email"]}, "openid.scopes: names a scope twice"),
        ({"apps.portal.hosts": []}, "apps.portal.hosts: is empty"),
        ({"apps.portal.hosts": ["a.example", "A.example"]}, "apps.portal.hosts[1]: is the same host as apps.portal.hosts[0]"),
        ({"apps.portal.hosts": ["a.example", "a.example:443"]}, "apps.portal.hosts[1]: is the same host as apps.portal.hosts[0]"),
        ({"apps.portal.session": {"lifetime": "1h"}}, "apps.portal.session: has an idle timeout longer than its lifetime"),
        ({"apps.portal.session": {"when_full": "refuse"}}, "apps.portal.session.when_full: means nothing without max_per_person"),
        ({"apps.portal.session": {"max_per_person": 0}}, "apps.portal.session.max_per_person: 0 is out of bounds"),
        ({"apps.portal.session": {"idle": "0s"}}, "apps.portal.session.idle: '0s' is out of bounds"),
        ({"apps.portal.session": {"lifetime": "401d"}}, "apps.portal.session.lifetime: '401d' is out of bounds"),
        ({"apps.portal.timeouts": {"connect": "0s"}}, "apps.portal.timeouts.connect: '0s' is out of bounds"),
        ({"directory": {"kind": "scim", "base_url": "https://x", "token": "t", "timeout": "3m"}}, "directory.timeout: '3m' is out of bounds"),
        ({"openid.clock_skew": "1h"}, "openid.clock_skew: '1h' is out of bounds"),
        ({"limits": {"head": "512B"}}, "limits.head: '512B' is out of bounds"),
        ({"limits": {"headers": 100000}}, "limits.headers: 100000 is out of bounds"),
        ({"limits": {"watched_body": "1GiB"}}, "limits.watched_body: '1GiB' is out of bounds"),
        ({"apps.portal.upstream_tls": {"server_name": "x"}}, "apps.portal.upstream_tls: is given, but the upstream is not https"),
        ({"apps.portal.upstream": []}, "apps.portal.upstream: is empty"),
        ({"apps.portal.upstream": ["http://a", "https://b"]}, "apps.portal.upstream: mixes schemes"),
        ({"apps.portal.upstream": ["http://a", "unix:/run/a"]}, "apps.portal.upstream: mixes schemes"),
        ({"apps.portal.upstream": ["http://a", "http://a/"]}, "apps.portal.upstream: names an address twice"),
        ({"apps.portal.upstream": ["http://a", "b"]}, "apps.portal.upstream[1]: 'b' is not a URL"),
        ({"trusted_headers": ["X-SSL-Client-Verify"]}, "trusted_headers: mean nothing without trusted_proxies"),
        ({"trusted_headers": ["X-A-B", "x-a-b"], "trusted_proxies": ["10.0.0.0/8"]}, "trusted_headers[1]: is named twice"),
        ({"trusted_headers": ["X-Customer"], "trusted_proxies": ["10.0.0.0/8"], "apps.portal.headers": {"x-customer": "{email}"}},
         "apps.portal.headers.x-customer: is also in trusted_headers"),
        ({"trusted_headers": ["X-Scope-OrgID"], "trusted_proxies": ["10.0.0.0/8"], "apps.portal.client_headers": ["x-scope-orgid"]},
         "apps.portal.client_headers[0]: is also in trusted_headers"),
        ({"listen_proxy_protocol": True}, "listen_proxy_protocol: is on, but no peer may send a PROXY header"),
        ({"limits": {"connections": 0}}, "limits.connections: 0 is out of bounds"),
        ({"limits": {"connections_per_address": True}}, "limits.connections_per_address: true is a true/false value"),
        ({"limits": {"head_timeout": "0s"}}, "limits.head_timeout: '0s' is out of bounds"),
        ({"limits": {"idle_timeout": "2d"}}, "limits.idle_timeout: '2d' is out of bounds"),
        ({"limits": {"minimum_rate": "1GiB"}}, "limits.minimum_rate: '1GiB' is out of bounds"),
        ({"limits": {"rate_window": "5"}}, "limits.rate_window: '5' is not a duration"),
        ({"apps.portal.upgrades": ["h2c"]}, "apps.portal.upgrades[0]: 'h2c' would carry requests past the rules"),
        ({"apps.portal.upgrades": ["a b"]}, "apps.portal.upgrades[0]: 'a b' is not a protocol"),
        ({"apps.portal.websocket_origins": ["*"]}, "apps.portal.websocket_origins[0]: '*' is not a URL"),
        ({"apps.portal": {"hosts": ["a.example"], "upstream": "http://127.0.0.1:1", "headers": {"My-Field": "{email}"}, "client_headers": ["my_field"]}},
         "apps.portal.client_headers[0]: is set by headers, or named twice"),
        ({"apps.portal": {"hosts": ["a.example"], "upstream": "http://127.0.0.1:1", "upgrades": [], "public": ["GET /x", "WEBSOCKET /x"]}},
         "apps.portal.public[1]: names WEBSOCKET, but upgrades does not"),
        ({"apps.portal.client_headers": ["my_field", "My.Field"]}, "apps.portal.client_headers[1]: is set by headers, or named twice"),
        ({"apps.portal.headers": {"X-Id": "{email}", "x-id": "{name}"}}, "apps.portal.headers.x-id: is the same header as another one"),
        ({"apps.portal.rules": [{"name": "a", "match": ["* /x"], "public": True}, {"name": "a", "match": ["* /y"], "public": True}]},
         "apps.portal.rules[1].name: is the name of another rule"),
        *(({"apps.portal.rules": [{"name": name, "match": ["* /x"], "public": True}]}, "apps.portal.rules[0].name: is not a rule's name" if not name else f"apps.portal.rules[0].name: {name!r}")
          for name in ("require", "default", "own", "target", "break-glass 1", "rules[1]", 'a"b', "a" * 65, "")),  # C-73
        ({"apps.portal.rules": [{"match": ["* /x"], "public": True, "require": {"groups": ["a"]}}]}, "apps.portal.rules[0]: is public and"),
        ({"apps.portal.rules": [{"match": ["* /x"], "public": True, "max_age": "1h"}]}, "apps.portal.rules[0]: is public and"),
        ({"apps.portal.rules": [{"match": ["* /x"], "public": True, "acr": ["a"]}]}, "apps.portal.rules[0]: is public and"),
        ({"apps.portal.rules": [{"match": ["* /x"], "max_age": "0s"}]}, "apps.portal.rules[0].max_age: '0s' is out of bounds"),
        ({"apps.portal.rules": [{"match": ["* /x"]}]}, "apps.portal.rules[0]: restricts nothing and opens nothing"),
        ({"apps.portal.rules": [{"match": ["* /x"], "require": {}}]}, "apps.portal.rules[0]: restricts nothing and opens nothing"),
        *(({"keys": [key]}, "keys[0]: repeats the same bytes") for key in ("A" * 43, "_" * 42 + "8", "VVVV" * 10 + "VVU", "a" * 42 + "Y", KEY[:20] * 2 + KEY[:3])),
        *(({"trusted_proxies": networks}, "trusted_proxies: covers every public address, in pieces")
          for networks in (["0.0.0.0/1", "128.0.0.0/1"], ["::1", "128.0.0.0/2", "0.0.0.0/2", "64.0.0.0/2", "192.0.0.0/3"], ["::/1", "8000::/1"], ["2000::/4", "3000::/4"])),
        *(({"apps.portal.require": {"groups": ["a"]}, "apps.portal.public": public}, "apps.portal.public: opens every path to every client")
          for public in (["* /**"], ["* /*", "* /*/*/**", "GET /x"], ["* /*/**"], ["GET,POST /**", "PUT,PATCH,DELETE /*/**"])),
        ({"apps.portal.require": {"groups": ["a"]}, "apps.portal.public": ["GET,POST,PUT /**"], "apps.portal.rules": [{"match": ["PATCH,DELETE /**"], "public": True}]},
         "apps.portal.public: opens every path to every client"),
        ({"apps.portal.password_routes": [{"match": "* /x", "when": {}}]}, "apps.portal.password_routes[0].when: names nothing"),
        ({"apps.portal.password_routes": [{"match": "* /x", "when": {"form": {}}}]}, "apps.portal.password_routes[0].when: names nothing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], expected: str) -> None:
    """C-21."""
    (problem,) = said(changes)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"admin_listen": "127.0.0.1:4180"},
        {"listen": "0.0.0.0:4181"},
        {"listen": "unix:/run/a", "admin_listen": "unix:/run/a"},
    ],
)
def test_health_and_metrics_never_share_the_public_listener(changes: dict[str, Any]) -> None:
    """C-23."""
    assert said(changes) == ["admin_listen: is the same address as listen"]


@pytest.mark.parametrize(
    ("listen", "upstream", "leads_here"),
    [
        ("127.0.0.1:4180", "http://127.0.0.1:4180", True),
        ("127.0.0.1:4180", "https://LOCALHOST:4180", True),
        ("localhost:4180", "http://127.0.0.1:4180", True),
        ("[::1]:4180", "http://[::1]:4180", True),
        ("0.0.0.0:4180", "http://127.0.0.2:4180", True),
        ("[::]:4180", "http://portal.localhost:4180", True),
        ("127.0.0.1:4180", "http://0.0.0.0:4180", True),
        ("127.0.0.1:80", "http://127.0.0.1", True),
        ("10.0.0.1:443", "https://10.0.0.1", True),
        ("unix:/run/door", "unix:/run/door", True),
        ("127.0.0.1:4180", "http://127.0.0.1:4182", False),
        ("127.0.0.2:4180", "http://127.0.0.1:4180", False),
        ("[::1]:4180", "http://127.0.0.1:4180", False),
        ("0.0.0.0:4180", "http://10.0.0.1:4180", False),
        ("127.0.0.1:4180", "http://app.example.com:4180", False),
        ("unix:/run/door", "unix:/run/app", False),
        ("unix:/run/door", "http://127.0.0.1:4180", False),
    ],
)
@pytest.mark.parametrize("key", ["listen", "admin_listen"])
def test_an_upstream_is_not_a_listener_of_the_gateways_own(
    key: str, listen: str, upstream: str, leads_here: bool
) -> None:
    """B-68, C-23: each request would come back, or reach health and metrics."""
    other = {"listen": "admin_listen", "admin_listen": "listen"}[key]
    changes = {
        key: listen,
        other: "127.0.0.9:1",
        "apps.portal.upstream": ["http://127.0.0.1:8001", upstream] if upstream.startswith("http:") else [upstream],
    }
    expected = [f"apps.portal.upstream: is this gateway's own {key}"] if leads_here else []
    assert [text for text in said(changes) if "own" in text] == expected


@pytest.mark.parametrize("where", ["apps.portal.require", "rule"])
@pytest.mark.parametrize("name", ["groups", "emails", "email_domains"])
@pytest.mark.parametrize("entries", [[], [""], [" "]])
def test_an_empty_allow_list_is_refused(where: str, name: str, entries: list[str]) -> None:
    """C-21, C-20: it would let in everybody, or whoever has an empty claim."""
    require = {name: entries}
    changes = {"apps.portal.rules": [{"match": ["* /x"], "require": require}]} if where == "rule" else {where: require}
    key = "apps.portal.rules[0].require" if where == "rule" else where
    (problem,) = problems_with(changes)
    assert problem.key in (f"{key}.{name}", f"{key}.{name}[0]")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"apps.portal.require": {"groups": ["a"]}}, "apps.portal.require"),
        ({"apps.portal.require": {"emails": ["a@b.example"]}}, "apps.portal.require"),
        ({"apps.portal.require": {"email_domains": ["b.example"]}}, "apps.portal.require"),
        ({"apps.portal.rules": [{"match": ["* /x"], "require": {"groups": ["a"]}}]}, "apps.portal.rules[0]"),
        ({"apps.portal.rules": [{"match": ["* /x"], "max_age": "1h"}]}, "apps.portal.rules[0]"),
        ({"apps.portal.rules": [{"match": ["* /x"], "acr": ["a"]}]}, "apps.portal.rules[0]"),
    ],
)
def test_nobody_can_be_required_while_nobody_can_sign_in(changes: dict[str, Any], key: str) -> None:
    """C-20: enabled: off must not open what `require` closes."""
    assert said(changes | OFF) == [f"{key}: asks for a person, but openid.enabled is off and no person can sign in"]


def test_a_plain_proxy_needs_neither_keys_nor_provider() -> None:
    assert said(OFF) == []


@pytest.mark.parametrize("name", ["base_url", "username", "password", "business_ids"])
def test_the_nexudus_directory_needs_all_of_its_settings(name: str) -> None:
    directory = {key: value for key, value in NEXUDUS.items() if key != name}
    assert said({"directory": directory, "openid.create_users": True}) == [f"directory.{name}: is missing"]


def test_country_and_time_zone_need_not_be_typed() -> None:
    directory = {key: value for key, value in NEXUDUS.items() if key not in ("country_id", "time_zone_id")}
    assert said({"directory": directory, "openid.create_users": True}) == []


@pytest.mark.parametrize(
    ("name", "value"), [("business_ids", [0]), ("business_ids", [True]), ("country_id", -1), ("business_ids", [1, 1])]
)
def test_the_numbers_of_the_directory_are_numbers(name: str, value: object) -> None:
    (problem,) = problems_with({"directory": NEXUDUS | {name: value}})
    assert problem.key.startswith(f"directory.{name}")


@pytest.mark.parametrize(
    "changes",
    [
        {"trusted_proxies": ["0.0.0.0/1", "10.0.0.0/8", "2001:db8::/32"]},
        {"apps.portal.require": {"groups": ["a"]}, "apps.portal.public": ["GET /**", "* /*", "* /*/*/*/**", "* /x/**"]},
        {"apps.portal.public": ["* /**"]},
    ],
)
def test_what_leaves_something_closed_is_no_mistake(changes: dict[str, Any]) -> None:
    assert said(changes) == []
