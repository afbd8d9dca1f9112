"""Request and response heads: what other parsers accept and we do not."""

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors.dependencies import UpstreamFault
from gateway.errors.refusal import Refusal
from gateway.errors.requests import (
    CodingNotImplemented,
    ExpectationFailed,
    HeadTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    VersionNotSupported,
)
from gateway.http.field_cache import RequestFields, ResponseFields
from gateway.http.header_policy import FieldKinds
from gateway.http.request_head import ParsedRequest, RequestReader, parse_host
from gateway.http.response_head import parse_response


def parse(head: bytes, max_fields: int = 200) -> ParsedRequest:
    return RequestReader(RequestFields(FieldKinds(frozenset())), max_fields).read(head)


def request(*fields: bytes, line: bytes = b"POST /p HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: a", *fields)) + b"\r\n\r\n"


def test_a_browsers_request_is_read_with_its_fields_in_order() -> None:
    parsed = parse(request(b"Accept: text/html", b"X-Thing: 1", line=b"GET /x?y=1 HTTP/1.1"))
    assert (parsed.method, parsed.target, parsed.host, parsed.version) == ("GET", b"/x?y=1", b"a", "1.1")
    assert parsed.lines == [b"Accept: text/html", b"X-Thing: 1"]
    assert parsed.keep_alive
    assert not parsed.has_body


def test_one_reader_reads_request_after_request() -> None:
    reader = RequestReader(RequestFields(FieldKinds(frozenset())), 200)
    for head in (
        request(line=b"GET /1 HTTP/1.1"),
        request(b"Content-Length: 3"),
        request(b"Transfer-Encoding: chunked"),
        request(line=b"GET /2 HTTP/1.1"),
    ):
        parsed = reader.read(head)
        assert parsed.host == b"a"
    assert parsed.target == b"/2"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"JUNK, chunked", b"gzip;q=1 , Chunked", b"deflate,gzip,chunked"])
def test_a_transfer_coding_before_chunked_is_not_implemented(coding: bytes) -> None:
    """B-10: where the body ends is certain."""
    with pytest.raises(CodingNotImplemented):
        parse(request(b"Transfer-Encoding: " + coding))


@pytest.mark.parametrize(
    "coding",
    [
        b"chunked, gzip", b"chunked, identity", b"identity", b"gzip", b"JUNK", b"", b",", b"chunked,", b",chunked", b"chunked, chunked", b"xchunked",
        b"chunkedx", b"chunked;x=1", b'chunked;x="a, chunked"', b"chunked;", b"gzip, chunked, chunked", b'"chunked"', b"gzip chunked", b"gzip x, chunked",
        b"chunked\tchunked",
    ],
)  # fmt: skip
def test_a_body_that_chunked_does_not_end_is_malformed(coding: bytes) -> None:
    """B-10, B-65: RFC 9112 section 6.3 asks for 400, and the end of the connection."""
    with pytest.raises(MalformedRequest):
        parse(request(b"Transfer-Encoding: " + coding))


def test_a_transfer_coding_over_http_1_0_is_refused() -> None:
    """B-11."""
    with pytest.raises(MalformedRequest):
        parse(request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"))


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET / HTTP/1.9", b"GET /", b"GET / HTTP/1.11", b"GET / http/1.1"]
)
def test_versions_other_than_1_0_and_1_1_are_refused(line: bytes) -> None:
    """B-12."""
    with pytest.raises((VersionNotSupported, MalformedRequest)):
        parse(request(line=line))


@pytest.mark.parametrize(
    "fields",
    [
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"Content-Length: 6"), (b"Content-Length: +5",), (b"Content-Length: 0x5",), (b"Content-Length: 5,5",),
        (b"Content-Length: 5, 6",), (b"Content-Length: 05",), (b"Content-Length: 5_0",), (b"Content-Length: -0",), (b"Content-Length:",),
        (b"Content-Length: 99999999999999999999",), (b"Content-Length : 5",), (b"Content-Length: 5\n",), (b"Content-Length: 1\r\n 0",),
    ],
)  # fmt: skip
def test_a_length_that_could_be_read_in_two_ways_is_refused(fields: tuple[bytes, ...]) -> None:
    """B-13."""
    with pytest.raises((MalformedRequest, CodingNotImplemented)):
        parse(request(*fields))


