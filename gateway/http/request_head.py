"""The parser of request heads.

The caller finds where a head ends (the first empty line) and passes exactly those bytes, so limits are exact and no byte of the next message
is consumed. The parser refuses versions other than 1.0 and 1.1, two blanks, transfer codings other than chunked, a transfer coding over
HTTP/1.0, lengths that are not plain decimals, two Host fields, methods outside the registry, and lines that `field_cache` refuses.
RFC 9112 sections 2 to 7; docs/threats.md B-10 to B-13, B-30.
"""

import re
from typing import Final

from gateway.errors.requests import (
    BadRequest,
    CodingNotImplemented,
    ExpectationFailed,
    HeadTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    TargetTooLong,
    VersionNotSupported,
)
from gateway.http.field_cache import BadField, Field, RequestFields
from gateway.http.header_policy import Kind, names_connection_scheme
from gateway.http.message import RequestHead
from gateway.identity.headers import normalise_name

_HOST = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_OPENING = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?: |\Z)|\r?\Z")
_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9])?")
_METHODS: Final = {
    name.encode(): name
    for name in (
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",
        "SEARCH", "REPORT", "MKCALENDAR", "MKACTIVITY", "CHECKOUT", "MERGE", "ACL", "BIND", "REBIND", "UNBIND", "LINK", "UNLINK",
        "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",
    )
}  # fmt: skip
#: The methods of OPTIONS `*` and of Allow in our own responses.
SERVER_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_CODING = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;.*)?", re.DOTALL)
_END_TO_END: Final = frozenset((b"cookie", b"authorization", b"host", b"content-length", b"transfer-encoding"))


class ParsedRequest(RequestHead):
    """A valid request head. `line` is the request line as sent, `entries` are all fields; `lines` those that are forwarded as they are,
    `special` the others. `length` is in bytes; `sized`: there is a Content-Length, even of 0.

    `repeatable`: the fields mean the same under any other request line, since none is about a body, a change of protocol or another resource.
    """

    __slots__ = (
        "chunked", "cookies", "entries", "expects_continue", "keep_alive", "length", "line", "lines", "repeatable", "sized", "special",
    )  # fmt: skip

    def __init__(self, line: bytes, method: str, target: bytes, version: str) -> None:
        self.line = line
        self.method = method
        self.target = target
        self.version = version
        self.host = b""
        self.authorization = False
        self.references = []
        self.entries: list[Field] = []
        self.lines: list[bytes] = []
        self.special: list[Field] = []
        self.cookies: list[bytes] = []
        self.expects_continue = False
        self.keep_alive = version == "1.1"
        self.length = 0
        self.sized = False
        self.chunked = False
        self.upgrade = None
        self.repeatable = False

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        return [(entry.name, entry.value) for entry in self.entries]

    @property
    def has_body(self) -> bool:
        return self.chunked or self.length > 0


class RequestReader:
    """Parses request heads. `max_fields`: how many fields a head may have."""

    def __init__(self, fields: RequestFields, max_fields: int) -> None:
        self._fields = fields
        self._known = fields.known
        self._max_fields = max_fields

    def read(self, head: bytes) -> ParsedRequest:
        """The request whose head is exactly `head`, its empty line included. Raises a Refusal."""
        lines = head.split(b"\r\n")
        request = _request_line(lines[0])
        if len(lines) - 3 > self._max_fields:
            raise HeadTooLarge(f"more than {self._max_fields} fields")
        known, entries, forward, special = self._known, request.entries, request.lines, request.special
        for line in lines[1:-2]:
            entry = known(line)
            if entry is None:
                entry = self._read_field(line)
            entries.append(entry)
            if entry.kind:
                special.append(entry)
            else:
                forward.append(entry.line)
        _judge(request, special)
        if (
            not (request.chunked or request.sized or request.expects_continue or request.references)
            and request.upgrade is None
        ):
            request.repeatable = request.keep_alive and request.version == "1.1"
        return request

    def _read_field(self, line: bytes) -> Field:
        try:
            return self._fields.read(line)
        except BadField as error:
            raise MalformedRequest(str(error)) from error


