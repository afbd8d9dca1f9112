"""The doors: which requests are judged, and how, for rules of one's own. The nexudus pack has its tests in test_nexudus_pack."""

from typing import Any

import pytest

from gateway.policy.passwords import Blocked, NeedsBody, PasswordRoutes, load_pack
from tests.unit.policy.made import FORM, JSON, app, head, target

Rule = dict[str, Any]
TOKEN: Rule = {
    "match": "* /api/token",
    "when": {"form": {"grant_type": "password"}},
    "known": {"form": {"grant_type": ["refresh_token", "client_credentials"]}},
}
PROFILE_FORM: Rule = {"match": "* /profile", "when": {"form": {"NewPassword": "*"}}, "kind": "account"}
PROFILE_JSON: Rule = {"match": "PUT /api/users/**", "when": {"json": {"NewPassword": "*"}}, "kind": "account"}
PAGE: Rule = {"match": "GET /login", "answer": "sign_in", "reason": "This is the sign-in page"}
SENT: Rule = {"match": "POST /login"}
LINK: Rule = {"match": "GET /user/login", "when": {"query": {"t": "*"}}, "kind": "passwordless", "answer": "sign_in"}


def verdict(
    rules: list[Rule],
    method: str,
    path: str,
    *fields: tuple[bytes, bytes],
    body: bytes | None = None,
    content_type: bytes | None = FORM,
    read: bool = True,
) -> Blocked | NeedsBody | None:
    """What the doors say about one request; `read`: the body was read already."""
    doors = PasswordRoutes(app(password_routes=rules), closed=True)
    where = target(path)
    request = head(method, path, *fields, body=body, content_type=content_type)
    return doors.match(doors.candidates(method, where), request, where, body if read else None)


def test_open_doors_refuse_nothing() -> None:
    doors = PasswordRoutes(app(password_routes=["nexudus"]), closed=False)
    assert doors.candidates("POST", target("/login")) == ()
    assert doors.basic(head("GET", "/", (b"Authorization", b"Basic eDp5"))) is None


def test_a_rule_without_conditions_closes_its_route_for_its_methods() -> None:
    found = verdict([PAGE, SENT], "POST", "/login")
    assert found == Blocked(
        rule="password_routes[1]: POST /login",
        kind="password",
        answer="refuse",
        reason="a request of the kind password",
    )
    assert verdict([PAGE, SENT], "DELETE", "/login") is None
    assert verdict([PAGE, SENT], "POST", "/other") is None


def test_only_a_plain_get_of_a_page_is_sent_to_sign_in() -> None:
    for method in ("GET", "HEAD"):
        found = verdict([PAGE, SENT], method, "/login?ReturnUrl=%2f")
        assert isinstance(found, Blocked)
        assert (found.answer, found.reason) == ("sign_in", "This is the sign-in page")
    found = verdict([PAGE, SENT], "POST", "/login", (b"X-HTTP-Method", b"GET"))
    assert isinstance(found, Blocked)
    assert found.answer == "refuse"


@pytest.mark.parametrize(
    "path",
    [
        "/en/login",
        "/EN/login",
        "/pt-br/login",
        "/pt_BR/Login/",
        "/zh-hans/login",
        "/es-419/login",
        "/en;x/login",
        "/%65n/login",
    ],
)
def test_a_route_is_closed_below_every_language(path: str) -> None:
    """C-12."""
    assert isinstance(verdict([PAGE], "GET", path), Blocked)


@pytest.mark.parametrize(
    "path",
    [
        "/english/login",
        "/e/login",
        "/en/x/login",
        "/loginx",
        "/login/x",
        "/xlogin",
        "/assets/login",
        "/login.js",
        "/en/login.css",
    ],
)
def test_other_paths_stay_open(path: str) -> None:
    assert verdict([PAGE], "GET", path) is None


def test_a_static_file_beside_a_page_stays_open_and_an_action_has_no_extension_to_hide_behind() -> None:
    """C-12."""
    assert verdict([PAGE, SENT], "GET", "/login.js") is None
    assert isinstance(verdict([PAGE, SENT], "GET", "/login.aspx"), Blocked)
    assert isinstance(verdict([PAGE, SENT], "POST", "/login.js"), Blocked)


