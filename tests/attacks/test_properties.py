"""What holds for every request, found by trying many: D-02.

The second reading that the gateway's is compared with is `tests.fakes.strict`, written from the grammar alone.
"""

import re
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.config.loader import build
from gateway.errors.dependencies import UpstreamFault
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest, MalformedRequest
from gateway.gate import admission
from gateway.gate.decision import Forward, Own, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import Site, Sites, app_routes
from gateway.http.field_cache import RequestFields
from gateway.http.framing import LAST_CHUNK, ChunkedBody, FramingError, chunk
from gateway.http.header_policy import FieldKinds, Kind
from gateway.http.message import RequestHead
from gateway.http.request_head import ParsedRequest, RequestReader
from gateway.http.response_head import parse_response
from gateway.identity.assertion import AssertionSigner
from gateway.identity.headers import normalise_name
from gateway.proxy.upstream_head import HeadWriter
from gateway.sessions.keyring import new_key
from tests.fakes.strict import Unchunker, Unclear, framing_of, read_fields

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOST = b"portal.example.com"
TCHAR = b"!#$%&'*+.^_`|~-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MANAGED = (
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Name", "X-Forwarded-Preferred-Username", "X-Doorward-Jwt-Assertion",
    "X-Doorward-Anything", "X-Auth-Request-User", "X-Customer", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-IP",
    "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri",
)  # fmt: skip
often = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def sites() -> Sites:
    app = {
        "hosts": [HOST.decode()],
        "upstream": "http://127.0.0.1:9",
        "public": ["GET /public/**", "* /hooks/*"],
        "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
        "password_routes": "nexudus",
        "headers": {"X-Customer": "{email}"},
    }
    openid = {"authority_url": "https://login.example.com", "client_id": "x", "client_secret": "y"}
    doors = {"prevent_password_login": True, "unregistered_when_sso_only": "refuse"}
    config = build({"keys": [new_key()], "openid": {**openid, **doors}, "apps": {"portal": app}})
    return Sites(app_routes(config), config)


def site() -> Site:
    return sites().of(HOST.decode())


@cache
def reader() -> RequestReader:
    return RequestReader(RequestFields(FieldKinds(frozenset({normalise_name(b"X-Customer")}))), 100)


# --- heads ------------------------------------------------------------------------------------------------------------

