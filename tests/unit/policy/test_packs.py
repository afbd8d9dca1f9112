"""Every pack of the house: what it closes, in many spellings; what it must leave open; and that each rule says why and from where."""

from itertools import islice

import pytest

from gateway.config.reading.packs import pack_names
from gateway.config.schema import PackRule
from gateway.errors.requests import BadRequest
from gateway.operations.probe.spellings import spellings
from gateway.policy.passwords import Blocked, NeedsBody, PasswordRoutes, load_pack
from gateway.policy.paths import parse_target
from tests.unit.policy.made import FORM, JSON, app, head
from tests.unit.policy.test_nexudus_pack import requests_of

OTHERS = ("django-admin", "grafana", "keycloak-account", "wordpress")
DOORS = {name: PasswordRoutes(app(password_routes=[name]), closed=True) for name in OTHERS}
TOKEN = "/realms/staff/protocol/openid-connect/token"

#: (pack, method, target, body): what the projects' sources and documents say that takes, sets, resets or goes around a password.
CLOSED = [
    ("django-admin", "POST", "/admin/login/?next=/admin/", b"username=a&password=b"),
    ("django-admin", "GET", "/admin/login/", None),
    ("django-admin", "POST", "/admin/password_change/", b"new_password1=a"),
    ("django-admin", "GET", "/accounts/reset/MQ/set-password/", None),
    ("django-admin", "POST", "/admin/auth/user/3/password/", b"password1=a"),
    ("django-admin", "POST", "/admin/people/member/3/password/", b"password1=a"),
    ("grafana", "POST", "/login", b'{"user":"a","password":"b"}'),
    ("grafana", "PUT", "/api/user/password", b'{"oldPassword":"a","newPassword":"b"}'),
    ("grafana", "POST", "/api/user/password/send-reset-email", b'{"userOrEmail":"a"}'),
    ("grafana", "POST", "/api/user/signup/step2", b'{"email":"a"}'),
    ("grafana", "PUT", "/api/admin/users/2/password", b'{"password":"a"}'),
    ("keycloak-account", "POST", "/realms/staff/login-actions/authenticate?execution=x&tab_id=y", b"username=a&password=b"),
    ("keycloak-account", "POST", "/auth/realms/staff/login-actions/authenticate", b"username=a&password=b"),
    ("keycloak-account", "GET", "/realms/staff/login-actions/reset-credentials", None),
    ("keycloak-account", "POST", TOKEN, b"grant_type=password&username=a&password=b"),
    ("keycloak-account", "POST", TOKEN, b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x"),
    ("keycloak-account", "PUT", "/admin/realms/staff/users/7/reset-password", b'{"value":"a"}'),
    ("keycloak-account", "GET", "/realms/staff/login-actions/action-token?key=x", None),
    ("wordpress", "GET", "/wp-login.php", None),
    ("wordpress", "POST", "/wp-login.php", b"log=a&pwd=b"),
    ("wordpress", "POST", "/blog/wp-login.php/anything", b"log=a&pwd=b"),
    ("wordpress", "GET", "/wp-login.php?action=lostpassword", None),
    ("wordpress", "POST", "/xmlrpc.php", b"<methodCall/>"),
    ("wordpress", "POST", "/wp-json/wp/v2/users/1/application-passwords", b'{"name":"x"}'),
    ("wordpress", "POST", "/index.php/wp-json/wp/v2/users/1", b'{"password":"x"}'),
    ("wordpress", "POST", "/wp-json/batch/v1", b'{"requests":[{"path":"/wp/v2/users/1","body":{"password":"x"}}]}'),
    ("wordpress", "POST", "/?rest_route=/wp/v2/users/1/application-passwords", b'{"name":"x"}'),
    ("wordpress", "POST", "/wp-admin/profile.php", b"nickname=a&pass1=b&pass2=b"),
    ("wordpress", "POST", "/wp-admin/network/profile.php", b"nickname=a&pass1=b&pass2=b"),
    ("wordpress", "GET", "/wp-login.php?action=logout&key=k&login=a", None),
    ("wordpress", "GET", "/wp-admin/users.php?action=resetpassword&users[]=2", None),
    ("wordpress", "POST", "/wp-admin/admin-ajax.php", b"action=add-user&pass1=a"),
    ("wordpress", "POST", "/wp-admin/network/user-new.php", b"user%5Busername%5D=a"),
    ("wordpress", "POST", "/wp-admin/network/site-users.php?action=newuser", b"user%5Busername%5D=a"),
    ("wordpress", "POST", "/wp-admin/install.php?step=2", b"admin_password=a"),
    ("wordpress", "POST", "/", b"rest_route=/wp/v2/users/me&password=x"),
    ("wordpress", "POST", "/hello-world/", b"rest.route=/wp/v2/users/1/application-passwords&name=n"),
    ("django-admin", "POST", "/admin/auth/user/add/", b"username=a&password1=b"),
    ("django-admin", "POST", "/admin/people/customuser/add/", b"anything=a"),
    ("django-admin", "POST", "/admin/people/coworker/add/", b"email=a&password1=b&password2=b"),
    ("keycloak-account", "POST", "/admin/realms/staff/users", b'{"username":"a","credentials":[{"type":"password","value":"b"}]}'),
    ("keycloak-account", "PUT", "/admin/realms/staff/users/7", b'{"credentials":[{"type":"password","value":"b"}]}'),
    ("keycloak-account", "POST", "/admin/realms/staff/partialImport", b'{"users":[{"username":"a"}]}'),
    ("keycloak-account", "POST", "/admin/realms", b'{"realm":"r","users":[{"username":"a"}]}'),
    ("keycloak-account", "POST", "/auth/admin/realms/staff/users/7/impersonation", b"{}"),
    ("keycloak-account", "GET", "/realms/staff/protocol/openid-connect/registrations?client_id=a", None),
    ("keycloak-account", "GET", "/realms/staff/protocol/openid-connect/forgot-credentials", None),
]  # fmt: skip
OPEN = [
    ("django-admin", "GET", "/admin/", None),
    ("django-admin", "POST", "/admin/logout/", b"csrfmiddlewaretoken=x"),
    ("django-admin", "POST", "/admin/auth/user/3/change/", b"first_name=a"),
    ("grafana", "GET", "/login/generic_oauth?code=x&state=y", None),
    ("grafana", "GET", "/logout", None),
    ("grafana", "GET", "/api/user", None),
    ("grafana", "GET", "/public/build/login.js", None),
    ("keycloak-account", "GET", "/realms/staff/account/", None),
    ("keycloak-account", "GET", "/realms/staff/broker/corporate/login?session_code=x", None),
    ("keycloak-account", "POST", TOKEN, b"grant_type=authorization_code&code=x&client_secret=y"),
    ("keycloak-account", "POST", "/realms/staff/login-actions/required-action?execution=TERMS_AND_CONDITIONS", b"a=b"),
    ("wordpress", "GET", "/wp-login.php?action=logout&_wpnonce=1", None),
    ("wordpress", "HEAD", "/wp-login.php?action=logout", None),
    ("wordpress", "GET", "/wp-json/wp/v2/posts", None),
    ("wordpress", "POST", "/wp-json/wp/v2/posts", b'{"title":"a","password":"of one post"}'),
    ("wordpress", "POST", "/wp-admin/profile.php", b"nickname=a"),
    ("wordpress", "GET", "/wp-login-news/", None),
    ("wordpress", "POST", "/", b"comment=a&route=b"),
    ("wordpress", "POST", "/wp-admin/admin-ajax.php", b"action=heartbeat"),
    ("wordpress", "GET", "/wp-admin/users.php?action=delete", None),
    ("django-admin", "POST", "/admin/shop/order/add/", b"name=a"),
    ("keycloak-account", "POST", "/admin/realms/staff/users", b'{"username":"a","credentials":[]}'),
    ("keycloak-account", "DELETE", "/admin/realms/staff/users/7", None),
    ("keycloak-account", "PUT", "/admin/realms/staff/users/7", b'{"firstName":"a"}'),
]  # fmt: skip


def judge(pack: str, method: str, raw: str | bytes, body: bytes | None, *fields: tuple[bytes, bytes]) -> object:
    where = parse_target(raw if isinstance(raw, bytes) else raw.encode())
    kind = JSON if body is not None and body.startswith(b"{") else FORM
    request = head(method, where.wire(), *fields, body=body, content_type=kind)
    return DOORS[pack].match(DOORS[pack].candidates(method, where), request, where, body)


def test_these_are_the_packs() -> None:
    assert pack_names() == tuple(sorted((*OTHERS, "nexudus")))


@pytest.mark.parametrize("name", pack_names())
def test_every_rule_says_what_kind_it_is_why_it_is_there_and_how_that_is_known(name: str) -> None:
    for rule in load_pack(name):
        assert rule.kind in ("password", "account", "passwordless", "enumeration")
        assert len(rule.reason.split()) >= 4, rule.match
        assert rule.source.split()[0].rstrip(":") in ("SRC", "DOC", "OLD", "OBS", "GUESS"), rule.match


@pytest.mark.parametrize(("pack", "method", "where", "body"), CLOSED)
def test_a_password_request_of_each_product_is_closed(pack: str, method: str, where: str, body: bytes | None) -> None:
    assert isinstance(judge(pack, method, where, body), Blocked)


@pytest.mark.parametrize(("pack", "method", "where", "body"), OPEN)
def test_what_has_nothing_to_do_with_passwords_stays_open(
    pack: str, method: str, where: str, body: bytes | None
) -> None:
    assert judge(pack, method, where, body) is None


RULES = [
    pytest.param(name, rule, id=f"{name}: {rule.match} {rule.when or ''}")
    for name in OTHERS
    for rule in load_pack(name)
]


@pytest.mark.parametrize(("pack", "rule"), RULES)
def test_spellings_of_every_rule_are_closed_or_refused(pack: str, rule: PackRule) -> None:
    """C-12, B-35: every seventh of the corpus; the probe fires all of it."""
    for method, path, query, body in requests_of(rule):
        for spelling in islice(spellings(path, query, method=method), 0, None, 7):
            try:
                verdict = judge(pack, spelling.method or method, spelling.target, body, *spelling.fields)
            except BadRequest:
                continue
            assert isinstance(verdict, Blocked), spelling


@pytest.mark.parametrize(
    ("method", "query", "body", "fields"),
    [
        ("POST", "action=logout", b"log=a&pwd=b", ()),
        ("POST", "action=logout", None, ()),
        ("GET", "action=logout", b"action=login&log=a&pwd=b", ()),
        ("GET", "action=logout&action=login", None, ()),
        ("GET", "action=logout&action[]=login", None, ()),
        ("GET", "action=logout;action=login", None, ()),
        ("GET", "action=%6cogout", None, ()),
        ("GET", "action=logout&_method=POST", None, ()),
        ("GET", "action=logout", None, ((b"X-HTTP-Method-Override", b"POST"),)),
        ("GET", "xaction=logout", None, ()),
        ("GET", "", None, ()),
    ],
)
def test_a_harmless_query_excuses_only_what_reads_and_says_it_once(
    method: str, query: str, body: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    """C-12, B-35: PHP takes the form's `action` before the query's, and the last of two."""
    assert isinstance(judge("wordpress", method, f"/wp-login.php?{query}", body, *fields), Blocked)


@pytest.mark.parametrize(
    "kind", [b"application/xml", b"multipart/form-data; boundary=x", b"text/plain", b"application/x-www-form-urlencoded; charset=utf-16"]
)  # fmt: skip
@pytest.mark.parametrize("path", ["/wp-admin/profile.php", TOKEN, "/wp-json/batch/v1"])
def test_a_watched_route_takes_no_body_of_an_unknown_kind(path: str, kind: bytes) -> None:
    """C-12."""
    pack = "keycloak-account" if path == TOKEN else "wordpress"
    where = parse_target(path.encode())
    request = head("POST", path, body=b"x=1", content_type=kind)
    doors = DOORS[pack]
    assert isinstance(doors.match(doors.candidates("POST", where), request, where), Blocked)
    assert isinstance(
        doors.match(doors.candidates("POST", where), head("POST", path, body=b"x=1"), where), NeedsBody | Blocked
    )