@pytest.mark.parametrize(
    "line",
    [
        b"GET /admin x HTTP/1.1",
        b"GET  /admin HTTP/1.1",
        b"GET\t/admin HTTP/1.1",
        b"GET /admin  HTTP/1.1",
        b"GET /admin HTTP/1.1 ",
        b"GET /a\tb HTTP/1.1",
        b"GET /a\x0bb HTTP/1.0",
        b"GET /a\x00 HTTP/1.1",
        b"GET  HTTP/1.1",
        b" GET / HTTP/1.1",
    ],
)
def test_a_request_line_with_other_blanks_is_refused(line: bytes) -> None:
    """C-14."""
    with pytest.raises(Refusal) as caught:
        parse(request(line=line))
    assert caught.value.status in (400, 501, 505)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
    ],
)
def test_no_host_and_two_hosts_are_refused(head: bytes) -> None:
    """B-30."""
    with pytest.raises(MalformedRequest):
        parse(head)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"a b",
        b"a/b",
        b"a@evil",
        b"a, b",
        b"a:99999",
        b"a:0x50",
        b"[::1",
        b"a\x00",
        b"a" * 4096,
        b".",
        b"a..",
        b"a:",
        b"a:1:2",
        b"a#b",
        b"a?b",
        b"a\\b",
    ],
)
def test_a_host_that_is_none_is_refused(value: bytes) -> None:
    """B-30."""
    with pytest.raises(MalformedRequest):
        parse_host(value)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"APP.Example.COM", ("app.example.com", "")),
        (b"app.example.com.", ("app.example.com", "")),
        (b"app.example.com.:443", ("app.example.com", "443")),
        (b"[::1]:80", ("[::1]", "80")),
    ],
)
def test_a_host_is_read_without_case_and_trailing_dot(value: bytes, read: tuple[str, str]) -> None:
    """C-13."""
    assert parse_host(value) == read


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (b"CONNECT a:443 HTTP/1.1", MethodNotAllowed),
        (b"TRACE / HTTP/1.1", MethodNotAllowed),
        (b"FOO / HTTP/1.1", CodingNotImplemented),
        (b"get / HTTP/1.1", CodingNotImplemented),
        (b"SOURCE / HTTP/1.1", CodingNotImplemented),
    ],
)
def test_methods_that_do_not_pass(line: bytes, refusal: type[Refusal]) -> None:
    """B-32, B-33, B-34."""
    with pytest.raises(refusal):
        parse(request(line=line))


@pytest.mark.parametrize("line", [b"CONNECT a:443 HTTP/1.1", b"TRACE / HTTP/1.1"])
def test_a_method_that_never_passes_is_told_those_that_do(line: bytes) -> None:
    """B-32, B-33: RFC 9110 section 15.5.6."""
    with pytest.raises(MethodNotAllowed) as caught:
        parse(request(line=line))
    assert caught.value.fields == (("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


def test_only_100_continue_is_expected() -> None:
    """B-17."""
    with pytest.raises(ExpectationFailed):
        parse(request(b"Expect: x"))
    assert parse(request(b"Expect: 100-Continue", b"Content-Length: 1")).expects_continue


def test_the_number_of_fields_is_bounded() -> None:
    """B-50."""
    with pytest.raises(HeadTooLarge):
        parse(request(*[b"X-%d: 1" % i for i in range(11)]), max_fields=10)


def test_what_a_client_names_in_connection_does_not_travel() -> None:
    """B-48."""
    parsed = parse(request(b"X-Hop: 1", b"Connection: close, X-Hop", b"X-Stays: 1", line=b"GET / HTTP/1.1"))
    assert parsed.lines == [b"X-Stays: 1"]
    assert not parsed.keep_alive


@pytest.mark.parametrize(
    "name",
    [
        b"True-Client-IP",
        b"X-HTTP-Method-Override",
        b"X-HTTP-Method",
        b"Sec-WebSocket-Protocol",
        b"Sec-WebSocket-Key",
        b"Expect",
    ],
)
def test_what_means_something_to_us_does_not_travel_either_when_a_client_names_it(name: bytes) -> None:
    """B-48: neither goes on, nor is it judged: the application would see another request than the gate did."""
    parsed = parse(request(name + b": 100-continue", b"Connection: " + name.lower(), line=b"GET / HTTP/1.1"))
    assert parsed.first(name.lower()) is None
    assert name not in [entry.name for entry in parsed.special]
    assert parsed.lines == []


def test_who_a_request_came_through_cannot_be_named_away() -> None:
    """B-48, C-34: a trusted proxy's chain goes on, whatever the client named."""
    parsed = parse(request(b"X-Forwarded-For: 192.0.2.1", b"Connection: X-Forwarded-For", line=b"GET / HTTP/1.1"))
    assert [entry.value for entry in parsed.special if entry.name == b"X-Forwarded-For"] == [b"192.0.2.1"]


@pytest.mark.parametrize("value", [b"caf\xe9", b"\x85x\xa0", b"caf\xc3\xa9"])
def test_header_bytes_above_ascii_are_kept_as_they_are(value: bytes) -> None:
    """B-20."""
    assert b"".join(parse(request(b"X-N: " + value, line=b"GET / HTTP/1.1")).lines) == b"X-N: " + value


@pytest.mark.parametrize("value", [b"a\x00b", b"a\x01b", b"a\x7fb", b"a\rb", b"a\nb"])
def test_control_bytes_in_a_value_are_refused(value: bytes) -> None:
    with pytest.raises(Refusal):
        parse(request(b"X-N: " + value, line=b"GET / HTTP/1.1"))


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"HTTP/2 200 OK\r\n\r\n", b"HTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n",
    ],
)  # fmt: skip
def test_a_response_that_cannot_be_believed_is_an_upstream_fault(head: bytes) -> None:
    """B-47."""
    with pytest.raises(UpstreamFault):
        parse_response(head)