def test_a_preflight_is_no_password_request_unless_a_rule_says_so() -> None:
    """C-77."""
    preflight = ((b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", b"POST"))
    assert verdict([{"match": "* /login"}], "OPTIONS", "/login", *preflight) is None
    assert isinstance(verdict([{"match": "OPTIONS /login"}], "OPTIONS", "/login", *preflight), Blocked)
    for rule in ("* /login", "GET /login", "POST /login"):
        assert isinstance(verdict([{"match": rule}], "OPTIONS", "/login"), Blocked)
        assert isinstance(verdict([{"match": rule}], "OPTIONS", "/login", *preflight[:1]), Blocked)
        assert isinstance(verdict([{"match": rule}], "OPTIONS", "/login", *preflight, body=b"x"), Blocked)
        assert isinstance(verdict([{"match": rule}], "OPTIONS", "/login", *preflight, body=b"x", read=False), Blocked)
        assert isinstance(verdict([{"match": rule}], "OPTIONS", "/login?email=a&password=b", *preflight), Blocked)


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PROPFIND", "FROBNICATE", "get", "M-SEARCH"])
def test_a_rule_without_methods_names_every_method(method: str) -> None:
    """C-77: registered or not."""
    rules: list[str | Rule] = [{"match": "* /login"}, {"match": "POST /login"}]
    everything, posted = PasswordRoutes(app(password_routes=rules), closed=True).rules
    assert everything.is_named(frozenset((method,)))
    assert not posted.is_named(frozenset((method,)))


def test_a_preflight_is_none_where_nobody_can_see_the_body() -> None:
    """C-77: forward-auth."""
    doors = PasswordRoutes(app(password_routes=[TOKEN]), closed=True)
    where = target("/api/token")
    asked = head(
        "OPTIONS", "/api/token", (b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", b"POST")
    )
    assert doors.match(doors.candidates("OPTIONS", where), asked, where) is None
    assert isinstance(doors.match(doors.candidates("OPTIONS", where), asked, where, body_hidden=True), Blocked)


# --- methods that are not what they seem ---


@pytest.mark.parametrize(
    "name", [b"X-HTTP-Method-Override", b"x-http-method", b"X-Method-Override", b"X_HTTP_METHOD_OVERRIDE"]
)
def test_a_request_that_asks_to_be_taken_for_a_watched_one_is_watched(name: bytes) -> None:
    """B-35, C-12."""
    for method in ("GET", "PUT", "OPTIONS"):
        assert isinstance(verdict([SENT], method, "/login", (name, b"post")), Blocked)
    assert verdict([SENT], "GET", "/login", (name, b"PUT")) is None


@pytest.mark.parametrize(
    "query", ["_method=POST", "_method=post", "x&_method=POST", "x;%5fMETHOD=POST", "X-HTTP-Method-Override=POST"]
)
def test_a_query_that_asks_for_a_watched_method_is_watched(query: str) -> None:
    """B-35, C-12."""
    assert isinstance(verdict([SENT], "GET", "/login?" + query), Blocked)


def test_a_form_that_asks_for_a_watched_method_is_watched() -> None:
    """B-35, C-12."""
    rules = [{"match": "PUT /login"}, PROFILE_JSON]
    assert isinstance(verdict(rules, "POST", "/login", body=b"x=1&_method=PUT"), Blocked)
    assert isinstance(verdict(rules, "POST", "/login", body=b"_method=PUT", read=False), NeedsBody)
    assert verdict(rules, "POST", "/login", body=b"_method=PATCH") is None
    assert isinstance(
        verdict(rules, "POST", "/login", body=b"x", content_type=b"multipart/form-data; boundary=x"), Blocked
    )
    assert isinstance(verdict(rules, "POST", "/api/users/1", body=b"_method=PUT&NewPassword=x"), Blocked)
    assert verdict(rules, "POST", "/api/users/1", body=b"_method=PUT&Name=x") is None


def test_json_that_asks_for_a_watched_method_is_watched_in_json_too() -> None:
    """C-67: Laravel takes `_method` from JSON."""
    rules = [{"match": "PUT /login"}, PROFILE_JSON]
    for body in (b'{"_method":"PUT"}', b'{"\\u005fmethod":"put"}'):
        assert isinstance(verdict(rules, "POST", "/login", body=body, content_type=JSON, read=False), NeedsBody)
        assert isinstance(verdict(rules, "POST", "/login", body=body, content_type=JSON), Blocked)
    for body in (b'{"_method":"PATCH"}', b'{"payment":{"method":"PUT"}}', b"[1]"):
        assert verdict(rules, "POST", "/login", body=body, content_type=JSON) is None


# --- what the body says ---


def test_a_body_is_read_only_where_a_rule_asks_for_it() -> None:
    needed = verdict([TOKEN], "POST", "/api/token", body=b"grant_type=refresh_token", read=False)
    assert isinstance(needed, NeedsBody)
    assert needed.unread.answer == "refuse"
    assert isinstance(verdict([SENT], "POST", "/login", body=b"x", read=False), Blocked)
    assert verdict([TOKEN, SENT], "POST", "/api/other", body=b"x", read=False) is None


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=refresh_token&refresh_token=x",
        b"client_id=a&grant_type=client_credentials",
        b"grant%5Ftype=refresh%5Ftoken",
    ],
)
def test_a_grant_that_is_known_to_be_harmless_passes(body: bytes) -> None:
    assert verdict([TOKEN], "POST", "/api/token", body=body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=password&username=a&password=b",
        b"username=a&GRANT_TYPE=password",
        b"grant_type=PassWord",
        b"grant_type=+password%20",
        b"grant_type=%70assword",
        b"grant%5Ftype=password",
        b"grant_type=password%00",
        b"grant_type%5B%5D=password",
        b"grant.type=password",
        "ｇrant_type=ｐassword".encode(),
        b"grant_type=refresh_token&grant_type=password",
        b"grant_type=password&grant_type=refresh_token",
        b"grant_type=refresh_token&grant_type=refresh_token",
        b"grant_type=refresh_token;grant_type=password",
        b"grant_type=custom",
        b"grant_type=Refresh_Token",
        b"grant_type=refresh_token%20",
        b"grant_type=",
        b"grant_type",
        b"username=a&password=b",
        b"grant_type=refresh_token&x=%zz",
        b"grant_type=refresh_token&x=\xff",
        b'{"grant_type":"password"}',
        b"",
    ],
)
def test_any_other_token_request_is_refused(body: bytes) -> None:
    """C-12."""
    found = verdict([TOKEN], "POST", "/api/token", body=body)
    assert isinstance(found, Blocked)
    assert found.answer == "refuse"


