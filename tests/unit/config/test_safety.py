"""Unsafe combinations: refused unless asked for by name, or said at every start."""

from typing import Any

import pytest

from gateway.config.checks.safety import warnings
from tests.unit.config.made import KEY, NEXUDUS, config_with, keys_with

QUIET: dict[str, Any] = {"redis": {"url": "rediss://h"}, "trusted_proxies": ["127.0.0.1"]}
CONSOLE = {"hosts": ["console.example.com"], "require": {"groups": ["ops"]}}
HTTP = {"external_url_scheme": "http", "apps.portal.hosts": ["portal.localhost:4180"]}


def linking(requests: dict[str, Any]) -> dict[str, Any]:
    asked = {"find": {"path": "/u"}, "fetch": {"path": "/u/{id}"}}
    answer = {"id": "/id", "email": "/email", "link": "/badge"}
    return {"kind": "http", "base_url": "https://api.example.com", "requests": asked | requests, "answer": answer}


@pytest.mark.parametrize(
    "hosts", [["localhost:4180"], ["portal.localhost:4180"], ["127.0.0.1:4180", "[::1]:4180"], ["127.1.2.3"]]
)
def test_http_is_for_loopback_names(hosts: list[str]) -> None:
    assert keys_with({"external_url_scheme": "http", "apps.portal.hosts": hosts}) == []


@pytest.mark.parametrize("hosts", [["portal.example.com"], ["portal.localhost", "10.0.0.1"], ["localhost.example.com"]])
def test_http_on_any_other_name_must_be_asked_for(hosts: list[str]) -> None:
    """C-16: a cookie without Secure would travel where it can be read."""
    changes = {"external_url_scheme": "http", "apps.portal.hosts": hosts}
    assert keys_with(changes) == ["external_url_scheme"]
    assert keys_with(changes | {"allow_insecure_http": True}) == []


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("openid.authority_url", "http://login.example.com"),
        ("openid.log_out_url", "http://login.example.com/logout?to={return_to}"),
        ("directory.base_url", "http://spaces.example.com"),
    ],
)
def test_http_to_another_machine_must_be_asked_for(path: str, url: str) -> None:
    """A-69."""
    changes = {"directory": NEXUDUS, path: url}
    assert keys_with(changes) == [path]
    assert keys_with(changes | {"allow_insecure_http": True}) == []
    assert keys_with({"directory": NEXUDUS, path: "http://127.0.0.1:1/x"}) == []
    assert keys_with({"directory": NEXUDUS, path: "http://provider.localhost:1/x"}) == []


def test_a_safe_configuration_has_no_warning() -> None:
    assert warnings(config_with(QUIET)) == ()


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"admin_listen": "0.0.0.0:4181"}, "admin_listen: is not on loopback"),
        ({"allow_insecure_http": True}, "allow_insecure_http: is on"),
        (HTTP, "external_url_scheme: is http; session cookies carry neither Secure"),
        ({"listen": "0.0.0.0:4180"}, "listen: takes plain http from other machines"),
        ({"listen": "unix:/run/door", "listen_mode": "0666"}, "listen_mode: every user of this machine may connect"),
        ({"trusted_proxies": []}, "trusted_proxies: is empty although something in front ends TLS"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "trusted_proxies: trusts every address"),
        ({"trusted_proxies": ["::/0"]}, "trusted_proxies: trusts every address"),
        ({"redis": {}}, "redis.data_dir: is not given; the embedded store forgets"),
        ({"console": CONSOLE, "redis": {}}, "redis.data_dir: is not given; the embedded store forgets all sessions at a restart, and"),
        ({"console": CONSOLE, "redis": {"url": "redis://127.0.0.1"}}, "redis.data_dir: is not given; without a copy of what is saved"),
        ({"redis": {"url": "redis://u:p@valkey:6379/1"}}, "redis.url: uses no TLS to another machine"),
        ({"redis": {"url": "redis+cluster://127.0.0.1,valkey"}}, "redis.url: uses no TLS to another machine"),
        ({"redis": {"url": "redis+cluster://127.0.0.1", "key_prefix": "{x}:"}}, "redis.key_prefix: has a hash tag"),
        ({"redis": {"url": "rediss://h", "outage": "serve_cached for 5m"}}, "redis.outage: is serve_cached"),
        ({"keys": ["AQIDBAUGBwgJCgECAwQFBgcICQoBAgMEBQYHCAkKCwk"]}, "keys[0]: does not look random"),
        ({"log": {"pii": "full"}}, "log.pii: is full"),
        ({"log": {"level": "debug"}}, "log.level: is debug"),
        ({"openid": {"enabled": False}}, "openid.enabled: is off"),
        ({"openid.client_authentication": "none", "openid.client_secret": ...}, "openid.client_authentication: is none"),
        ({"openid.require_verified_email": "never"}, "openid.require_verified_email: is never"),
        ({"openid.claims": {"email": "upn"}}, "openid.claims.email: is upn, which no provider verifies"),
        ({"openid.create_users": True}, "openid.create_users: is on, but directory.kind is none"),
        ({"directory": NEXUDUS | {"mode": "shadow"}}, "directory.mode: is shadow; no account is created"),
        ({"directory": NEXUDUS | {"linked_elsewhere": "allow"}}, "directory.linked_elsewhere: is allow; a person with"),
        ({"directory": linking({"create": {"method": "POST", "path": "/u", "json": {"badge": "{subject}"}}})}, "directory.requests.create: does not send answer.link_value ({link}); a new account"),
        ({"directory": linking({"find_linked": {"path": "/u", "query": {"badge": "{subject}"}}})}, "directory.requests.find_linked: does not ask for answer.link_value ({link}); no account"),
        ({"openid.prevent_password_login": True}, "apps.portal.password_routes: is empty although passwords are prevented"),
        ({"apps.portal.public": ["GET /**"]}, "apps.portal.public: opens every path to every client"),
        ({"apps.portal.rules": [{"match": ["* /**"], "public": True}]}, "apps.portal.public: opens every path to every client"),
        ({"apps.portal.surface": "dashboard"}, "apps.portal.require: is empty; everyone whom the provider knows"),
        ({"apps.portal.surface": "dashboard", "apps.portal.unauthenticated": "pass"}, "apps.portal.unauthenticated: is pass on a dashboard without require"),
        ({"apps.portal.public": ["GET /*", "GET /*/*/**"]}, "apps.portal.public: opens every path to every client"),
        *(({"openid.claims": {"groups": name}}, f"openid.claims.groups: is {name}, which people can write themselves")
          for name in ("name", "nickname", "preferred_username", "user_metadata.groups")),
        ({"openid.prevent_dashboard_password_login": True}, "openid.prevent_dashboard_password_login: is on, but no app has surface dashboard or shared"),
        ({"openid.prevent_password_login": True, "apps.portal.surface": "dashboard", "apps.portal.require": {"groups": ["a"]}},
         "openid.prevent_password_login: is on, but no app has surface portal or shared"),
        ({"openid.client_secret": "s3cret "}, "openid.client_secret: begins or ends with a blank"),
        ({"openid.client_secret": "s3cret\n"}, "openid.client_secret: begins or ends with a blank"),
        ({"directory": NEXUDUS | {"password": "\ts3cret"}}, "directory.password: begins or ends with a blank"),
        ({"apps.portal.client_headers": ["X-Scope-OrgID"]}, "apps.portal.client_headers[0]: lets any client send X-Scope-OrgID, by which others"),
        ({"apps.portal.client_headers": ["my_field"]}, "apps.portal.client_headers[0]: lets any client send my_field, which some servers"),
        ({"apps.portal.client_headers": ["X-Thing"]}, "apps.portal.client_headers[0]: names X-Thing, which travels anyway"),
        ({"apps.portal.headers": {"X-Id": "{directory.id}"}}, "apps.portal.headers: asks for {directory...}"),
    ],
)  # fmt: skip
def test_what_is_unsafe_is_said_by_name(changes: dict[str, Any], begins: str) -> None:
    (warning,) = warnings(config_with(QUIET | changes))
    assert warning.startswith(begins)


