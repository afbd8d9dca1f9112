"""`doorward explain` says what the door would do: the same gate, asked without a request on a socket."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.config.schema import Config
from gateway.operations.explain import AssumedSignIn, explain
from tests.unit.config.made import config_with

CONFIG = config_with(
    {
        "openid.prevent_password_login": True,
        "apps.portal.public": ["GET /assets/**"],
        "apps.portal.rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
        "apps.portal.password_routes": ["nexudus"],
    }
)


def explained(
    config: Config, method: str, url: str, *, headers: tuple[str, ...] = (), body: str | None = None, **sign_in: Any
) -> list[tuple[str, str]]:
    """`sign_in`: the fields of an AssumedSignIn; without an e-mail address there is none."""
    assumed = AssumedSignIn(**sign_in) if sign_in.get("email") is not None else None
    return explain(config, method, url, sign_in=assumed, headers=headers, body=body)


def told(
    method: str,
    path: str,
    *,
    email: str | None = None,
    groups: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
    body: str | None = None,
) -> dict[str, str]:
    url = "https://portal.example.com" + path
    return dict(explained(CONFIG, method, url, email=email, groups=groups, headers=headers, body=body))


def test_a_public_path_is_forwarded_without_an_identity() -> None:
    steps = told("GET", "/assets/x.css")
    assert (steps["rule"], steps["decision"], steps["identity"]) == ("public[0]", "forward", "none")


def test_a_protected_path_is_for_the_group_and_the_others_hear_why() -> None:
    permitted = told("GET", "/admin/x", email="ada@example.com", groups=("staff",))
    assert (permitted["rule"], permitted["decision"]) == ("rules[0]", "forward")
    refused = told("GET", "/admin/x", email="mia@example.com", groups=("members",))
    assert refused["decision"] == "refuse: 403 access_denied"
    assert "staff" in refused["because"]
    assert told("GET", "/admin/x")["decision"] == "sign in at the provider"


def test_a_rule_that_wants_a_better_sign_in_says_what_is_asked_of_the_provider() -> None:
    config = config_with({"apps.portal.rules": [{"match": ["* /vault/**"], "max_age": "5m", "acr": ["mfa"]}]})

    def steps(method: str, **given: Any) -> dict[str, str]:
        url = "https://portal.example.com/vault/1"
        return dict(explained(config, method, url, email="mia@example.com", groups=(), **given))

    assert steps("GET", acr="mfa", signed_in_ago=timedelta(minutes=4))["decision"] == "forward"
    for given in ({"acr": "password"}, {"acr": "mfa", "signed_in_ago": timedelta(minutes=6)}):
        weak = steps("GET", **given)
        assert (weak["decision"], weak["asked of the provider"]) == (
            "sign in at the provider",
            "max_age=300 acr_values=mfa",
        )
        program = steps("POST", **given)
        assert program["decision"] == "refuse: 401 insufficient_user_authentication"
        assert program["asked of the provider"] == "max_age=300 acr_values=mfa"


def test_a_blocked_spelling_names_the_door_and_shows_the_form_that_was_judged() -> None:
    steps = told("POST", "/API//tok%65n;v=1/", body="grant_type=password")
    assert (steps["canonical"], steps["folded"]) == ("/API/token;v=1/", "/api/token")
    assert steps["decision"] == "refuse: 403 password_login_disabled"
    assert steps["rule"] == "nexudus: * /api/token"


@pytest.mark.parametrize("path", ["/a%2fb", "/x#y", "/%00"])
def test_a_path_that_can_be_read_in_two_ways_is_a_decision_too(path: str) -> None:
    assert told("GET", path)["decision"] == "refuse: 400 ambiguous_target"


def test_the_readings_of_a_path_are_shown_with_the_kinds_of_servers_that_have_them() -> None:
    """C-65, C-66."""
    config = config_with({"apps.portal.rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}]})

    def read(path: str, **settings: Any) -> dict[str, str]:
        chosen = config_with({"apps.portal.reads_like": settings["like"]}) if settings else config
        steps = explained(chosen, "GET", "https://portal.example.com" + path)
        return dict(text.split(" ", 1) for name, text in steps if name == "read as")

    assert read("/admin") == {}
    assert "symfony" in read("/index.php/admin/users")["/admin/users"]
    assert "rails" in read("/reports.1")["/reports"]
    assert read("/app.css")["/app"].endswith("; a static file to who only fetches it)")
    assert read("/?rest_route=/wp/v2/users")["/wp-json/wp/v2/users"] == "(wordpress)"
    assert read("/login/index/1")["/login"] == "(aspnet-mvc, codeigniter)"
    assert read("/index.php/admin/users", like=["django"]) == {}
    assert (
        "any page"
        in dict(
            explained(
                config_with({"apps.portal.reads_like": "wordpress"}),
                "GET",
                "https://portal.example.com/?p=1",
            )
        )["read as"]
    )


def test_a_handshake_is_explained_as_one() -> None:
    """C-19."""
    assert told("GET", "/assets/x")["decision"] == "forward"
    steps = told("WEBSOCKET", "/assets/x")
    assert steps["decision"] == "refuse: 401 login_required"
    assert "opens" not in steps["5 public"]


def test_a_path_of_our_own_is_never_forwarded() -> None:
    assert "never forwarded" in told("GET", "/oauth2/userinfo")["decision"]


def test_http_basic_is_a_password() -> None:
    assert (
        told("GET", "/x", headers=("Authorization: Basic eDp5",))["decision"] == "refuse: 403 password_login_disabled"
    )


@pytest.mark.parametrize(
    "header", ["Sec-Fetch-Mode: cors", "Accept: application/json", "X-Requested-With: XMLHttpRequest"]
)
def test_a_program_is_not_explained_as_a_browser(header: str) -> None:
    assert told("GET", "/x", headers=(header,))["decision"] == "refuse: 401 login_required"


def test_a_host_of_no_app_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"421.*portal\.example\.com"):
        explained(CONFIG, "GET", "https://nope.example/")


def test_every_step_says_what_it_asked_and_what_it_found() -> None:
    """The order is the gate's: own paths, doors, break-glass, rules, public, require, step-up."""
    config = config_with(
        {
            "openid.prevent_password_login": True,
            "apps.portal.public": ["GET /assets/**", "GET /admin/logo.png"],
            "apps.portal.require": {"email_domains": ["example.com"]},
            "apps.portal.rules": [
                {"match": ["* /admin/**"], "require": {"groups": ["staff"]}, "max_age": "5m"},
                {"match": ["* /admin/money/**"], "acr": ["mfa"]},
            ],
            "apps.portal.password_routes": ["nexudus"],
        }
    )

    def steps(method: str, path: str, **given: Any) -> dict[str, str]:
        return dict(explained(config, method, "https://portal.example.com" + path, **given))

    money = steps("GET", "/admin/money/x", email="ana@example.com", groups=("staff",))
    assert [name for name in money if name[0].isdigit()] == [
        "1 own paths", "2 password routes", "3 break-glass", "4 rules", "5 public", "6 require", "7 step-up",
    ]  # fmt: skip
    assert money["1 own paths"] == "not one of ours"
    assert money["2 password routes"] == "closed by prevent_password_login; no rule is about this path and method"
    assert money["3 break-glass"] == "makes no difference here"
    assert money["4 rules"] == "rules[0], rules[1]"
    assert money["5 public"] == "not asked: a rule restricts this"
    assert money["6 require"] == "require: email_domains example.com: met, rules[0]: groups staff: met"
    assert money["7 step-up"] == "a sign-in within the last 300 s, acr mfa: not met"
    guest = steps("GET", "/ADMIN;x/users", email="guest@example.com")
    assert guest["6 require"].endswith("rules[0]: groups staff: not met")
    logo = steps("GET", "/assets/x.css")
    assert (logo["5 public"], logo["6 require"]) == ("public[0]", "not asked: it is public")
    page = steps("GET", "/members")
    assert page["3 break-glass"].startswith("while it is open, its range is admitted without a session")
    assert page["6 require"] == "require: email_domains example.com: no session"
    login = steps("POST", "/en/login", body="Email=a&Password=b")
    assert login["2 password routes"] == (
        "closed by prevent_password_login; path of nexudus: * /login, nexudus: * /login/index, nexudus: GET /login, nexudus: GET /login/index: refused by nexudus: * /login (password, answer refuse): "
        "The sign-in form sends a password"
    )
    assert steps("POST", "/api/token")["2 password routes"].endswith("(the request has no body)")
    refresh = steps(
        "POST",
        "/api/token",
        body="grant_type=refresh_token",
        headers=("Content-Type: application/x-www-form-urlencoded",),
    )
    assert refresh["2 password routes"].endswith(
        "passes, its method, query and body are not those of a password request"
    )
    assert steps("GET", "/oauth2/start")["1 own paths"].startswith("yes")
    assert "1 own paths" not in steps("GET", "/a%2fb")


