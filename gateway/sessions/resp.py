"""The replies of a Redis server (RESP2), as `reader` needs them: what is no reply, or too long for one, is Unclear."""

from typing import Any, Final, NamedTuple

from gateway.sessions.records import MAX_RECORD

_LONGEST_REPLY: Final = MAX_RECORD + 1024
_STATUS, _ERROR, _NUMBER, _BULK, _ARRAY = b"+-:$*"
_NUMBERED: Final = (_BULK, _NUMBER, _ARRAY)
_DEEPEST: Final = 4  # arrays in arrays: HELLO has two levels


class Unclear(Exception):
    """Bytes that are no reply."""


class ErrorReply(NamedTuple):
    """What Redis says went wrong; only the library reads it."""

    text: bytes


def parse_reply(data: bytes, at: int, deep: int = 0) -> tuple[Any, int] | None:
    """The RESP2 reply that begins at `at`, and where it ends; None while it is not complete. Raises Unclear."""
    end = data.find(b"\r\n", at)
    if end < 0:
        if len(data) - at > _LONGEST_REPLY:
            raise Unclear
        return None
    kind, text, next_at = data[at], data[at + 1 : end], end + 2
    if kind in _NUMBERED:
        if not (text.isdigit() or (text[1:].isdigit() and text[:1] == b"-")):
            raise Unclear
        number = int(text)
        if kind == _NUMBER:
            return number, next_at
        if number == -1:
            return None, next_at
        if number < 0 or number > _LONGEST_REPLY:
            raise Unclear
        if kind == _ARRAY:
            return _parse_array(data, next_at, number, deep + 1)
        stop = next_at + number
        if len(data) < stop + 2:
            return None
        if data[stop : stop + 2] != b"\r\n":
            raise Unclear
        return data[next_at:stop], stop + 2
    if kind == _STATUS:
        return text, next_at
    if kind == _ERROR:
        return ErrorReply(text), next_at
    raise Unclear


def _parse_array(data: bytes, at: int, length: int, deep: int) -> tuple[Any, int] | None:
    if deep > _DEEPEST:
        raise Unclear
    found: list[Any] = []
    for _ in range(length):
        parsed = parse_reply(data, at, deep)
        if parsed is None:
            return None
        value, at = parsed
        found.append(value)
    return found, at


def command(*words: bytes) -> bytes:
    """One command on the wire."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