@pytest.mark.parametrize(
    "requests",
    [
        {"create": {"method": "POST", "path": "/u", "json": {"person": {"badges": ["{link}"]}}}},
        {"create": {"method": "PUT", "path": "/u/{link}"}},
        {"find_linked": {"path": "/u", "query": {"filter": 'badge eq "{link:dquote}"'}}},
    ],
)
def test_requests_in_the_form_of_the_links_are_quiet(requests: dict[str, Any]) -> None:
    assert warnings(config_with(QUIET | {"directory": linking(requests)})) == ()


def test_a_redis_on_this_machine_needs_no_tls() -> None:
    for url in (
        "redis://localhost:6379",
        "redis://127.0.0.1",
        "redis://:p@[::1]:6379/0",
        "unix:///run/r.sock",
        "redis+cluster://localhost,[::1]:7",
    ):
        assert warnings(config_with(QUIET | {"redis": {"url": url}})) == ()


def test_a_mapped_address_that_somebody_vouches_for_is_quiet() -> None:
    vouched = {"openid.claims": {"email": "upn"}, "openid.verified_email_domains": ["example.com"]}
    assert warnings(config_with(QUIET | vouched)) == ()


def test_one_key_is_enough() -> None:
    assert warnings(config_with(QUIET | {"keys": [KEY]})) == ()


def test_strangers_refused_by_omission_are_said() -> None:
    both = {
        "directory": NEXUDUS,
        "openid.create_users": True,
        "openid.prevent_password_login": True,
        "apps.portal.password_routes": "nexudus",
        "apps.portal.client_headers": ["client_id"],
    }
    (warning,) = warnings(config_with(QUIET | both))
    assert warning.startswith(
        "openid.unregistered_when_sso_only: is left out while create_users and prevent_password_login"
    )
    for said in ("create", "refuse"):
        assert warnings(config_with(QUIET | both | {"openid.unregistered_when_sso_only": said})) == ()


def test_a_rule_for_delete_without_post_is_warned_of_where_forms_are_ignored() -> None:
    """B-35."""
    ignoring = QUIET | {"apps.portal.form_methods": "ignore"}
    rules = [{"match": ["DELETE /items/**"], "require": {"groups": ["staff"]}}]
    (warning,) = warnings(config_with(ignoring | {"apps.portal.rules": rules}))
    assert warning.startswith("apps.portal.rules[0]: ")
    assert warnings(config_with(QUIET | {"apps.portal.rules": rules})) == ()
    rules = [{"match": ["POST,DELETE /items/**"], "require": {"groups": ["staff"]}}]
    assert warnings(config_with(ignoring | {"apps.portal.rules": rules})) == ()


def test_the_field_that_pages_of_nexudus_need_is_missed_by_name() -> None:
    """C-60: an underscore in a field's name reaches the application only where the app lets it through."""
    closed = {"openid.prevent_password_login": True, "apps.portal.password_routes": "nexudus"}
    (warning,) = warnings(config_with(QUIET | closed))
    assert warning.startswith("apps.portal.client_headers: is without client_id")
    assert warnings(config_with(QUIET | closed | {"apps.portal.client_headers": ["client_id"]})) == ()
