"""What is fuzzed: functions of bytes that must not raise. Each says, by assertions, what holds whatever the bytes are.

D-01. The first bytes of some inputs choose where the rest is cut. `SEEDS` begins each target's corpus.
"""

import contextlib
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import compat32
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from gateway.config.loader import ConfigInvalid, Problem, build, resolve
from gateway.config.values import METHODS
from gateway.errors.dependencies import UpstreamFault
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest
from gateway.gate.decision import Forward
from gateway.gate.request import Request
from gateway.gate.site import Sites, app_routes
from gateway.http.field_cache import RequestFields
from gateway.http.framing import Body, ChunkedBody, FramingError, SizedBody, UntilClose, whole_chunked
from gateway.http.header_policy import FieldKinds, client_address, is_trusted, parse_address, trusted_forwarding_block
from gateway.http.message import RequestHead
from gateway.http.request_head import ParsedRequest, RequestReader, judge_partial, parse_host
from gateway.http.response_head import parse_response
from gateway.identity.assertion import AssertionSigner
from gateway.identity.headers import normalise_name
from gateway.policy.bodies import Unreadable
from gateway.policy.forms import methods_in_body
from gateway.policy.paths import parse_target
from gateway.proxy.forward_auth import original_request
from gateway.proxy.upstream_head import HeadWriter
from gateway.sessions.cookie import SessionCookie
from gateway.sessions.session import decode, encode
from gateway.sign_in.return_to import is_local, parse_return_to
from tests.fakes.strict import framing_of, read_fields
from tests.fuzz.rewritten import REWRITTEN_SEEDS, REWRITTEN_TARGETS
from tests.unit.sessions.made import a_session

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HOST = "portal.example.com"
NETWORKS = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
CONFIG: dict[str, Any] = {
    "keys": [KEY],
    "openid": {"authority_url": "https://login.example.com", "client_id": "x", "client_secret": "y"},
    "apps": {"portal": {"hosts": [HOST], "upstream": "http://127.0.0.1:9", "headers": {"X-Customer": "{email}"}}},
}
OURS = re.compile(
    rb"x[^a-z0-9]forwarded[^a-z0-9](?:user|email|groups|name)|x[^a-z0-9]doorward[^a-z0-9].*|x[^a-z0-9]customer", re.I
)


@cache
def reader() -> RequestReader:
    return RequestReader(RequestFields(FieldKinds(frozenset({normalise_name(b"X-Customer")}))), 50)


@cache
def sites() -> Sites:
    config = build(CONFIG)
    return Sites(app_routes(config), config)


@cache
def writer() -> HeadWriter:
    return HeadWriter(build(CONFIG), AssertionSigner([bytes(32)]), lambda: 0.0, lambda: NOW)


def requests(data: bytes) -> None:
    """A connection's bytes, in pieces, are the requests that they are at once."""
    if not data:
        return
    step, stream = data[0] % 16 + 1, data[1:]
    whole = _conversation([stream])
    pieces = _conversation([stream[at : at + step] for at in range(0, len(stream), step)])
    assert pieces == whole, (pieces, whole)


def _conversation(pieces: list[bytes]) -> list[tuple[object, ...]]:
    """The messages of a stream, as the client's connection takes them apart."""
    found: list[tuple[object, ...]] = []
    buffer, body, content = b"", None, b""
    head: tuple[object, ...] = ()
    for piece in pieces:
        buffer += piece
        while buffer:
            if body is None:
                request = _head(buffer)
                if request is None:
                    break
                if isinstance(request, int):
                    return [*found, ("refused",)]  # early or late, with the status of what was seen by then
                buffer = buffer[buffer.find(b"\r\n\r\n") + 4 :]
                head = (request.method, request.target, tuple(request.fields))
                body, content = _body_of(request), b""
                if body is None:
                    found.append((*head, b""))
                continue
            try:
                content += body.feed(buffer)
            except FramingError:
                return [*found, ("broken",)]
            buffer = body.rest
            if body.done:
                found.append((*head, content))
                body = None
    return found