@pytest.mark.parametrize(
    ("fields", "content_type"),
    [
        ([(b"Content-Encoding", b"gzip")], FORM),
        ([(b"content-encoding", b"identity")], FORM),
        ([], FORM + b"; charset=utf-16"),
        ([], FORM + b"; charset=iso-8859-1"),
        ([], JSON),
        ([], b"text/plain"),
        ([], b"multipart/form-data; boundary=x"),
        ([], None),
        ([(b"Content-Type", JSON)], FORM),
    ],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused_before_it_is_read(
    fields: list[tuple[bytes, bytes]], content_type: bytes | None
) -> None:
    """C-12."""
    found = verdict(
        [TOKEN], "POST", "/api/token", *fields, body=b"grant_type=refresh_token", content_type=content_type, read=False
    )
    assert isinstance(found, Blocked)


@pytest.mark.parametrize(
    "query",
    [
        "grant_type=password",
        "Grant_Type=password",
        "a=1;grant_type=password",
        "grant%5ftype=%70assword",
        "grant%255ftype=password",
    ],
)
def test_a_query_that_says_what_the_form_would_is_judged_like_it(query: str) -> None:
    """C-12."""
    for method in ("GET", "POST"):
        assert isinstance(verdict([TOKEN], method, "/api/token?" + query, body=b"grant_type=refresh_token"), Blocked)
        assert isinstance(verdict([TOKEN], method, "/api/token?" + query), Blocked)


def test_a_query_is_judged_where_no_body_comes_with_it() -> None:
    """C-12."""
    assert isinstance(verdict([PROFILE_FORM], "GET", "/profile?NewPassword=x"), Blocked)
    assert verdict([PROFILE_FORM], "GET", "/profile?NewPassword=&tab=x") is None


def test_a_repeated_field_is_refused_when_a_rule_names_it_and_no_other_field_is() -> None:
    """C-12."""
    rule: Rule = {"match": "POST /x", "when": {"form": {"mode": "password"}}}
    assert isinstance(verdict([rule], "POST", "/x", body=b"mode=code&Mode=link"), Blocked)
    assert isinstance(verdict([rule], "POST", "/x?mode=code", body=b"mode=code"), Blocked)
    assert verdict([rule], "POST", "/x", body=b"mode=code&tag=1&tag=2") is None


def test_a_grant_in_both_query_and_form_is_refused() -> None:
    """C-12."""
    assert isinstance(
        verdict([TOKEN], "POST", "/api/token?grant_type=refresh_token", body=b"grant_type=refresh_token"), Blocked
    )


def test_a_request_without_the_body_that_decides_is_refused_unless_it_only_reads() -> None:
    """C-12."""
    assert isinstance(verdict([TOKEN], "POST", "/api/token"), Blocked)
    assert isinstance(verdict([TOKEN], "GET", "/api/token"), Blocked)
    assert isinstance(verdict([PROFILE_FORM], "POST", "/profile"), Blocked)
    assert verdict([PROFILE_FORM], "GET", "/profile") is None
    assert verdict([PROFILE_FORM], "GET", "/profile", body=b"") is None
    assert isinstance(
        verdict([PROFILE_FORM], "GET", "/profile", (b"Transfer-Encoding", b"chunked"), read=False), Blocked
    )
    assert isinstance(verdict([PROFILE_FORM], "GET", "/profile", body=b"NewPassword=x"), Blocked)


@pytest.mark.parametrize(
    "name",
    [
        "NewPassword",
        "newpassword",
        "NEWPASSWORD",
        "User.NewPassword",
        "user%5BNewPassword%5D",
        "User_NewPassword",
        "New%50assword",
    ],
)
def test_a_form_with_a_new_password_is_refused_and_one_with_an_empty_field_passes(name: str) -> None:
    """C-12."""
    assert isinstance(verdict([PROFILE_FORM], "POST", "/profile", body=f"Name=Ana&{name}=x".encode()), Blocked)
    assert (
        verdict([PROFILE_FORM], "POST", "/profile", body=f"Name=Ana&Bio=a%0D%0Ab&Tag=1&Tag=2&{name}=".encode()) is None
    )


@pytest.mark.parametrize(
    "body",
    [
        *(
            b'{"NewPassword":"x"}',
            b'{"newPassword":"x"}',
            b'{"Id":1,"User":{"NewPassword":"x"}}',
            b'{"Users":[{"Id":1},{"NewPassword":"x"}]}',
        ),
        *(
            b'{"New\\u0050assword":"x"}',
            b'{"NewPassword":1}',
            b'{"NewPassword":false}',
            b'{"NewPassword":["x"]}',
            b'{"NewPassword":{"a":"x"}}',
        ),
        *(
            b'{"NewPassword":"","NewPassword":"x"}',
            b'{"NewPassword":"","newpassword":""}',
            b'[{"NewPassword":""}]',
            b'\xef\xbb\xbf{"Id":1}',
        ),
        *(
            b'{"Id":NaN}',
            b'{"Id":1',
            b"NewPassword=x",
            b"",
            '{"NewPassword":"x"}'.encode("utf-16"),
            b'{"a":' * 100 + b"1" + b"}" * 100,
        ),
    ],
)
def test_json_with_a_new_password_or_that_cannot_be_believed_is_refused(body: bytes) -> None:
    """C-12."""
    assert isinstance(verdict([PROFILE_JSON], "PUT", "/api/users", body=body, content_type=JSON), Blocked)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Id":1,"FullName":"Ana"}',
        b'{"NewPassword":null}',
        b'{"NewPassword":"","Roles":[1,2]}',
        b'{"NewPassword":"  "}',
        b"{}",
    ],
)
def test_json_without_a_new_password_passes(body: bytes) -> None:
    assert verdict([PROFILE_JSON], "PUT", "/api/users/7", body=body, content_type=JSON) is None
    assert verdict([PROFILE_JSON], "GET", "/api/users/7") is None
    assert verdict([PROFILE_JSON], "DELETE", "/api/users/7") is None


