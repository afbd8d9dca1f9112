"""The nexudus pack: each of its rows, in every spelling, on both surfaces; and what it must leave open."""

import string
from collections.abc import Iterator
from typing import Literal
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.config.schema import PasswordRule
from gateway.errors.requests import BadRequest
from gateway.operations.probe.requests import password_requests
from gateway.operations.probe.spellings import Spelling, spellings
from gateway.policy.passwords import Blocked, NeedsBody, PasswordRoutes, load_pack
from gateway.policy.paths import Target, parse_target
from tests.unit.policy.made import FORM, JSON, app, head, patient, target

PACK = load_pack("nexudus")
Surface = Literal["portal", "dashboard"]
SURFACES: tuple[Surface, ...] = ("portal", "dashboard")
DOORS = {
    surface: PasswordRoutes(app(surface=surface, password_routes=["nexudus"]), closed=True) for surface in SURFACES
}

# facts: a request of each kind that the research found, with the kind of door it is. (method, target, body, kind)
OBSERVED = [
    ("GET", "/login", None, "password"),
    ("GET", "/Login?ReturnUrl=%2fen%2fprofile", None, "password"),
    ("GET", "/en/login", None, "password"),
    ("GET", "/login?continue_to=%2F", None, "password"),
    ("GET", "/signin", None, "password"),
    ("POST", "/en/login", b"Email=a&Password=b", "password"),
    ("POST", "/Login", b"Email=a&Password=b", "password"),
    ("POST", "/api/token", b"grant_type=password&username=a&password=b&totp=1", "password"),
    ("POST", "/api/token", b"grant_type=authorization_code&username=a&password=b", "password"),
    ("GET", "/api/token?grant_type=password&username=a&password=b", None, "password"),
    ("POST", "/api/sys/users/token", b'{"email":"a","password":"b","validityInMinutes":30}', "password"),
    ("POST", "/api/sys/users/validate", b'{"Email":"a","Password":"b"}', "password"),
    ("POST", "/api/sys/users/startPasswordReset", b'{"email":"a","businessId":1}', "account"),
    ("POST", "/api/sys/users/completePasswordReset", b'{"Token":"a","Password":"b","BusinessId":1}', "account"),
    ("GET", "/forgot-password", None, "account"),
    ("GET", "/reset-password?token=x", None, "account"),
    ("GET", "/Login/ResetPassword?lang=en&email=a", None, "account"),
    ("POST", "/login/password", b"a=b", "account"),
    ("GET", "/api/sys/users/sendOtp?email=a&businessId=1", None, "passwordless"),
    ("POST", "/api/sys/users/exchange?token=x", None, "passwordless"),
    ("GET", "/en/user/login?t=x", None, "passwordless"),
    ("GET", "/user/login?server=true&t=x&redirectUrl=/", None, "passwordless"),
    ("GET", "/login/login?t=x&redirectUrl=/", None, "passwordless"),
    ("GET", "/api/public/coworkers/77/impersonate", None, "passwordless"),
    ("POST", "/api/sys/users/token/refresh", None, "passwordless"),
    ("GET", "/api/sys/users/7/token/refresh", None, "passwordless"),
    ("POST", "/api/public/signup", b'{"Coworker":{"Email":"a"}}', "account"),
    ("GET", "/signup", None, "account"),
    ("GET", "/signup/plans", None, "account"),
    ("GET", "/signup/payment/complete", None, "account"),
    ("GET", "/join", None, "account"),
    ("GET", "/checkout", None, "account"),
    ("POST", "/en/signup", b"Coworker.Password=a&Coworker.PasswordConfirm=a", "account"),
    ("GET", "/en/signup/0f9f8f7e-team", None, "account"),
    ("POST", "/en/profile", b"OldPassword=a&NewPassword=b&NewPasswordConfirm=b", "account"),
    ("POST", "/user/profile/security", b'{"NewPassword":"b"}', "account"),
    ("GET", "/en/user/exists?email=a", None, "enumeration"),
    ("PUT", "/api/sys/users", b'{"Id":1,"NewPassword":"b"}', "account"),
]
OPEN = [
    ("GET", "/", None),
    ("GET", "/en/login/logout", None),
    ("GET", "/login/logout?x=1", None),
    ("POST", "/Login/Logout", b""),
    ("GET", "/authorization-code/callback?code=x&state=y", None),
    ("GET", "/en/profile", None),
    ("POST", "/en/profile", b"FullName=Ana&NewPassword=&OldPassword=&NewPasswordConfirm="),
    ("POST", "/en/profile", b'{"FullName":"Ana","NewPassword":null}'),
    ("POST", "/api/token", b"grant_type=refresh_token&refresh_token=x"),
    ("GET", "/api/sys/users?User_Email=a", None),
    ("GET", "/api/sys/users/7", None),
    ("DELETE", "/api/sys/users/7", None),
    ("PUT", "/api/sys/users", b'{"Id":1,"FullName":"Sam"}'),
    ("GET", "/api/auth/me", None),
    ("GET", "/en/user/me", None),
    ("GET", "/user/profile/security", None),
    ("POST", "/api/spaces/coworkers", b'{"FullName":"Ana"}'),
    ("GET", "/api/public/coworkers/77", None),
    ("GET", "/assets/login.css", None),
    ("GET", "/login.js", None),
    ("GET", "/en/bookings", None),
    ("POST", "/en/bookings", b"x=1"),
]