def _head(buffer: bytes) -> ParsedRequest | int | None:
    end = buffer.find(b"\r\n\r\n")
    try:
        if end < 0:
            judge_partial(buffer, end, 65_536)
            return None
        request = reader().read(buffer[: end + 4])
    except Refusal as refusal:
        return refusal.status
    first, *lines = buffer[:end].split(b"\r\n")
    assert first.split(b" ") == [request.method.encode(), request.target, b"HTTP/" + request.version.encode()]
    length = framing_of(read_fields(lines))
    assert (request.length, request.chunked) == (length or 0, length is None)
    return request


def _body_of(request: ParsedRequest) -> Body | None:
    if request.chunked:
        return ChunkedBody()
    return SizedBody(request.length) if request.length else None


def responses(data: bytes) -> None:
    """An upstream's bytes are a response or a fault, the same in any pieces."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return
    try:
        response = parse_response(data[: end + 4])
    except UpstreamFault:
        return
    fields = read_fields(data[:end].split(b"\r\n")[1:])
    length = framing_of(fields)
    assert response.chunked == (length is None)
    assert not [line for line in response.lines if b"\r" in line or b"\n" in line or b"\x00" in line]
    rest = data[end + 4 :]
    kinds: Callable[[], Body] = ChunkedBody if response.chunked else lambda: SizedBody(response.length or 0)
    outcomes = {_fed(kinds(), pieces) for pieces in ((rest,), tuple(rest[at : at + 1] for at in range(len(rest))))}
    assert len(outcomes) == 1
    if response.chunked:
        _read_as_a_whole(rest, *outcomes)
    assert UntilClose().feed(rest) == rest


def _read_as_a_whole(data: bytes, read: tuple[bytes, bool, bytes] | None) -> None:
    """The short way for what is all there reads as the decoder does, or leaves it to that."""
    try:
        whole = whole_chunked(data)
    except FramingError:
        assert read is None
    else:
        assert whole is None or read == (whole, True, b"")


def _fed(body: Body, pieces: tuple[bytes, ...]) -> tuple[bytes, bool, bytes] | None:
    out = b""
    for number, piece in enumerate(pieces):
        try:
            out += body.feed(piece)
        except FramingError:
            return None
        if body.done:
            return out, True, body.rest + b"".join(pieces[number + 1 :])
    return out, body.done, b"".join(pieces) if body.done else b""


def target(data: bytes) -> None:
    """A target is refused, or has one form that stays as it is."""
    try:
        read = parse_target(data)
    except BadRequest:
        return
    wire = read.wire()
    assert re.fullmatch(rb"/[\x21-\x7e]*", wire)
    assert parse_target(wire) == read
    path = read.path.split("/")
    assert not {".", ".."} & set(path)
    assert "" not in path[1:-1]
    assert "#" not in wire.decode()


def heads(data: bytes) -> None:
    """What is sent on is one head, without a word of the client's about who it is."""
    trusted = data[:1] > b"\x7f"
    block = b"GET / HTTP/1.1\r\nHost: %b\r\n%b\r\n\r\n" % (HOST.encode(), data[1:].strip(b"\r\n"))
    if block.find(b"\r\n\r\n") != len(block) - 4:
        return
    try:
        request = reader().read(block)
    except Refusal:
        return
    site = sites().of(HOST)
    split = site.cookie.split(request.cookies)
    written = writer().upstream(
        Request(site, request, None, None, request_id="id", peer="10.0.0.1", trusted=trusted, cookies=split.others),
        Forward(b"/", None, "default"),
    )
    assert written.count(b"\r\n\r\n") == 1
    fields = read_fields(written[:-4].split(b"\r\n")[1:])
    framing_of(fields)
    assert not [name for name, _ in fields if OURS.fullmatch(name)]
    assert [name.lower() for name, _ in fields].count(b"host") == 1
    original = _described(request)
    assert original is None or original.startswith(b"/")


def _described(request: ParsedRequest) -> bytes | None:
    try:
        return original_request(request, trusted=True, host=request.host).target
    except Refusal:
        return None


def hosts(data: bytes) -> None:
    """A Host is a name and a port, or refused."""
    try:
        name, port = parse_host(data)
    except BadRequest:
        return
    assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\]", name)
    assert port == "" or 0 <= int(port) <= 65535