def test_a_form_where_json_is_expected_is_refused_and_both_pass_where_both_are() -> None:
    """C-12."""
    assert isinstance(verdict([PROFILE_JSON], "PUT", "/api/users", body=b"Name=x"), Blocked)
    both = [PROFILE_JSON, {**PROFILE_JSON, "when": {"form": {"NewPassword": "*"}}}]
    assert verdict(both, "PUT", "/api/users", body=b"Name=x") is None
    assert isinstance(verdict(both, "PUT", "/api/users", body=b"NewPassword=x"), Blocked)
    assert isinstance(verdict(both, "PUT", "/api/users?NewPassword=x", body=b"{}", content_type=JSON), Blocked)


# --- header and query ---


@pytest.mark.parametrize(
    "query", ["t=abc", "T=abc", "a=1&t=abc", "a=1;t=abc", "%74=abc", "%2574=abc", "t%5B%5D=abc", "t=&t=abc", "+t=abc"]
)
def test_a_sign_in_link_is_closed_in_every_reading_of_its_query(query: str) -> None:
    """C-12."""
    found = verdict([LINK], "GET", "/en/user/login?" + query)
    assert isinstance(found, Blocked)
    assert (found.kind, found.answer) == ("passwordless", "sign_in")


@pytest.mark.parametrize("query", ["", "?", "?t=", "?tt=abc", "?x=t"])
def test_the_same_page_without_the_token_is_another_request(query: str) -> None:
    assert verdict([LINK], "GET", "/user/login" + query) is None


