"""The upstream's cookies: read, sealed for one session, opened only there."""

import pytest

from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.set_cookie import expired, parse_set_cookie
from gateway.sessions.keyring import KeyRing, new_key

OLD, NEW = new_key(), new_key()
SEALS = Seals(KeyRing([OLD]), "portal", ["SESS", "auth"])


def test_a_sealed_cookie_opens_for_its_session_name_and_app_alone() -> None:
    """C-37, C-44."""
    sealed = SEALS.seal("sid-1", b"SESS", b"a.b=c")
    assert SEALS.open("sid-1", b"SESS", sealed) == b"a.b=c"
    assert SEALS.open("sid-2", b"SESS", sealed) is None
    assert SEALS.open("sid-1", b"auth", sealed) is None
    assert Seals(KeyRing([OLD]), "other", ["SESS"]).open("sid-1", b"SESS", sealed) is None
    assert Seals(KeyRing([NEW]), "portal", ["SESS"]).open("sid-1", b"SESS", sealed) is None


def test_a_seal_outlives_a_new_first_key() -> None:
    sealed = SEALS.seal("sid-1", b"SESS", b"x")
    assert Seals(KeyRing([NEW, OLD]), "portal", ["SESS"]).open("sid-1", b"SESS", sealed) == b"x"


@pytest.mark.parametrize("value", [b"", b"x", b"x.", b"." + b"A" * 22, b"x." + b"A" * 22, b"x" * 23, b"\xff" * 30])
def test_what_was_never_sealed_does_not_open(value: bytes) -> None:
    assert SEALS.open("sid-1", b"SESS", value) is None


def test_a_cookie_field_keeps_what_is_this_sessions_and_everybody_elses_business() -> None:
    sealed = SEALS.seal("s", b"SESS", b"1").decode()
    kept = SEALS.keep("s", [f"a=1; SESS={sealed};theme=dark".encode(), b"SESS=bare", b"auth=x; b=2"])
    assert kept.values == [b"a=1; SESS=1; theme=dark", b"b=2"]
    assert kept.session == [b"SESS=1"]


@pytest.mark.parametrize(
    ("value", "secure", "kept"),
    [
        (b"SESS=1; Path=/x; HttpOnly", False, b"SESS=1; Path=/x; HttpOnly"),
        (b"SESS=1; Domain=.example.com; path=/", True, b"SESS=1; path=/; Secure"),
        (b"SESS=1; SameSite=Strict; Path=/", False, b"SESS=1; SameSite=Lax; Path=/"),
        (b"SESS=1; samesite = STRICT", False, b"SESS=1; SameSite=Lax"),
        (b" SESS = 1 ;secure; DOMAIN=x;; SameSite=None", True, b"SESS=1; secure; SameSite=None"),
    ],
)
def test_a_cookie_is_kept_for_this_host_alone(value: bytes, secure: bool, kept: bytes) -> None:
    cookie = parse_set_cookie(value)
    assert cookie is not None
    assert cookie.for_host(cookie.value, secure=secure) == kept


@pytest.mark.parametrize("value", [b"", b"novalue", b"=nameless"])
def test_what_browsers_do_not_agree_on_is_no_cookie(value: bytes) -> None:
    assert parse_set_cookie(value) is None


@pytest.mark.parametrize(
    ("value", "deletes", "path"),
    [(b"a=; Path=/", True, b"/"), (b"a=1; Max-Age=0", True, b"/"), (b"a=1; max-age=-1; Path=x", True, b"/"), (b"a=1; Path=/a; Path=/b", False, b"/b")],
)  # fmt: skip
def test_a_deletion_and_a_path_are_seen(value: bytes, deletes: bool, path: bytes) -> None:
    cookie = parse_set_cookie(value)
    assert cookie is not None
    assert (cookie.deletes, cookie.path) == (deletes, path)


def test_a_cookie_is_taken_away_where_it_lives() -> None:
    assert expired("SESS", "/x", secure=True) == "SESS=; Path=/x; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