def cookies(data: bytes) -> None:
    """Ours never travel, the others do, and a token is the only candidate."""
    values = data.split(b"\n")
    for cookie in (SessionCookie(True), SessionCookie(False)):
        split = cookie.split(values)
        for other in split.others:
            again = cookie.split([other])
            assert again.token is None
            assert not again.spoiled
        crumbs = [crumb.strip(b" \t") for value in values for crumb in value.split(b";")]
        foreign = [crumb for crumb in crumbs if crumb and b"doorward_" not in crumb.lower()]
        kept = [crumb.strip(b" \t") for value in split.others for crumb in value.split(b";")]
        assert [crumb for crumb in kept if crumb and b"doorward_" not in crumb.lower()] == foreign
        if split.token is not None:
            assert crumbs.count(f"{cookie.name}={split.token}".encode()) == 1


def forms(data: bytes) -> None:
    """Whatever method a reader of forms, of parts or of JSON finds in a body, the gateway finds it too, or does not believe the body."""
    kinds: tuple[tuple[bytes, Callable[[bytes], Iterator[str]]], ...] = (
        (b"application/x-www-form-urlencoded", _methods_of_form),
        (b"multipart/form-data; boundary=b", _methods_of_parts),
        (b"application/json", _methods_of_json),
    )
    content_type, read = kinds[data[0] % 3] if data else kinds[0]
    body = data[1:]
    head = RequestHead("POST", b"/", b"a", [(b"Content-Type", content_type)])
    try:
        asked = methods_in_body(head, body)
    except Unreadable:
        return
    assert {method.upper() for method in read(body)} & METHODS <= asked, body


def _methods_of_form(body: bytes) -> Iterator[str]:
    for separator in "&;":
        for name, value in parse_qsl(body.decode("latin-1"), separator=separator):
            if name.lower() == "_method":
                yield value


def _methods_of_parts(body: bytes) -> Iterator[str]:
    message = BytesParser(policy=compat32).parsebytes(b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body)
    for part in message.walk():
        with contextlib.suppress(Exception):  # what the reader cannot read it does not find
            if str(part.get_param("name", header="content-disposition")).lower() == "_method":
                yield str(part.get_payload()).strip()


def _methods_of_json(body: bytes) -> Iterator[str]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and isinstance(value.get("_method"), str):
        yield value["_method"]


def return_to(data: bytes) -> None:
    """Where a person is sent is a path of one of our origins, and sending them there again changes nothing."""
    own, other = "https://portal.example.com", "https://dash.example.com:8443"
    text = data.decode("utf-8", "surrogateescape")
    found = parse_return_to(text, own=own, origins=(own, other))
    if found is None:
        return
    assert found.origin in (None, other)
    assert is_local(found.path)
    assert re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", found.path)
    again = parse_return_to(found.url, own=own, origins=(own, other))
    assert again is None or again == found  # None: it may have grown over the bound by being written out