def test_open_doors_name_the_toggle_that_would_close_them() -> None:
    config = config_with({"apps.portal.password_routes": ["nexudus"], "apps.portal.surface": "shared"})
    steps = dict(explained(config, "GET", "https://portal.example.com/login"))
    assert steps["2 password routes"] == "open: prevent_password_login or prevent_dashboard_password_login is off"


def test_a_preflight_is_explained() -> None:
    """C-79, C-77: who answers it, and whether its origin is allowed."""
    asked = ("Origin: https://app.example.net", "Access-Control-Request-Method: PUT")
    cors = {"allow_origins": ["https://app.example.net"]}

    def steps(keys: dict[str, Any], *headers: str) -> dict[str, str]:
        config = config_with({f"apps.portal.{name}": value for name, value in keys.items()})
        return dict(explained(config, "OPTIONS", "https://portal.example.com/x", headers=headers))

    answered = steps({"cors_preflight": cors}, *asked)
    assert answered["preflight"].startswith("yes, and answered here: its origin is allowed")
    assert answered["decision"] == "answered by Doorward itself: 204, never forwarded"
    other = steps({"cors_preflight": cors}, "Origin: https://evil.example", asked[1])
    assert "not allowed" in other["preflight"]
    assert other["field"] == "Vary: Origin"
    assert steps({"cors_preflight": "pass"}, *asked)["preflight"] == "yes (cors_preflight: pass)"
    assert steps({"cors_preflight": "pass"}, *asked)["decision"] == "forward"
    bare = steps({"cors_preflight": "pass"}, asked[0], "Accept: */*")
    assert bare["preflight"] == "no, more or less than one (cors_preflight: pass)"
    assert bare["decision"] == "refuse: 401 login_required"