def test_a_response_keeps_its_fields_but_for_hop_by_hop_ones_and_our_cookie() -> None:
    """B-22, B-48, C-36."""
    head = (
        b"HTTP/1.1 200 Fine\r\nX-Hop: 1\r\nConnection: X-Hop, keep-alive\r\nSet-Cookie: a=1, b\r\nSet-Cookie: a=2\r\n"
        b"Set-Cookie: __Host-doorward_session=evil\r\nset-cookie:  Doorward_Session=evil\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\r\n"
    )
    response = parse_response(head)
    assert response.lines == [b"Set-Cookie: a=1, b", b"Set-Cookie: a=2"]
    assert (response.status, response.status_line, response.length) == (200, b"HTTP/1.1 200 Fine", 3)


@pytest.mark.parametrize("value", [b'attachment; filename="\xe9.txt"', b"/\xc3\xa9"])
def test_response_bytes_above_ascii_are_kept_as_they_are(value: bytes) -> None:
    """B-21."""
    assert parse_response(b"HTTP/1.1 200 OK\r\nX: " + value + b"\r\n\r\n").lines == [b"X: " + value]


_PIECES = st.sampled_from(
    [b"GET", b"POST", b" ", b"/", b"/a?b=c", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"Host: a", b"X: y", b"X:", b":", b"\x00",
     b"Content-Length: 3", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Connection: close", b"X-\xe9: 1", b"X: \xe9", b"a b: c", b";", b"\x7f"]
)  # fmt: skip


class _Other:
    """What httptools reads."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.lists(_PIECES, max_size=8))
@example([b"GET", b" ", b"/", b" HTTP/1.1", b"\r\n", b"Host: a"])
def test_what_is_accepted_is_read_by_another_parser_in_the_same_way(pieces: list[bytes]) -> None:
    """D-02, B-13, C-14: stricter than httptools, and never of another opinion."""
    for head in (b"".join(pieces) + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces) + b"\r\n\r\n"):
        if head.index(b"\r\n\r\n") + 4 != len(head):
            continue
        try:
            ours = parse(head)
        except Refusal:
            continue
        other = _Other()
        parser = httptools.HttpRequestParser(other)
        parser.feed_data(head)
        assert (parser.get_method().decode(), other.url) == (ours.method, ours.target)
        assert other.fields == ours.fields
        assert parser.get_http_version() == ours.version


@pytest.mark.parametrize(
    "line", [b"WWW-Authenticate: Negotiate oRQwEqADCgEA", b"WWW-Authenticate: NTLM TlRMTVNTUAAC", b"Set-Cookie: a=b"]
)
def test_response_lines_with_secrets_are_not_remembered(line: bytes) -> None:
    """C-48, B-61."""
    fields = ResponseFields()
    assert fields.read(line).line == line
    assert fields.known(line) is None
    usual = b"WWW-Authenticate: Basic realm=x"
    assert fields.read(usual) is fields.known(usual)