def test_a_header_condition_narrows_a_rule() -> None:
    rule = {"match": "POST /api/token", "when": {"header": {"client_id": "portal"}}}
    assert isinstance(verdict([rule], "POST", "/api/token", (b"Client_Id", b" Portal ")), Blocked)
    assert isinstance(
        verdict([rule], "POST", "/api/token", (b"client-id", b"portal"), (b"client_id", b"kiosk")), Blocked
    )
    assert verdict([rule], "POST", "/api/token", (b"client_id", b"kiosk")) is None


def test_all_that_a_rule_names_must_hold() -> None:
    rule = {"match": "POST /x", "when": {"form": {"a": "1", "b": "*"}, "query": {"q": "*"}}}
    assert isinstance(verdict([rule], "POST", "/x?q=1", body=b"a=1&b=2"), Blocked)
    assert verdict([rule], "POST", "/x?q=1", body=b"a=1") is None
    assert verdict([rule], "POST", "/x", body=b"a=1&b=2") is None


# --- HTTP Basic ---


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"Basic eDp5",
            b"basic eDp5",
            b"BASIC eDp5",
            b"bAsIc\teDp5",
            b"Basic  eDp5",
            b"Basic",
            b" Basic eDp5",
            b"Bearer x, Basic eDp5",
            b'"Basic" eDp5',
        ),
        *(b"Bearer x,basic eDp5", b"Basic,x", b"Basic=x"),
    ],
)
def test_basic_credentials_are_a_password_on_every_path(value: bytes) -> None:
    """C-12."""
    doors = PasswordRoutes(app(), closed=True)
    found = doors.basic(head("GET", "/anything", (b"authorization", value)))
    assert isinstance(found, Blocked)
    assert (found.rule, found.kind, found.answer) == ("basic", "password", "refuse")
    assert doors.basic(head("GET", "/", (b"Authorization", b"Bearer x"), (b"AUTHORIZATION", value))) is not None


@pytest.mark.parametrize("value", [b"Bearer basic", b"", b"Bearer Basic.abc", b"Token basic"])
def test_other_credentials_are_not_basic(value: bytes) -> None:
    doors = PasswordRoutes(app(), closed=True)
    assert doors.basic(head("GET", "/", (b"Authorization", value))) is None
    assert doors.basic(head("GET", "/", (b"Authorization", value), (b"Proxy-Authorization", b"Basic eDp5"))) is None


def test_an_unknown_pack_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="nexudus"):
        load_pack("nexodus")
    with pytest.raises(ValueError, match="nexudus"):
        load_pack("../packs/nexudus")