def judge(
    surface: Surface, method: str, raw: bytes, body: bytes | None, *fields: tuple[bytes, bytes]
) -> Blocked | NeedsBody | None:
    """What the doors of a surface say about a request whose body was read. Raises BadRequest."""
    return judge_target(surface, method, parse_target(raw), body, *fields)


def judge_target(
    surface: Surface, method: str, where: Target, body: bytes | None, *fields: tuple[bytes, bytes]
) -> Blocked | NeedsBody | None:
    """The same for a target that is parsed already."""
    doors = DOORS[surface]
    kind = JSON if body is not None and body.startswith(b"{") else FORM
    request = head(method, where.wire(), *fields, body=body, content_type=kind)
    return doors.match(doors.candidates(method, where), request, where, body)


def requests_of(rule: PasswordRule) -> Iterator[tuple[str, str, str, bytes | None]]:
    """(method, path, query, body) of requests that the rule is about."""
    for ask in password_requests(rule):
        yield ask.method, ask.path, ask.query, ask.body or None


@pytest.mark.parametrize("rule", PACK, ids=lambda rule: f"{rule.match} {rule.when or ''}")
def test_no_spelling_of_any_row_gets_through_on_either_surface(rule: PasswordRule) -> None:
    """C-12, B-35: each is refused as ambiguous, or closed."""
    for method, path, query, body in requests_of(rule):
        passed: list[Spelling] = []
        for spelling in spellings(path, query, method=method, languages=("/en", "/pt-br")):
            try:
                where = parse_target(spelling.target)
            except BadRequest:
                continue
            found = [
                judge_target(surface, spelling.method or method, where, body, *spelling.fields) for surface in SURFACES
            ]
            if not all(isinstance(verdict, Blocked) for verdict in found):
                passed.append(spelling)
        assert not passed


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("method", "path", "body", "kind"), OBSERVED)
def test_every_request_that_the_research_found_is_closed(
    surface: Surface, method: str, path: str, body: bytes | None, kind: str
) -> None:
    """C-12."""
    found = judge(surface, method, path.encode(), body)
    assert isinstance(found, Blocked)
    assert found.kind == kind


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("method", "path", "body"), OPEN)
def test_everything_else_stays_open(surface: Surface, method: str, path: str, body: bytes | None) -> None:
    assert judge(surface, method, path.encode(), body) is None