def read_again(line: bytes, before: ParsedRequest) -> ParsedRequest:
    """The HTTP/1.1 request of this line with the fields of `before`, which is repeatable and has the same bytes. Raises a Refusal."""
    request = _request_line(line)
    request.host = before.host
    request.authorization = before.authorization
    request.entries = before.entries
    request.lines = before.lines
    request.special = before.special
    request.cookies = before.cookies
    request.repeatable = True
    return request


def _request_line(line: bytes) -> ParsedRequest:
    parts = line.split(b" ")
    if len(parts) == 3 and parts[2] == b"HTTP/1.1" and parts[0] in _METHODS and _TARGET.fullmatch(parts[1]):
        return ParsedRequest(line, _METHODS[parts[0]], parts[1], "1.1")
    return _unusual(line, parts)


def _unusual(line: bytes, parts: list[bytes]) -> ParsedRequest:
    """The request of a line that is not the usual one: HTTP/1.0. Raises a Refusal that names what is wrong."""
    # SECURITY: two blanks, a tab or a missing version split a line differently in other servers (C-14).
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise MalformedRequest("request line")
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        kind = VersionNotSupported if _VERSION.fullmatch(version) else MalformedRequest
        raise kind("version on the request line")
    if method in (b"CONNECT", b"TRACE"):
        raise MethodNotAllowed(method.decode(), allow=SERVER_METHODS)
    if method not in _METHODS:
        raise CodingNotImplemented("unknown method")
    return ParsedRequest(line, _METHODS[method], target, version[5:].decode())


def _judge(request: ParsedRequest, special: list[Field]) -> None:
    """Apply the fields that are not simply forwarded. Raises a Refusal."""
    hosts = framings = 0
    named: frozenset[bytes] = frozenset()
    options: frozenset[bytes] = frozenset()
    odd = False
    for entry in special:
        kind = entry.kind
        if kind is Kind.HOST:
            hosts += 1
            request.host = entry.value
        elif kind is Kind.COOKIE:
            request.cookies.append(entry.value)
        elif kind is Kind.CONNECTION:
            options |= entry.options
            named |= entry.named
        elif kind is Kind.CONTENT_LENGTH:
            framings += 1
            request.sized = True
            request.length = entry.length
        elif kind is Kind.TRANSFER_ENCODING:
            framings += 1
            _judge_coding(request, entry.value)
        else:
            odd |= _judge_rare(request, entry)
    if hosts != 1 or framings > 1:
        _refuse_repeated(request, hosts, framings)
    if odd:
        _refuse_twins(request.entries)
    if options:
        _judge_connection(request, options, named)


def _refuse_repeated(request: ParsedRequest, hosts: int, framings: int) -> None:
    """Raises MalformedRequest; HTTP/1.0 may leave Host out."""
    if hosts != 1 and (hosts or request.version == "1.1"):
        raise MalformedRequest("no Host, or two")
    # SECURITY: two lengths, or a length and a coding, end the message in two places (B-13).
    if framings > 1:
        raise MalformedRequest("Content-Length or Transfer-Encoding more than once")


def _refuse_twins(entries: list[Field]) -> None:
    """Raises MalformedRequest where some upstream reads two fields as one, and their names differ in more than case."""
    spelled: dict[bytes, bytes] = {}
    for entry in entries:
        lower = entry.name.lower()
        # SECURITY: of X-Thing and X_Thing one could be judged here and the other one read by the upstream (C-61).
        if spelled.setdefault(normalise_name(lower), lower) != lower:
            raise MalformedRequest("two spellings of one field name")


def _judge_rare(request: ParsedRequest, entry: Field) -> bool:
    """Apply a field of a rare kind; whether its name may be another one to some upstream. Raises ExpectationFailed."""
    if entry.kind is Kind.AUTHORIZATION:
        request.authorization = True
    elif entry.kind is Kind.REFERENCE:
        request.references.append((entry.name.lower(), entry.value))
    elif entry.kind is Kind.EXPECT:
        if entry.value.lower() != b"100-continue":
            raise ExpectationFailed("Expect")
        request.expects_continue = request.version == "1.1"  # RFC 9110 section 10.1.1
    return entry.odd


