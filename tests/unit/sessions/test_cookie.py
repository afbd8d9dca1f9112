"""Whose cookies are whose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.cookie import SessionCookie

TOKEN = b"A" * 42 + b"_"
OTHER = b"B" * 42 + b"-"
PLAIN, SECURE = SessionCookie(False), SessionCookie(True)


@pytest.mark.parametrize("cookie", [PLAIN, SECURE])
def test_the_attributes_are_as_strict_as_a_login_by_redirect_allows(cookie: SessionCookie) -> None:
    """C-45: a deletion repeats the attributes."""
    given_out, cleared = cookie.set_header("x"), cookie.clear_header()
    for header in (given_out, cleared):
        attributes = header.split("; ")[1:]
        assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(attributes)
        assert ("Secure" in attributes) is cookie.secure
        assert not [attribute for attribute in attributes if attribute.lower().startswith(("domain", "expires"))]
    assert given_out.startswith(f"{cookie.name}=x;")
    assert "Max-Age=0" in cleared
    assert "Max-Age" not in given_out
    assert cookie.name.startswith("__Host-") is cookie.secure


@pytest.mark.parametrize(
    ("value", "others"),
    [
        (b"doorward_session=%b", []), (b"a=1; doorward_session=%b", [b"a=1"]), (b"doorward_session=%b; b=2", [b"b=2"]),
        (b"a=1; doorward_session=%b; b=2", [b"a=1; b=2"]), (b"a=1;doorward_session=%b;b=2", [b"a=1;b=2"]), (b"a=1; doorward_session=%b;", [b"a=1;"]),
        (b'a="x; y"; doorward_session=%b; b="\xe9"', [b'a="x; y"; b="\xe9"']), (b"$Version=1; doorward_session=%b; $Path=/", [b"$Version=1; $Path=/"]),
        (b"a=1; a=2; doorward_session=%b; a=1", [b"a=1; a=2; a=1"]), (b"x=doorward; doorward_session=%b", [b"x=doorward"]), (b"=; ;;doorward_session=%b;==", [b"=; ;;=="]),
    ],
)  # fmt: skip
def test_our_token_is_found_and_the_others_stay_byte_for_byte(value: bytes, others: list[bytes]) -> None:
    """C-35."""
    split = PLAIN.split([value % TOKEN])
    assert split.token == TOKEN.decode()
    assert [other.strip(b"; ") for other in split.others] == [other.strip(b"; ") for other in others]
    assert not split.spoiled


@pytest.mark.parametrize(
    "values",
    [
        [b"doorward_session=%b; doorward_session=%b" % (TOKEN, OTHER)], [b"doorward_session=%b" % TOKEN, b"doorward_session=%b" % OTHER],
        [b"doorward_session=%b; doorward_session=%b" % (TOKEN, TOKEN)], [b"=doorward_session=%b" % TOKEN], [b"Doorward_Session=%b" % TOKEN],
        [b"doorward_session =%b" % TOKEN], [b"doorward_session=%b" % TOKEN, b"__Host-doorward_session=%b" % TOKEN], [b"doorward_session=%bA" % TOKEN],
        [b"doorward_session=%b" % TOKEN[1:]], [b"doorward_session="], [b"doorward_session"], [b'doorward_session="%b"' % TOKEN], [b"doorward_session=a b"],
        [b"__host-doorward_session=%b" % TOKEN], [b"doorward_session=; doorward_session=%b" % TOKEN], [b"doorward_session=%b; =doorward_session=x" % TOKEN],
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_no_session_and_never_travels(values: list[bytes]) -> None:
    """C-37, C-07, C-50."""
    split = PLAIN.split(values)
    assert split.token is None
    assert split.spoiled
    assert split.others == []


TOSSED = (
    b"doorward_session",
    b"__Secure-doorward_session",
    b"__HOST-doorward_session",
    b"=__Host-doorward_session",
    b"Doorward_Session",
)


@pytest.mark.parametrize("tossed", TOSSED)
def test_over_https_only_the_prefixed_name_counts(tossed: bytes) -> None:
    """C-37: a plain-http page of the same host, and each subdomain of the site, can set the others: they neither sign in nor lock out."""
    planted, ours = tossed + b"=" + OTHER, b"__Host-doorward_session=" + TOKEN
    assert SECURE.split([planted]) == (None, [], False)
    for values in ([planted + b"; " + ours], [ours + b"; " + planted], [planted, ours], [ours + b"; " + planted * 3]):
        split = SECURE.split(values)
        assert (split.token, split.spoiled) == (TOKEN.decode(), False)
        assert b"doorward" not in b"".join(split.others).lower()
    assert SECURE.split([ours + b"; __Host-doorward_session=" + OTHER]) == (None, [], True)


def test_login_attempts_never_travel_and_spoil_nothing() -> None:
    """C-35."""
    split = PLAIN.split(
        [b"doorward_login_1_ab=secret; doorward_session=%b; a=1" % TOKEN, b"__Host-doorward_login_2_cd=secret"]
    )
    assert split == (TOKEN.decode(), [b"a=1"], False)


@pytest.mark.parametrize(
    "values", [[], [b""], [b"; ;;=;=="], [b"a" * 65_536], [b"a=1"] * 300, [b"session_chunks=99999999; session_0=x"]]
)
def test_a_field_without_ours_is_passed_on_as_it_is(values: list[bytes]) -> None:
    """C-47."""
    split = PLAIN.split(values)
    assert split.token is None
    assert not split.spoiled
    assert b";".join(split.others).replace(b";", b"").replace(b" ", b"") == b"".join(values).replace(b";", b"").replace(
        b" ", b""
    )


# --- properties -------------------------------------------------------------------------------------------------------

foreign = st.binary(max_size=12).filter(
    lambda crumb: b";" not in crumb and b"doorward_" not in crumb.lower() and crumb.strip(b" \t")
)
ours = st.sampled_from(
    (
        b"doorward_session=%b" % TOKEN,
        b"doorward_session=%b" % OTHER,
        b"doorward_session=x",
        b"Doorward_session=x",
        b"=doorward_session=x",
    )
)
attempt = st.sampled_from((b"doorward_login_1_x=y", b"__Host-doorward_login_2=z"))
blanks = st.sampled_from((b"", b" ", b"  ", b"\t"))
Crumbs = list[list[tuple[bytes, bytes]]]


@given(st.lists(st.lists(st.tuples(blanks, foreign | foreign | ours | attempt), max_size=6), max_size=3))
def test_the_others_are_byte_identical_and_in_order_and_a_token_is_the_only_one(fields: Crumbs) -> None:
    """D-02, C-35, C-37."""
    split = PLAIN.split([b";".join(blank + crumb for blank, crumb in crumbs) for crumbs in fields])
    every = [crumb for crumbs in fields for _, crumb in crumbs]
    kept = [crumb.strip(b" \t") for other in split.others for crumb in other.split(b";") if crumb.strip(b" \t")]
    assert kept == [crumb.strip(b" \t") for crumb in every if b"doorward_" not in crumb.lower()]
    candidates = [crumb for crumb in every if b"doorward_session" in crumb.lower()]
    sound = len(candidates) == 1 and candidates[0].removeprefix(b"doorward_session=") in (TOKEN, OTHER)
    assert split.token == (candidates[0][-43:].decode() if sound else None)
    assert split.spoiled == (bool(candidates) and not sound)


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_no_bytes_whatever_raise_or_let_a_cookie_of_ours_through(values: list[bytes]) -> None:
    """C-47, C-35."""
    for cookie in (PLAIN, SECURE):
        split = cookie.split(values)
        for other in split.others:
            assert cookie.split([other]).token is None
            assert not cookie.split([other]).spoiled