@pytest.mark.parametrize(
    "path",
    ["/login", "/Login?ReturnUrl=%2f", "/en/login", "/signin", "/user/login", "/en/user/login?t=x", "/login/login?t=x"],
)
def test_a_sign_in_page_or_link_is_answered_with_the_way_to_sign_in(path: str) -> None:
    for method in ("GET", "HEAD"):
        found = judge("portal", method, path.encode(), None)
        assert isinstance(found, Blocked)
        assert found.answer == "sign_in"


def test_only_what_a_browser_opens_by_itself_is_sent_to_sign_in() -> None:
    assert all(rule.match.startswith("GET /") for rule in PACK if rule.answer == "sign_in")


def test_every_row_says_why_and_from_where() -> None:
    for rule in PACK:
        assert rule.reason, rule.match
        assert any(grade in rule.source for grade in ("DOC", "OLD", "OBS", "GUESS")), rule.match


def test_a_body_is_asked_for_and_what_cannot_be_had_counts_as_a_password() -> None:
    """C-12: a body over the limit, or one that a forward-auth request does not carry."""
    doors = DOORS["portal"]
    where = target("/api/token")
    found = doors.match(
        doors.candidates("POST", where), head("POST", "/api/token", body=b"grant_type=refresh_token"), where
    )
    assert isinstance(found, NeedsBody)
    assert (found.unread.kind, found.unread.answer) == ("password", "refuse")


@pytest.mark.parametrize(
    "content_type", [b"multipart/form-data; boundary=x", b"application/xml", b"text/plain", FORM + b"; charset=utf-7"]
)
@pytest.mark.parametrize("path", ["/api/token", "/en/profile", "/user/profile/x", "/api/sys/users"])
def test_a_watched_route_takes_no_body_that_could_be_read_otherwise(path: str, content_type: bytes) -> None:
    """C-12."""
    doors = DOORS["portal"]
    where = target(path)
    request = head("POST", path, body=b"grant_type=refresh_token", content_type=content_type)
    assert isinstance(doors.match(doors.candidates("POST", where), request, where), Blocked)


# --- any way to write a blocked route, not only the known ones ---

ROUTES = ["/login", "/api/token", "/api/sys/users/validate", "/en/user/login", "/signup"]
BODY = b"grant_type=password&username=a&password=b"
NOISE = st.sampled_from(
    ["/", "//", "/./", ";", ";x=1", "%3b", "%2f", "%2F", "/;x/", "/x/../", ".", "%2e", "%20", "/.", "", "", ""]
)


def lenient(raw: str) -> str:
    """The path as a lenient server reads it: decoded once, without case, parameters, dots and blanks at the end, resolved, collapsed."""
    kept: list[str] = []
    for segment in unquote(raw.partition("?")[0]).lower().split("/"):
        name = segment.partition(";")[0]
        if name == "..":
            del kept[-1:]
        elif name.rstrip(". "):
            kept.append(name.rstrip(". "))
    return "/" + "/".join(kept)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str]:
    """(route, one of the ways to write it)"""
    route = draw(st.sampled_from(ROUTES))
    text = ""
    for character in route:
        form = draw(st.integers(0, 9))
        if character in string.ascii_letters and form < 4:
            character = (
                character.upper(),
                f"%{ord(character):02x}",
                f"%{ord(character.upper()):02X}",
                f"%25{ord(character):02x}",
            )[form]
        elif character == "/" and form < 4:
            character = draw(NOISE) + "/" + draw(NOISE)
        text += character
    return route, "/" + (text + draw(NOISE)).lstrip("/")


@patient
@given(written())
def test_whatever_a_lenient_server_reads_as_a_blocked_route_is_closed_or_refused(pair: tuple[str, str]) -> None:
    """C-12: against a model of the server, not a list of spellings."""
    route, raw = pair
    assume(lenient(raw) == route)
    try:
        found = judge("portal", "POST", raw.encode(), BODY)
    except BadRequest:
        return
    assert isinstance(found, Blocked)
