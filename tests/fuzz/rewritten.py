"""Fuzz targets for what is changed in responses, and for the upstream's cookies: pages, policies, codings, Set-Cookie and Cookie fields."""

import re

from gateway.errors.dependencies import UpstreamFault
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.set_cookie import parse_set_cookie
from gateway.rewriting.coding import Decoder
from gateway.rewriting.prolog import LONGEST, StyleInserter
from gateway.rewriting.style import HidingStyle
from gateway.sessions.keyring import KeyRing

STYLE = HidingStyle(["form#login"])
SEALS = Seals(KeyRing([bytes(32)]), "portal", ["SESS"])


def pages(data: bytes) -> None:
    """Nothing but the style is added, once or not at all; how the page is cut makes no difference; little is held back."""
    cut, page = (data[0], data[1:]) if data else (0, b"")
    whole, pieces = StyleInserter(STYLE.element), StyleInserter(STYLE.element)
    expected = whole.feed(page) + whole.end()
    found = held = 0
    out = b""
    step = cut % 7 + 1
    for start in range(0, len(page), step):
        piece = page[start : start + step]
        out += (got := pieces.feed(piece))
        held = 0 if got else held + len(piece)
        assert held <= LONGEST + step
    out += pieces.end()
    assert out == expected
    found = expected.count(STYLE.element) - page.count(STYLE.element)
    assert found in (0, 1)
    assert found == 0 or expected.replace(STYLE.element, b"", 1) == page or STYLE.element in page


def policies(data: bytes) -> None:
    """A policy keeps its directives, and gets nothing but the one source."""
    value = data.translate(None, b"\r\n\0")
    allowed = STYLE.allow(value)
    assert allowed.count(b",") == value.count(b",")
    assert b"\n" not in allowed
    assert re.sub(re.escape(STYLE.source), b"", allowed).count(b"sha256-") <= value.count(b"sha256-") * 2


def codings(data: bytes) -> None:
    """A body comes out, or a fault; in whatever pieces."""
    coding = (b"gzip", b"deflate")[len(data) % 2]
    decoder = Decoder(coding)
    try:
        for start in range(0, len(data), 5):
            decoder.feed(data[start : start + 5])
        decoder.end()
    except UpstreamFault:
        return


def upstream_cookies(data: bytes) -> None:
    """A cookie that is kept here is one field for this host; what comes back unsealed never reaches the upstream (C-37)."""
    first, _, second = data.translate(None, b"\r\n\0").partition(b"\xff")
    cookie = parse_set_cookie(first)
    if cookie is not None:
        kept = cookie.for_host(cookie.value, secure=True)
        assert b"domain" not in [one.partition(b"=")[0].strip().lower() for one in kept.split(b";")[1:]]
        again = parse_set_cookie(kept)
        assert again is not None
        assert (again.name, again.value) == (cookie.name, cookie.value)
        assert SEALS.open("s", cookie.name, SEALS.seal("s", cookie.name, cookie.value)) in (cookie.value, None)
    values = SEALS.keep("s", [second]).values
    assert not re.search(rb"(?:\A|[;,])\s*SESS\s*=", b"\n".join(values))


REWRITTEN_TARGETS = {"pages": pages, "policies": policies, "codings": codings, "upstream_cookies": upstream_cookies}
REWRITTEN_SEEDS = {
    "pages": [b"\x01<!doctype html><html a='>'><head><title>", b"\x02\xef\xbb\xbf<!-- > --><p>", b"\x00<!-->\xff\xfe<head a=\"", b"\x03<?x><HTML/><head/>x"],
    "policies": [b"default-src 'self'; style-src 'none'", b"style-src 'unsafe-inline' 'nonce-a', default-src *", b";;STYLE-SRC-ELEM\t'self' ,"],
    "codings": [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", b"x\x9c\x03\0\0\0\0\x01", b"\x03\0"],
    "upstream_cookies": [b"SESS=1; Path=/; Domain=x\xffa=1; SESS=2", b"a=\xff%53ESS=x; b=1,SESS=y", b"=x; secure\xff=SESS=z"],
}  # fmt: skip
