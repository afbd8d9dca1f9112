"""What follows from the fields of a connection's last request, kept while they repeat.

A client repeats its fields, byte for byte, request after request: session, site, lines for the upstream. None of that is computed twice.
Everything here follows from the fields of one `ParsedRequest` alone (`entries` is the list they were read into), so it is dropped as soon as
other fields come, and nothing of it outlives the connection.
"""

from collections.abc import Callable
from typing import Final

from gateway.bearer.presented import BearerToken, presented_in
from gateway.errors.requests import UnknownHost
from gateway.gate.site import Route, Site, is_forward_auth
from gateway.http.field_cache import Field
from gateway.http.header_policy import Kind
from gateway.http.request_head import ParsedRequest, read_again
from gateway.proxy.context import ProxyContext

_REMEMBERED: Final = 4096  # bytes: the longest head that is kept to be recognised


def _never(line: bytes) -> Route | None:
    """Of no site, no request line was judged before."""
    return None


class HeadMemo:
    """`key` is the session key of the cookie, `other_cookies` what the upstream gets of it, `request_id` the client's own X-Request-Id.
    `token` is an access token that is or may be ours; `token_alone`: no other field could hold credentials.
    `client` is the client's address as a trusted proxy tells it; empty until it is read.

    `fields` are the lines for the upstream once they were written, and `route_of_line` finds the route of a request line of the site that was
    judged before; both stay empty until a request with these fields was admitted.
    """

    __slots__ = (
        "_before",
        "_cookies",
        "_host",
        "_limit",
        "_line_limit",
        "block",
        "client",
        "entries",
        "fields",
        "key",
        "other_cookies",
        "request_id",
        "route_of_line",
        "site",
        "token",
        "token_alone",
    )

    def __init__(self, limit: int) -> None:
        """`limit`: bytes, of a head."""
        self.block = b""  # the fields as they came, from the end of the request line on, where they may come again
        self._before: ParsedRequest | None = None
        self._limit = limit
        self._line_limit = 0
        self.site: Site | None = None
        self.entries: list[Field] | None = None
        self.fields = b""
        self.client = ""
        self.key: str | None = None
        self.other_cookies: list[bytes] = []
        self.request_id: str | None = None
        self.route_of_line: Callable[[bytes], Route | None] = _never
        self.token: BearerToken | None = None
        self.token_alone = False
        self._host = b""
        self._cookies: list[bytes] | None = None

    def keep(self, request: ParsedRequest, head: bytes) -> None:
        """The request that came last, and its head."""
        self.block = b""
        if request.repeatable and len(head) <= _REMEMBERED:
            self.block, self._before = head[head.index(b"\r\n") :], request
            self._line_limit = self._limit - len(self.block)

    def again(self, line: bytes) -> tuple[ParsedRequest, Route | None] | None:
        """The request of `line` and `block`, and its route if its line was judged before. None: that is not one request.

        The ParsedRequest of the request before is used again. Raises a Refusal.
        """
        request = self._before
        if request is None or len(line) > self._line_limit:
            return None
        route = self.route_of_line(line)
        if route is not None:
            request.line, request.method, request.target = line, route.method, route.target
        elif b"\n" in line or not line.endswith(b" HTTP/1.1"):
            return None
        else:
            request = self._before = read_again(line, request)
        return request, route

    def read(self, context: ProxyContext, request: ParsedRequest, *, trusted: bool) -> None:
        """Raises MalformedRequest or UnknownHost. There is no site where a trusted proxy asks `/oauth2/auth` under a Host that is no app's."""
        self.forget()
        self.request_id = context.request_id(request)
        site = self.site
        if site is None or request.host != self._host:
            self.site = None
            try:
                self.site = site = context.site(request.host)
            except UnknownHost:
                if trusted and is_forward_auth(request.target):
                    return
                raise
            self._host, self._cookies = request.host, None
        if request.cookies != self._cookies:
            split = site.cookie.split(request.cookies)
            self.key = context.key_of(split.token) if split.token is not None else None
            self.other_cookies = split.others
            self._cookies = request.cookies
        if request.authorization and site.app.bearer is not None:
            self._read_token(request, site)
        self.entries = request.entries

    def _read_token(self, request: ParsedRequest, site: Site) -> None:
        sent = [entry for entry in request.special if entry.kind is Kind.AUTHORIZATION]
        values = [entry.value for entry in sent if entry.name.lower() == b"authorization"]
        opaque = site.app.bearer is not None and site.app.bearer.introspection is not None
        self.token = presented_in(values, site.token_issuers, opaque=opaque)
        self.token_alone = len(sent) == 1

    def forget(self) -> None:
        """Other fields are coming."""
        # SECURITY: what was written for other fields must never be sent with these (B-54).
        self.entries, self.fields, self.route_of_line, self.client = None, b"", _never, ""
        self.token = None