def _judge_coding(request: ParsedRequest, value: bytes) -> None:
    if request.version != "1.1":
        raise MalformedRequest("Transfer-Encoding over HTTP/1.0")
    if value.lower() == b"chunked":
        request.chunked = True
        return
    # SECURITY: where chunked is not the last coding, and once, the end of the body is unknown: a 400 that closes, and no 501 (B-65).
    *others, last = (coding.strip(b" \t").lower() for coding in value.split(b","))
    if last != b"chunked" or b"chunked" in others or not all(_CODING.fullmatch(coding) for coding in others):
        raise MalformedRequest("chunked is not the last transfer coding, or not once")
    raise CodingNotImplemented("transfer coding")


def _judge_connection(request: ParsedRequest, options: frozenset[bytes], named: frozenset[bytes]) -> None:
    if b"close" in options:
        request.keep_alive = False
    if b"upgrade" in options:
        _judge_upgrade(request, [entry.value for entry in request.special if entry.kind is Kind.UPGRADE])
    # SECURITY: fields that a client names in Connection are dropped; our own are added later, so that none can be named away (B-48).
    if named:
        if named & _END_TO_END:
            raise BadRequest("Connection names an end-to-end field")
        request.lines = without(request.lines, named)
        # SECURITY: a dropped field is not judged either, or the gate would decide about another request than the upstream sees (B-48).
        request.entries = [entry for entry in request.entries if entry.name.lower() not in named]
        request.special = [
            entry for entry in request.special if entry.kind is Kind.FORWARDED or entry.name.lower() not in named
        ]


def _judge_upgrade(request: ParsedRequest, upgrades: list[bytes]) -> None:
    """Note the protocol that the connection should change to. Raises MalformedRequest for several, and for a body."""
    if not upgrades:
        return
    if len(upgrades) > 1 or b"," in upgrades[0]:
        raise MalformedRequest("more than one Upgrade")
    if request.has_body:
        raise MalformedRequest("an upgrade with a body")
    request.upgrade = upgrades[0].lower()


def authenticates_connection(request: ParsedRequest) -> bool:
    """Whether the request's credentials authenticate the connection, as NTLM's and Kerberos' do."""
    return any(entry.kind is Kind.AUTHORIZATION and names_connection_scheme(entry.value) for entry in request.special)


def came_by_proxy(request: ParsedRequest) -> bool:
    """Whether the request has a field that a proxy adds; browsers never send one."""
    return any(
        entry.kind in (Kind.FORWARDED, Kind.PLACE, Kind.VOUCHED) or entry.name.lower() == b"via"
        for entry in request.entries
    )


def judge_partial(data: bytes, end: int, limit: int) -> None:
    """Refuse a head that is wrong already before all of it has arrived. `end` is where it ends, or negative. Raises a Refusal."""
    # TLS on a plain port, a method longer than any, and all else that is no HTTP are refused at once.
    if _OPENING.match(data) is None:
        raise MalformedRequest("no HTTP")
    # The beginning of the empty line that ends a head does not count: the limit is the same when bytes arrive one by one (B-50).
    if end > 0 or len(data) > limit + 3:
        line_end = data.find(b"\r\n")
        raise TargetTooLong("request line") if line_end < 0 or line_end > limit else HeadTooLarge("head")
    # SECURITY: a bare LF ends a line for some servers and not for others (B-13).
    if data.count(b"\n") != data.count(b"\r\n"):
        raise MalformedRequest("bare LF")


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The field lines whose names are not in `names`, which are in lower case."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def parse_host(value: bytes) -> tuple[str, str]:
    """`(name, port)` of a Host value: lower case, without a trailing dot; port "" when absent. Raises MalformedRequest (B-30)."""
    match = _HOST.fullmatch(value)
    if match is None or (match[1] and int(match[1]) > 65535):
        raise MalformedRequest("Host")
    port = match[1].decode() if match[1] else ""
    name = value[: -len(port) - 1] if port else value
    name = name.lower().removesuffix(b".")
    if not name or name.endswith(b"."):
        raise MalformedRequest("Host")
    return name.decode(), port