def forwarded(data: bytes) -> None:
    """A chain names an address or nothing; what is written is five lines."""
    peer = "10.0.0.1" if data[:1] > b"\x40" else "192.0.2.1"
    chain = [re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", value) for value in data[1:].split(b"\n")]
    client = client_address(peer, chain, NETWORKS)
    assert client == peer or str(parse_address(client)) == client
    assert is_trusted(peer, NETWORKS) or client == peer
    said = [(b"X-Forwarded-For", value) for value in chain]
    lines = trusted_forwarding_block(peer, said, "https", b"a.example", 443, NETWORKS).split(b"\r\n")
    assert len(lines) == 5
    assert lines[4] == b"X-Real-IP: " + client.encode()


def sessions(data: bytes) -> None:
    """A stored session is one, or a ValueError; what is decoded encodes to itself."""
    try:
        session = decode(data)
    except ValueError:
        return
    assert decode(encode(session)) == session


def config(data: bytes) -> None:
    """A configuration loads, or every problem is named."""
    problems = _problems(data.decode("utf-8", "replace"))
    assert problems is None or (problems and all(problem.what for problem in problems))


def _problems(text: str) -> Sequence[Problem] | None:
    try:
        loaded = resolve(text, {"NAME": "value"}, Path("/nonexistent"))
        build(loaded.data, loaded.lines)
    except ConfigInvalid as invalid:
        return invalid.problems
    return None


TARGETS: dict[str, Callable[[bytes], None]] = {
    "requests": requests,
    "responses": responses,
    "target": target,
    "heads": heads,
    "hosts": hosts,
    "cookies": cookies,
    "forms": forms,
    "return_to": return_to,
    "forwarded": forwarded,
    "sessions": sessions,
    "config": config,
    **REWRITTEN_TARGETS,
}

_TOKEN = b"A" * 43
SEEDS: dict[str, list[bytes]] = {
    **REWRITTEN_SEEDS,
    "requests": [
        b"\x03GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x07POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"\x01POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        b"\x05GET /s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, X-A\r\nUpgrade: websocket\r\nX-A: 1\r\nExpect: 100-continue\r\n\r\n",
    ],
    "responses": [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-A\r\nX-A: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 304 Not Modified\r\n\r\n",
    ],
    "target": [b"/a/b?c=d", b"/%61/../b/./%2e%2e;x/caf%c3%a9/\xc3\xa9?q=%zz", b"//x/(S(a))/y.json/", b"/%25%32%65/\xef\xbc\x8e"],
    "heads": [
        b"\x00X-Forwarded-User: admin\r\nX_Customer: x\r\nConnection: X-A\r\nX-A: 1\r\nCookie: doorward_session=x; a=1",
        b"\xffX-Forwarded-For: 1.2.3.4, 10.0.0.2\r\nForwarded: for=1.2.3.4\r\nX-Original-URL: http://a/b?c\r\nContent-Length: 3",
        b"\x00Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\nTransfer-Encoding: chunked",
    ],
    "hosts": [b"portal.example.com:443", b"[::1]:80", b"A.EXAMPLE.", b"a:99999"],
    "cookies": [
        b"a=1; __Host-doorward_session=" + _TOKEN + b"; b=\"2\"",
        b"doorward_session=" + _TOKEN + b"\na=1;doorward_login_1_x=y",
        b"=doorward_session=" + _TOKEN + b"; Doorward_session=x",
    ],
    "forms": [
        b"\x00a=1&_method=DELETE", b"\x00%5Fmethod=p%55t;b=2", b'\x02{"_method": "DELETE", "a": {"b": []}}', b'\x02{"\\u005fmethod": "PUT"}',
        b'\x01--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--b--\r\n',
        b'\x01--b\r\nContent-Disposition: form-data;\r\n name*=utf-8\'\'_method; filename="x"\r\n\r\nPUT\r\n--b--\r\n',
    ],
    "return_to": [b"/a?b=c#d", b"https://dash.example.com:8443/x", b"https://portal.example.com@evil/", b"//evil", b"/\\evil", b"/%2e%2e/a b"],
    "forwarded": [b"\x7f1.2.3.4, 10.0.0.2\n::ffff:9.9.9.9", b"\x00\"[::1]\"", b"\x7funknown, , 10.0.0.1"],
    "sessions": [b'{"v":1}', b"[]", b"{" * 50],
    "config": [
        b"keys: [AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=]\nopenid: {authority_url: https://a.example, client_id: x, client_secret: ${NAME}}\n"
        b"apps:\n  portal:\n    hosts: [a.example]\n    upstream: http://127.0.0.1:1\n    public: ['GET /a/**']\n",
        b"apps: {a: {hosts: [], upstream: 'unix:/x', rules: [{match: '* /**', require: {groups: [x]}}], session: {idle: 8h}}}\nredis: {url: 'redis://u:p@h/0'}\n",
        b"a: &a [*a]\nworkers: auto\nlimits: {head: 64KiB}\ntrusted_proxies: [10.0.0.0/8]\n",
    ],
}  # fmt: skip


def seeds(name: str) -> Iterator[bytes]:
    """The beginnings of a target's corpus; for sessions one that really decodes."""
    yield from SEEDS[name]
    if name == "sessions":
        yield encode(a_session())
