"""The app filter of `responses`: pages get a style that hides elements, and the cookies of `drop_cookies` are removed.

Only documents are changed, which a browser shows as a page or in a frame; a script that fetches a piece of HTML gets it
unchanged. A changed page differs from the upstream's: its validators, ranges and digests would be wrong, so they are removed in
both directions, and its length is not known before its end. The request asks for no content coding; gzip and deflate are decoded
if they come all the same. RFC 9110 sections 8.4 (codings), 8.8 (validators), 13 and 14 (conditions, ranges); RFC 9530 (digests).
"""

import logging
import re
from collections.abc import Sequence
from typing import Final

from gateway.config.sections.responses import Responses
from gateway.gate.decision import Forward, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead, is_navigation
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.filters import BodyFilter, FilterControl, ResponseFilter, UpstreamRequest, values_of
from gateway.rewriting.coding import Decoder, can_decode
from gateway.rewriting.cookie_names import CookieNames
from gateway.rewriting.prolog import StyleInserter
from gateway.rewriting.style import HidingStyle

_log = logging.getLogger("doorward.proxy")
_SHOWN: Final = frozenset((b"document", b"iframe", b"frame", b"embed", b"object", b"fencedframe"))
_CONDITIONS: Final = frozenset((b"accept-encoding", b"if-none-match", b"if-modified-since", b"if-range", b"range"))
_ABOUT_THE_BYTES: Final = frozenset(
    (b"etag", b"last-modified", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest")
)
_POLICIES: Final = (b"content-security-policy", b"content-security-policy-report-only")
_HTML = re.compile(rb"text/html[\t ]*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_WIDE_CHARSET = re.compile(rb"charset[\t ]*=[\t \"']*(?:utf-?(?:16|32)|ucs-?[24]|unicode|iso-10646)", re.IGNORECASE)


class ResponseRewriter:
    """Rewrites the responses of one app."""

    def __init__(self, app: str, config: Responses) -> None:
        self._app = app
        self._style = HidingStyle(config.hide) if config.hide else None
        self._dropped_cookies = CookieNames(config.drop_cookies)
        self._warned: set[bytes] = set()

    def on_request(
        self, control: FilterControl, request: Request[ParsedRequest], decision: Forward, outgoing: UpstreamRequest
    ) -> ResponseFilter:
        """Drop cookies, and request a page in a form that can be changed."""
        outgoing.cookies = self.cookies(outgoing.cookies)
        page = self.is_page(request.head)
        if page:
            outgoing.head.lines = self.request_lines(outgoing.head.lines)
        return lambda response, has_body: self.response(response, page=page, has_body=has_body)

    def on_refusal(self, control: FilterControl, request: Request[ParsedRequest], refused: Refuse) -> bool:
        """Refusals are never changed."""
        return False

    def is_page(self, request: RequestHead) -> bool:
        """Whether the response to this request may be changed."""
        if self._style is None:
            return False
        destination = request.first(b"sec-fetch-dest")
        return is_navigation(request) if destination is None else destination in _SHOWN

    def request_lines(self, lines: Sequence[bytes]) -> list[bytes]:
        """The header lines of a request for a complete page without a coding."""
        kept = [line for line in lines if line.partition(b":")[0].lower() not in _CONDITIONS]
        return [*kept, b"Accept-Encoding: identity"]

    def cookies(self, values: Sequence[bytes]) -> list[bytes]:
        """`Cookie` values without the dropped cookies, which a browser may have from before the setting."""
        return self._dropped_cookies.without(values) if self._dropped_cookies else list(values)

    def response(self, response: ParsedResponse, *, page: bool, has_body: bool) -> BodyFilter | None:
        """Change the response head; the filter for the body, or None."""
        if self._dropped_cookies:
            response.lines = [line for line in response.lines if not self._sets_dropped_cookie(line)]
        if self._style is None or not page or not _is_html(response):
            return None
        coding = b",".join(values_of(response.lines, b"content-encoding")).strip().lower()
        if coding not in (b"", b"identity") and not can_decode(coding):
            self._warn(coding)
            return None
        response.lines = [line for line in map(self._rewrite_line, response.lines) if line]
        response.length_line = b""
        if not has_body:
            return None
        inserter = StyleInserter(self._style.element)
        return inserter if coding in (b"", b"identity") else Decoded(Decoder(coding), inserter)

    def _rewrite_line(self, line: bytes) -> bytes:
        """A header line of a changed page; empty when it is removed."""
        name, _, value = line.partition(b":")
        low = name.lower()
        if low in _ABOUT_THE_BYTES or low == b"content-encoding":
            return b""
        if low in _POLICIES and self._style is not None:
            return name + b": " + self._style.allow(value.strip(b" \t"))
        return line

    def _sets_dropped_cookie(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        return name.lower() == b"set-cookie" and value.partition(b"=")[0].strip(b" \t") in self._dropped_cookies.exact

    def _warn(self, coding: bytes) -> None:
        if coding not in self._warned and len(self._warned) < 8:
            self._warned.add(coding)
            text = "%s: a page came with Content-Encoding %.40r although none was asked for: nothing in it is hidden"
            _log.warning(text, self._app, coding.decode("latin-1"))


class Decoded:
    """A body filter that decodes a coding before another filter."""

    def __init__(self, decoder: Decoder, then: BodyFilter) -> None:
        self._decoder = decoder
        self._then = then

    def feed(self, data: bytes) -> bytes:
        return self._then.feed(self._decoder.feed(data))

    def end(self) -> bytes:
        return self._decoder.end() + self._then.end()


def _is_html(response: ParsedResponse) -> bool:
    """Whether it is a complete page, in a character encoding that extends ASCII, and not a download."""
    if response.status in (204, 205, 206, 304):
        return False
    kinds = values_of(response.lines, b"content-type")
    if len(kinds) != 1 or not _HTML.fullmatch(kinds[0]) or _WIDE_CHARSET.search(kinds[0]):
        return False
    saved = values_of(response.lines, b"content-disposition")
    return not any(value.lower().startswith(b"attachment") for value in saved)