words = st.sampled_from(
    (b"GET", b"POST", b"get", b"FOO", b" ", b" ", b"  ", b"\t", b"/", b"/a?b", b"*", b"http://a/", b"/\xc3\xa9", b"/#", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"")
)  # fmt: skip
usual_line = st.sampled_from((b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"PUT /x HTTP/1.0", b"M-SEARCH * HTTP/1.1"))
lines = usual_line | usual_line | st.lists(words, max_size=7).map(b"".join)
names = st.sampled_from(
    (b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Cookie", b"Expect", b"X-A", b"X_Forwarded_User", b"X-Forwarded-For", b"", b"a b", b"X-A ")
) | st.text("abX-_.~!", min_size=1, max_size=6).map(str.encode)  # fmt: skip
field_values = st.sampled_from(
    (b"a", b"5", b"05", b"+5", b"5, 5", b"", b"chunked", b"Chunked", b"gzip, chunked", b"close, X-A", b"websocket", b"h2c", b"100-continue", b"caf\xe9", b"a\x00", b"a\rb", b"a\nb", b"a\r\n b")
) | st.binary(max_size=8)  # fmt: skip
separators = st.sampled_from((b": ", b": ", b": ", b":", b" : ", b"", b":\t"))
framing_lines = st.sampled_from(
    (b"Content-Length: 5", b"content-length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"transfer-encoding: CHUNKED", b"Host: b", b"Connection: x-a", b"X-A: 1")
)  # fmt: skip
head_lines = st.lists(framing_lines | st.tuples(names, separators, field_values).map(b"".join), max_size=6)


def read_or_refused(head: bytes) -> ParsedRequest | int:
    try:
        return reader().read(head)
    except Refusal as refusal:
        return refusal.status


@often
@given(lines, head_lines)
def test_a_head_is_read_as_the_grammar_reads_it_or_refused(line: bytes, fields: list[bytes]) -> None:
    """D-02, B-10, B-12, B-13, B-30, C-14."""
    head = b"\r\n".join((line, b"Host: a", *fields, b"", b""))
    assume(head.find(b"\r\n\r\n") == len(head) - 4)
    request = read_or_refused(head)
    if not isinstance(request, ParsedRequest):
        assert request in (400, 405, 417, 431, 501, 505)
        return
    first, *rest = head[:-4].split(b"\r\n")
    strict = read_fields(rest)  # Unclear: the gateway accepted what the grammar does not
    assert first == b"%b %b HTTP/%b" % (request.method.encode(), request.target, request.version.encode())
    length = framing_of(strict)
    assert (request.length, request.chunked) == (length or 0, length is None)
    assert not (request.chunked and request.version == "1.0")
    named = {
        option.strip().lower()
        for name, value in strict
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    named -= {b"close", b"keep-alive", b"upgrade"}
    assert request.fields == [entry for entry in strict if entry[0].lower() not in named]
    assert len([name for name, _ in strict if name.lower() == b"host"]) == 1
    assert not (request.upgrade is not None and request.has_body)


@often
@given(
    st.sampled_from(
        (
            b"HTTP/1.1 200 OK",
            b"HTTP/1.0 304 ",
            b"HTTP/1.1 204",
            b"HTTP/1.1 99 x",
            b"HTTP/2 200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 200 a\xe9b",
        )
    ),
    head_lines,
)
def test_a_response_head_is_read_as_the_grammar_reads_it_or_a_fault(line: bytes, fields: list[bytes]) -> None:
    """D-02, B-47, B-21."""
    head = b"\r\n".join((line, *fields, b"", b""))
    assume(head.find(b"\r\n\r\n") == len(head) - 4)
    try:
        response = parse_response(head)
    except UpstreamFault:
        return
    strict = read_fields(head[:-4].split(b"\r\n")[1:])
    length = framing_of(strict)
    assert response.chunked == (length is None)
    assert (response.length or 0) == (length or 0)
    travelled = read_fields(response.lines)
    assert [entry for entry in strict if entry in travelled] == travelled
    assert not {name.lower() for name, _ in travelled} & {
        b"connection",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"keep-alive",
    }


# --- chunks -----------------------------------------------------------------------------------------------------------

chunk_parts = st.sampled_from(
    (b"1\r\naXX", b"1\r\na\r\n0\r\n\r\n", b"0", b"1", b"3", b"A", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"abc", b";", b";a=b", b"X: 1", b"0\r\n\r\n", b"3\r\nabc\r\n", b"1\r\na\r\n", b"+", b" ", b"GET")
)  # fmt: skip


def decode(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    """Body and rest; "more" when it is not complete, "broken" when it cannot be."""
    body, out = ChunkedBody(), b""
    for number, piece in enumerate(pieces):
        try:
            out += body.feed(piece)
        except FramingError:
            return "broken"
        if body.done:
            return out, body.rest + b"".join(pieces[number + 1 :])
    return "more"


@often
@given(st.lists(chunk_parts, max_size=12).map(b"".join), st.lists(st.integers(0, 80), max_size=5))
def test_a_chunked_body_is_read_alike_however_it_is_cut(wire: bytes, cuts: list[int]) -> None:
    """D-02, B-14, B-15."""
    places = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    in_pieces = decode([wire[start:end] for start, end in pairwise(places)])
    assert decode([wire[at : at + 1] for at in range(len(wire))]) == in_pieces == decode([wire])
    if isinstance(in_pieces, tuple):
        strict, buffer = Unchunker(), bytearray(wire)
        strict.take(buffer)
        assert (strict.body, bytes(buffer)) == in_pieces


@often
@given(st.lists(st.binary(max_size=300), max_size=6), st.binary(max_size=20))
def test_what_is_chunked_is_read_back_with_what_follows_left_alone(parts: list[bytes], rest: bytes) -> None:
    """D-02, B-01."""
    assert decode([b"".join(map(chunk, parts)) + LAST_CHUNK + rest]) == (b"".join(parts), rest)


# --- fields -----------------------------------------------------------------------------------------------------------


@st.composite
def aliases(draw: st.DrawFn) -> bytes:
    """A spelling that some server takes for a managed name: other case, and any other character where a hyphen is."""
    name = draw(st.sampled_from(MANAGED))
    other = st.sampled_from([chr(byte) for byte in TCHAR if not chr(byte).isalnum()])
    return "".join(draw(other) if c == "-" else draw(st.sampled_from((c.lower(), c.upper()))) for c in name).encode()


@cache
def writer() -> HeadWriter:
    return HeadWriter(gate_config(), AssertionSigner([bytes(32)]), lambda: 0.0, lambda: NOW)


def gate_config() -> schema.Config:
    return build(
        {
            "keys": [new_key()],
            "openid": {"enabled": False},
            "apps": {"portal": {"hosts": [HOST.decode()], "upstream": "http://127.0.0.1:9"}},
        }
    )


def sent_on(*fields: bytes) -> list[tuple[bytes, bytes]]:
    request = reader().read(b"\r\n".join((b"GET / HTTP/1.1", b"Host: " + HOST, *fields, b"", b"")))
    asked = Request(site(), request, None, None, request_id="id-1", peer="192.0.2.1")
    head = writer().upstream(asked, Forward(b"/", None, "default"))
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    return read_fields(head[:-4].split(b"\r\n")[1:])


@often
@given(st.lists(aliases(), min_size=1, max_size=4), st.lists(st.text("abcXYZ-_.", min_size=1, max_size=8), max_size=3))
def test_no_alias_of_a_managed_name_is_ever_sent_on(forged: list[bytes], plain: list[str]) -> None:
    """D-02, C-30, C-31, C-32, C-01."""
    assert all(FieldKinds(frozenset({normalise_name(b"X-Customer")})).of(name) is not Kind.FORWARD for name in forged)
    said = [*(name + b": forged" for name in forged), *(f"{name}: plain".encode() for name in plain)]
    names = {name.lower() for name in (*forged, *(name.encode() for name in plain))}
    if len({normalise_name(name) for name in names}) < len(names):
        with pytest.raises(MalformedRequest):  # twins (C-61)
            sent_on(*said)
        return
    travelled = sent_on(*said)
    assert not [name for name, value in travelled if value == b"forged"]
    alike = [normalise_name(name) for name, _ in travelled]
    for name in map(normalise_name, map(str.encode, MANAGED)):
        assert alike.count(name) <= 1
    ours = [name for name in plain if name.replace("-", "a").isalnum()]
    assert [name for name, value in travelled if value == b"plain"] == [name.encode() for name in ours]


@often
@given(
    st.lists(
        st.sampled_from(
            (
                b"x-a",
                b"X-B",
                b"close",
                b"keep-alive",
                b"x-forwarded-for",
                b"x-real-ip",
                b"x-request-id",
                b"te",
                b"accept",
                b"host",
                b"cookie",
            )
        ),
        max_size=4,
    )
)
def test_what_connection_names_is_gone_and_what_we_say_stays(options: list[bytes]) -> None:
    """D-02, B-48."""
    try:
        travelled = sent_on(b"X-A: 1", b"X-B: 2", b"Accept: 3", b"Connection: " + b", ".join(options))
    except BadRequest:
        assert {b"host", b"cookie"} & set(options)
        return
    there = {name.lower() for name, _ in travelled}
    for name in (b"x-a", b"x-b", b"accept"):
        assert (name in there) is (name not in {option.lower() for option in options})
    assert {b"host", b"x-forwarded-for", b"x-real-ip", b"x-request-id"} <= there
    assert b"connection" not in there


# --- decisions --------------------------------------------------------------------------------------------------------

segments = st.sampled_from(
    ("a", "admin", "public", "ADMIN", "%61dmin", "..", ".", "", "%2e%2e", "..;", "%2E", "caf%c3%a9", "é", "login", "en", "oauth2", "x;y", "%20", "hooks", "a.json", "(S(x))", "<>", "%7e", "'", "\uff41dmin")
)  # fmt: skip
targets = st.tuples(
    st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(("", "?", "?a=b", "?x=/../y", "?_method=DELETE", "?é", "?#")),
)
asked_for = targets.map("".join).map(lambda text: text.encode())


def decide(method: str, target: bytes) -> object:
    return admission.decide(
        Request(site(), RequestHead(method, target, HOST, []), None, None, NOW, session_looked_up=True)
    )


@often
@given(st.sampled_from(("GET", "POST", "DELETE", "HEAD", "OPTIONS")), asked_for)
def test_what_is_forwarded_is_decided_as_what_was_asked_for(method: str, target: bytes) -> None:
    """D-02, C-10, C-11, C-12: decision(x) is decision(what the upstream sees), and the form is final."""
    decision = decide(method, target)
    assert isinstance(decision, Forward | Own | Refuse | RedirectToSignIn)
    if isinstance(decision, Forward | Own):
        again = decide(method, decision.wire)
        assert again == decision
        assert re.fullmatch(rb"/[\x21-\x7e]*", decision.wire)
        segments_sent = decision.wire.partition(b"?")[0].split(b"/")
        assert not {b".", b".."} & set(segments_sent)
        assert b"" not in segments_sent[1:-1]
        assert b"#" not in decision.wire
    if isinstance(decision, Forward):
        assert b"admin" not in decision.wire.partition(b"?")[0].lower().split(b"/")[1:2]


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /?\x80 HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n"]
)
def test_the_second_reading_agrees_on_what_is_plain(line: bytes) -> None:
    """The comparison above is worth nothing if the strict reading refuses everything."""
    request: ParsedRequest = reader().read(line)
    assert request.fields == read_fields(line[:-4].split(b"\r\n")[1:])
    with pytest.raises(Unclear):
        read_fields([b"X : 1"])
