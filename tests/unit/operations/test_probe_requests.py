"""The requests of a probe: every rule of every pack has its requests, written out whole."""

import pytest

from gateway.config.reading.packs import pack_names
from gateway.config.schema import PasswordRule
from gateway.config.values import METHODS
from gateway.operations.probe.requests import PasswordRequest, password_requests, probe_requests
from gateway.operations.probe.runner import ALWAYS, plan
from gateway.policy.passwords import load_pack

GROUPS = {
    "as it is",
    "path",
    "reading",
    "method override",
    "host",
    "absolute-form",
    "HTTP/1.0",
    "header",
    "OPTIONS",
    "any method",
}


def rule(**keys: object) -> PasswordRule:
    return PasswordRule.model_validate(keys)


def test_a_rule_with_a_body_is_tried_in_every_group() -> None:
    found = list(probe_requests("x", rule(match="* /api/token", when={"form": {"grant_type": "password"}})))
    assert {request.group for request in found} == GROUPS | {"method", "body"}
    assert {b"Content-Encoding", b"Transfer-Encoding", b"Content-Type"} <= {
        name for request in found for name, _ in request.fields
    }


@pytest.mark.parametrize("name", pack_names())
def test_no_two_knocks_of_a_rule_are_the_same_and_the_number_of_methods_is_bounded(name: str) -> None:
    for each in load_pack(name):
        found = list(probe_requests("x", each))
        written = {request.to_bytes("a.example", "r") for request in found}
        assert len(found) - len(written) <= len(found) // 50
        assert {request.group for request in found} >= GROUPS
        of_methods = [request for request in found if request.group in ("method", "OPTIONS", "any method")]
        assert len(of_methods) <= 48 * len(list(password_requests(each)))


def test_an_example_of_a_glob_is_a_path_that_it_names() -> None:
    assert [ask.path for ask in password_requests(rule(match="GET /**/wp-login.php/**"))] == [
        "/wp-login.php", "/wp-login.php/more", "/folder/wp-login.php", "/folder/wp-login.php/more",
    ]  # fmt: skip
    assert [ask.path for ask in password_requests(rule(match="* /api/*/x"))] == ["/api/77/x"]
    assert [ask.path for ask in password_requests(rule(match="* /**"))] == ["/", "/anything"]


def test_an_ask_holds_everything_that_the_rule_says() -> None:
    (ask,) = password_requests(
        rule(match="POST /x", when={"json": {"a": "*"}, "query": {"t": "1"}, "header": {"X-A": "b"}})
    )
    assert ask == PasswordRequest(
        method="POST", path="/x", query="t=1", body=b'{"a": "x"}', kind=b"application/json", fields=((b"X-A", b"b"),)
    )


def test_a_knock_names_the_door_where_its_trick_does() -> None:
    first, *rest = probe_requests("x", rule(match="GET /login"))
    assert first.to_bytes("a.example:81", "r1") == (
        b"GET /login HTTP/1.1\r\nHost: a.example:81\r\nAccept: application/json\r\nX-Request-Id: r1\r\n\r\n"
    )
    hosts = {request.how: request.to_bytes("a.example:81", "r").split(b"\r\n") for request in rest}
    assert hosts["upper case"][1] == b"Host: A.EXAMPLE:81"
    assert hosts["a dot behind"][1] == b"Host: a.example.:81"
    assert hosts["http"][0] == b"GET http://a.example:81/login HTTP/1.1"
    assert hosts["without Host"][:2] == [b"GET /login HTTP/1.0", b"Accept: application/json"]


def test_a_quick_look_keeps_every_request_as_it_is() -> None:
    rules = [(f"r{n}", each) for n, each in enumerate(load_pack("nexudus"))]
    whole, quick = plan(rules), plan(rules, every=50)
    plain = [request for request in whole if request.group in ALWAYS]
    assert [request for request in quick if request.group in ALWAYS] == plain
    assert len(quick) < len(whole) / 20


@pytest.mark.parametrize("match", ["* /login", "* /api/token", "GET /login", "POST /login"])
def test_options_is_fired_at_every_rule_and_every_method_where_it_names_none(match: str) -> None:
    """C-77: with bodies. Nothing among them is a preflight alone, which may pass."""
    when = {"form": {"grant_type": "password"}} if "token" in match else None
    found = list(probe_requests("x", rule(match=match, when=when)))
    options = [request for request in found if request.method == "OPTIONS"]
    assert [request.how for request in options if request.group == "OPTIONS"] == [
        "bare",
        "with a body",
        "a preflight with a body",
    ]
    for request in options:
        names = {name for name, _ in request.fields}
        more = request.body or b"_method" in request.target or b"X-HTTP-Method-Override" in names
        assert more or not names >= {b"Origin", b"Access-Control-Request-Method"}, request.how
    bodied = {
        request.method for request in found if request.body and request.group in ("any method", "as it is", "OPTIONS")
    }
    assert bodied >= (METHODS | {"FROBNICATE"} if match.startswith("*") else {"OPTIONS"}) - {"POST"}
