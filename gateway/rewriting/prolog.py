"""Inserts a style at the start of a page that arrives in pieces: after its `<head>`, before any content.

Pure. It parses the prolog only: white space, comments, the doctype, the start tags of html and head. The style goes before the
first token that is none of these, and all later bytes pass unchanged. The invariants: the page stays as it was, with the style in
it once or not at all; at most `LONGEST` bytes are buffered; the result does not depend on how the page is cut into pieces. WHATWG
HTML, sections 13.2.5 (tokenization) and 13.2.6.4.1 to 13.2.6.4.4 (where a style opens the head by itself).
"""

import re
from typing import Final

LONGEST: Final = 16 * 1024
_MARKS_OF_WIDE: Final = (b"\xfe\xff", b"\xff\xfe")  # UTF-16: ASCII would be garbage in it
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[\t\n\f\r ]*")
_SPACE_OR_SLASH = re.compile(rb"[\t\n\f\r /]*")
_ATTRIBUTE_NAME = re.compile(rb"=?[^\t\n\f\r />=]*")
_BARE_VALUE = re.compile(rb"[^\t\n\f\r >]*")
_TAG_NAME = re.compile(rb"[A-Za-z][^\t\n\f\r />]*")
_MORE: Final = -1  # more data is needed


class StyleInserter:
    """Call `feed` for each piece, then `end` once; the results together are the page."""

    def __init__(self, style: bytes) -> None:
        self._style = style
        self._held: bytes | None = b""  # None after the insertion
        self._at = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes of the page that can be passed on."""
        if self._held is None:
            return data
        held = self._held = self._held + data
        if held[:2] in _MARKS_OF_WIDE:
            return self._release()
        if held in (b"\xff", b"\xfe"):
            return b""
        while True:
            begin = self._at
            place = self._step(held, begin)
            if place is not None:
                self._held = None
                return held[:place] + self._style + held[place:]
            if self._at == begin:
                return self._release() if len(held) > LONGEST else b""

    def end(self) -> bytes:
        """The buffered bytes: a page with a prolog and nothing else needs no style."""
        return self._release() if self._held is not None else b""

    def _release(self) -> bytes:
        held, self._held = self._held or b"", None
        return held

    def _step(self, data: bytes, at: int) -> int | None:
        """Parse one token. The position of the style, if this token gives it; `_at` does not move when more data is needed."""
        if at == 0:
            if len(data) < 3 and _UTF8_MARK.startswith(data):
                return None
            at = 3 if data.startswith(_UTF8_MARK) else 0
        begin = skipped(_SPACE, data, at)
        if begin == len(data):
            self._at = begin if begin > 0 else self._at
            return None
        if data[begin : begin + 1] != b"<":
            return begin
        if len(data) < begin + 2:
            return self._on(begin)
        mark = data[begin + 1 : begin + 2]
        if mark in b"!?":
            end = comment_end(data, begin)
            return self._on(begin) if end == _MORE else self._on(end)
        return self._tag(data, begin)

    def _tag(self, data: bytes, begin: int) -> int | None:
        match = _TAG_NAME.match(data, begin + 1)
        if match is None:
            return begin  # an end tag, or text that begins with <
        if match.end() == len(data):
            return self._on(begin)
        name = match[0].lower()
        if name not in (b"html", b"head"):
            return begin
        end = tag_end(data, match.end())
        if end == _MORE:
            return self._on(begin)
        return end if name == b"head" else self._on(end)

    def _on(self, at: int) -> int | None:
        """Everything before `at` is parsed, and the style does not go there."""
        self._at = at
        return None


def skipped(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """The end of the match of `pattern` at `at`, which may be empty."""
    match = pattern.match(data, at)
    return match.end() if match is not None else at


def comment_end(data: bytes, begin: int) -> int:
    """The end of the comment, doctype or bogus comment that begins at `begin`; -1 when more data is needed."""
    if not data.startswith(b"<!--", begin):
        if b"<!--".startswith(data[begin:]):
            return _MORE
        return data.find(b">", begin) + 1 or _MORE
    for short in (b">", b"->"):
        if data.startswith(short, begin + 4):
            return begin + 4 + len(short)
    ends = [
        found + len(closing)
        for closing in (b"-->", b"--!>")
        if (found := data.find(closing, begin + 4)) >= 0
    ]  # fmt: skip
    return min(ends) if ends else _MORE


def tag_end(data: bytes, at: int) -> int:
    """The end of the start tag whose name ends at `at`; -1 when more data is needed. A `>` in a quoted value does not end it."""
    while True:
        at = skipped(_SPACE_OR_SLASH, data, at)
        if at >= len(data):
            return _MORE
        if data[at : at + 1] == b">":
            return at + 1
        at = skipped(_SPACE, data, skipped(_ATTRIBUTE_NAME, data, at))
        if data[at : at + 1] != b"=":
            if at >= len(data):
                return _MORE
            continue
        at = value_end(data, skipped(_SPACE, data, at + 1))
        if at == _MORE:
            return _MORE


def value_end(data: bytes, at: int) -> int:
    """The end of an attribute's value; -1 when more data is needed."""
    quote = data[at : at + 1]
    if quote == b"":
        return _MORE
    if quote in (b'"', b"'"):
        return data.find(quote, at + 1) + 1 or _MORE
    return skipped(_BARE_VALUE, data, at)  # an empty one before `>`, too
