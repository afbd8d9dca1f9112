"""C-48: e-mail addresses in foreign texts, in every encoding in which they are met."""

import base64
import json

import pytest

from gateway.observability.access_log import AccessLog, AccessRecord
from gateway.observability.redaction import hide_addresses

ADDRESS = "mia@example.com"
IN_BASE64 = base64.b64encode(ADDRESS.encode()).decode()
IN_JWT = base64.urlsafe_b64encode(json.dumps({"iss": "x", "email": ADDRESS}).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        (f"the provider says: {ADDRESS} is unknown", "the provider says: <address> is unknown"),
        ("GET /people/mia%40example.com/links: timeout", "GET /people/<address>/links: timeout"),
        ("GET /people/mia%2540example.com", "GET /people/<address>"),
        ("GET /people/%6d%69%61%40%65%78%2e%63%6f%6d", "GET /people/<address>"),
        ("GET /x?email=mia%40example.com&page=2", "GET /x?email=<address>&page=2"),
        ('userName eq "mia@example.com"', 'userName eq "<address>"'),
        (r"{'Message': 'mia\u0040example.com'}", "{'Message': '<address>'}"),
        (r"mia\x40example.com", "<address>"),
        ("<b>mia&#64;example.com</b> mia&#x40;example.com", "<b><address></b> <address>"),
        ("mia&commat;example.com; more", "<address> more"),
        ("to mia=40example.com, then", "to <address>, then"),
        ("mia＠example.com", "<address>"),
        ("ünal@bücher.example", "<address>"),
        ("mia@localhost mia@[192.0.2.1]", "<address> <address>"),
        (f"/unsubscribe/{IN_BASE64}/now", "/unsubscribe/<address>/now"),
        (f"token eyJh.{IN_JWT}.c2ln", "token eyJh.<address>.c2ln"),
        (ADDRESS.encode().hex(), "<address>"),
    ],
)
def test_an_address_is_hidden_however_it_is_written(text: str, logged: str) -> None:
    assert hide_addresses(text) == logged


@pytest.mark.parametrize(
    "text",
    [
        "GET /assets/logo@2x.png and /@me and /npm/package@1.2.3 and 50%40",
        "request 3f2a9c0d1e4b5a69-1c of session 0b5cT9Z1f8GqK3mYx7Wd2A",
        "discovery: login.example.com: the certificate has expired",
        "apps.portal.rules[0].match: is empty; allowed: at least one METHODS PATH-GLOB",
    ],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert hide_addresses(text) == text


@pytest.mark.parametrize("text", [False, True])
def test_an_access_line_hides_addresses_in_its_path_and_its_chosen_fields(*, text: bool) -> None:
    written: list[bytes] = []
    log = AccessLog(written.append, text=text, fields=("user", "agent"))
    for path, chosen in (
        ("/people/mia%40example.com", (ADDRESS, 'a "b" (+https://x.example)')),
        ("/plain", ("sub-1", "")),
    ):
        log.write(AccessRecord("portal", "GET", path, 200, 1, 0.1, "192.0.2.1", "sid", "r-1", "default", chosen))
    log.flush()
    first, second = b"".join(written).decode().splitlines()
    assert "example.com" not in first
    assert "/people/<address>" in first
    assert "/plain" in second
    assert "sub-1" in second
    if not text:
        line = json.loads(first)
        assert (line["user"], line["agent"]) == ("<address>", 'a "b" (+https://x.example)')
        assert list(line) == list(json.loads(second))


@pytest.mark.parametrize("text", [False, True])
def test_a_long_path_that_may_hold_an_address_stays_whole(*, text: bool) -> None:
    written: list[bytes] = []
    log = AccessLog(written.append, text=text)
    path = "/%20" + "x/" * 4000 + "end"
    log.write(AccessRecord("portal", "GET", path, 200, 1, 0.1, "192.0.2.1", "sid", "r-1", "default", ()))
    log.flush()
    assert path in written[0].decode()
