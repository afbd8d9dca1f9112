"""Request and response heads: the C parser's reading, made stricter.

The caller finds where a head ends (the first empty line) and hands over exactly that; so limits are exact, the raw request
line can be compared with what was parsed, and nothing of the next message is ever swallowed. What httptools accepts and we do
not is refused here: versions other than 1.0 and 1.1, two blanks, `#`, transfer codings other than chunked, a transfer coding
over HTTP/1.0, lengths with leading zeros, two Host fields, methods outside the registry.
RFC 9112 sections 2 to 7; facts/security.md section 0 F3, F5 and B-10 to B-13, B-30.
"""

import re
from typing import Final

import httptools

from gateway.errors import (
    BadRequest,
    CodingNotImplemented,
    ExpectationFailed,
    HeadTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    UpstreamFault,
    VersionNotSupported,
)
from gateway.message import RequestHead
from gateway.proxy.headers import RESPONSE_DROP, FieldKinds, Kind, connection_options

_HOST = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} ")
_METHODS: Final = frozenset(
    (
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",
        "SEARCH", "REPORT", "MKCALENDAR", "MKACTIVITY", "CHECKOUT", "MERGE", "ACL", "BIND", "REBIND", "UNBIND", "LINK", "UNLINK",
        "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",
    )
)  # fmt: skip


class ParsedRequest(RequestHead):
    """A request head, judged sound. `lines` holds the bytes of the fields that travel, `special` the others."""

    __slots__ = (
        "chunked",
        "content_encoding",
        "cookies",
        "expects_continue",
        "keep_alive",
        "length",
        "lines",
        "sized",
        "special",
        "upgrade",
    )

    def __init__(self) -> None:
        super().__init__("", b"", b"", [])
        self.lines: list[bytes] = []
        self.special: list[tuple[Kind, bytes, bytes]] = []
        self.cookies: list[bytes] = []
        self.content_encoding = False
        self.expects_continue = False
        self.keep_alive = True
        self.length = 0
        self.sized = False  # Content-Length was there, be it 0
        self.chunked = False
        self.upgrade: bytes | None = None

    @property
    def has_body(self) -> bool:
        return self.chunked or self.length > 0


class RequestParser:
    """Parses the heads of one client connection."""

    __slots__ = ("_complete", "_kinds", "_max_fields", "_parser", "_request", "_seen_host")

    def __init__(self, kinds: FieldKinds, max_fields: int) -> None:
        self._kinds = kinds
        self._max_fields = max_fields
        self._parser: httptools.HttpRequestParser | None = None

    def parse(self, head: bytes, line_end: int) -> ParsedRequest:
        """The request whose head is exactly `head`; its first line ends at `line_end`. Raises a Refusal."""
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        request = self._request = ParsedRequest()
        self._complete = False
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._parser = None
        except httptools.HttpParserInvalidMethodError as error:
            kind = CodingNotImplemented if _METHOD.match(head) else MalformedRequest
            raise kind("unknown method") from error
        except httptools.HttpParserCallbackError as error:
            self._parser = None
            if isinstance(error.__context__, HeadTooLarge):
                raise error.__context__ from None
            raise MalformedRequest(f"head refused: {error.__context__!r}") from error
        except httptools.HttpParserError as error:
            raise self._fault(head[:line_end], error) from error
        if not self._complete:
            self._parser = None  # a body follows: it is ours to frame, and this parser would wait for it
        request.method = parser.get_method().decode()
        request.version = parser.get_http_version()
        self._judge(request, head[:line_end])
        return request

    # --- callbacks of the C parser ---

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._request
        request.fields.append((name, value))
        if len(request.fields) > self._max_fields:
            raise HeadTooLarge(f"more than {self._max_fields} fields")
        kind = self._kinds.of(name)
        if kind is Kind.FORWARD:
            request.lines += (name, b": ", value, b"\r\n")
        elif kind is Kind.COOKIE:
            request.cookies.append(value)
        elif kind is Kind.HOST:
            request.host = value
            request.special.append((kind, name, value))
        else:
            request.special.append((kind, name, value))

    def on_message_complete(self) -> None:
        self._complete = True

    # --- what the C parser leaves to us ---

    @staticmethod
    def _fault(line: bytes, error: Exception) -> Exception:
        version = line.rsplit(b" ", 1)[-1]
        if version.startswith(b"HTTP/") and version not in (b"HTTP/1.1", b"HTTP/1.0"):
            return VersionNotSupported("version on the request line")
        if "Transfer-Encoding" in str(error):
            return CodingNotImplemented("transfer coding")
        return MalformedRequest(f"parser: {type(error).__name__} {error}")

    def _judge(self, request: ParsedRequest, line: bytes) -> None:
        method, target = request.method, request.target
        if request.version not in ("1.1", "1.0"):
            raise VersionNotSupported(f"HTTP/{request.version}")
        # SECURITY: two blanks, a tab or a missing version split a line differently in other servers (C-14).
        if line != b"%b %b HTTP/%b" % (method.encode(), target, request.version.encode()):
            raise MalformedRequest("request line")
        if method not in _METHODS:
            if method in ("CONNECT", "TRACE"):
                raise MethodNotAllowed(method)
            raise CodingNotImplemented(f"method {method}")
        self._judge_special(request)
        if request.version == "1.0":
            request.keep_alive = False
        if not request.host and request.version == "1.1":
            raise MalformedRequest("no Host")
        if request.upgrade is not None and request.has_body:
            raise MalformedRequest("an upgrade with a body")

    def _judge_special(self, request: ParsedRequest) -> None:
        hosts = lengths = codings = 0
        upgrades: list[bytes] = []
        connection: list[bytes] = []
        for kind, _, value in request.special:
            if kind is Kind.HOST:
                hosts += 1
            elif kind is Kind.CONNECTION:
                connection.append(value)
            elif kind is Kind.CONTENT_LENGTH:
                lengths += 1
                request.sized = True
                request.length = _parse_length(value)
            elif kind is Kind.TRANSFER_ENCODING:
                codings += 1
                request.chunked = _parse_coding(value, request.version)
            elif kind is Kind.UPGRADE:
                upgrades.append(value)
            elif kind is Kind.EXPECT:
                if value.lower() != b"100-continue":
                    raise ExpectationFailed("Expect")
                request.expects_continue = True
            elif kind is Kind.AUTHORIZATION:
                request.authorization = True
            elif kind is Kind.CONTENT_ENCODING:
                request.content_encoding = True
        if hosts > 1 or lengths > 1 or codings > 1 or (lengths and codings):
            raise MalformedRequest("Host, Content-Length or Transfer-Encoding more than once")
        if connection:
            self._judge_connection(request, connection_options(connection), upgrades)

    @staticmethod
    def _judge_connection(request: ParsedRequest, options: frozenset[bytes], upgrades: list[bytes]) -> None:
        if b"close" in options:
            request.keep_alive = False
        if b"upgrade" in options and upgrades:
            if len(upgrades) > 1 or b"," in upgrades[0]:
                raise MalformedRequest("more than one Upgrade")
            request.upgrade = upgrades[0].lower()
        # SECURITY: fields that a client names in Connection end here; what the gateway sets is added later and cannot be named away (B-48).
        named = options - {b"close", b"keep-alive", b"upgrade"}
        if named:
            request.lines = _without(request.lines, named)
            if b"cookie" in named or b"authorization" in named or b"host" in named:
                raise BadRequest("Connection names an end-to-end field")


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


