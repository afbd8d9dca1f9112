"""A cookie by name, in whatever spelling an application may read."""

import pytest

from gateway.rewriting.cookie_names import CookieNames

NAMES = CookieNames(["ASP.NET_SessionId", "sid"])


@pytest.mark.parametrize(
    "pair",
    [b"sid=1", b"SID=1", b"%73id=1", b"a=1,sid=2", b'"sid"=1', b"=sid=1", b"$sid=1", b"ASP_NET_SessionId=1", b"asp.net%5Fsessionid=x", b"sid =1"],
)  # fmt: skip
def test_what_some_application_reads_as_that_cookie_is_that_cookie(pair: bytes) -> None:
    """C-37."""
    assert NAMES.resembles(pair)
    assert NAMES.without([b"a=1; " + pair + b"; b=2"]) == [b"a=1; b=2"]


@pytest.mark.parametrize("pair", [b"side=1", b"a=sid", b"inside=1", b"theme=sid=1", b"x=%20sid"])
def test_other_cookies_stay_as_they_are(pair: bytes) -> None:
    assert not NAMES.resembles(pair)
    assert NAMES.without([pair]) == [pair]


def test_no_names_are_no_cookies() -> None:
    assert not CookieNames([]).resembles(b"sid=1")
    assert not CookieNames([])