def _parse_length(value: bytes) -> int:
    if not _LENGTH.fullmatch(value):
        raise MalformedRequest("Content-Length")
    return int(value)


def _parse_coding(value: bytes, version: str) -> bool:
    if version != "1.1":
        raise MalformedRequest("Transfer-Encoding over HTTP/1.0")
    if value.lower() != b"chunked":
        raise CodingNotImplemented("transfer coding")
    return True


class ParsedResponse:
    """A response head, judged sound. `lines` holds the bytes of the fields that travel on."""

    __slots__ = ("_named", "chunked", "keep_alive", "length", "lines", "reason", "status", "upgrade")

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.lines: list[bytes] = []
        self.length: int | None = None
        self.chunked = False
        self.keep_alive = True
        self.upgrade: bytes | None = None
        self._named: frozenset[bytes] = frozenset()

    # --- callbacks of the C parser ---

    def on_status(self, reason: bytes) -> None:
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower not in RESPONSE_DROP:
            # SECURITY: an upstream that sets a cookie of ours could plant a session (C-36).
            if lower != b"set-cookie" or b"doorward_" not in value.partition(b"=")[0].lower():
                self.lines += (name, b": ", value, b"\r\n")
        elif lower == b"content-length":
            if not _LENGTH.fullmatch(value) or self.length is not None:
                raise UpstreamFault("Content-Length in the response")
            self.length = int(value)
        elif lower == b"transfer-encoding":
            if value.lower() != b"chunked" or self.chunked:
                raise UpstreamFault("Transfer-Encoding in the response")
            self.chunked = True
        elif lower == b"connection":
            self._options(value)
        elif lower == b"upgrade":
            self.upgrade = value.lower()

    def _options(self, value: bytes) -> None:
        options = connection_options([value])
        if b"close" in options:
            self.keep_alive = False
        self._named |= options - {b"close", b"keep-alive", b"upgrade"}

    def drop_named(self) -> None:
        """Fields that the upstream named in Connection were meant for us alone (RFC 9110 7.6.1)."""
        if self._named:
            self.lines = _without(self.lines, self._named)


def parse_response(head: bytes) -> ParsedResponse:
    """The response whose head is exactly `head`. Raises UpstreamFault."""
    response = ParsedResponse()
    parser = httptools.HttpResponseParser(response)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserCallbackError as error:
        raise UpstreamFault(f"response head refused: {error.__context__}") from error
    except httptools.HttpParserError as error:
        raise UpstreamFault(f"response head: {type(error).__name__} {error}") from error
    response.status = parser.get_status_code()
    version = parser.get_http_version()
    if version == "1.0":
        response.keep_alive = False
    elif version != "1.1":
        raise UpstreamFault(f"response in HTTP/{version}")
    if response.chunked and (response.length is not None or version == "1.0"):
        raise UpstreamFault("response framed twice")
    if response.status < 100 or response.status > 999:
        raise UpstreamFault("status code")
    response.drop_named()
    return response


def _without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Field lines, each of four parts, without those of the lower-cased `names`."""
    return [part for i in range(0, len(lines), 4) if lines[i].lower() not in names for part in lines[i : i + 4]]
