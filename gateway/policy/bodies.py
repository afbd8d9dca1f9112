"""The fields of a query and of a body, parsed so strictly that no upstream can read others.

The invariant: a body that all servers read alike is parsed, any other raises `Unreadable`; nothing is guessed or skipped. Queries cannot
be refused as easily, so `read_query` returns every field of every reading. Names are compared without case, and all separators are one
(`Coworker.Password`, `coworker[password]`, `Coworker_Password`): the upstreams are .NET, PHP, Rails.
WHATWG URL (application/x-www-form-urlencoded), RFC 8259 (JSON), deploy/guides/nexudus.md. Pure.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NoReturn
from urllib.parse import unquote_to_bytes

from gateway.errors.requests import BadRequest
from gateway.http.message import RequestHead
from gateway.policy.paths import casefold

#: (name as compared, value as sent)
Fields = Sequence[tuple[str, str]]
BodyKind = Literal["form", "json"]

_DEEPEST: Final = 32
_LONGEST_NAME: Final = 256  # with the names of the objects around it
_MOST_PARAMETERS: Final = 1000  # as PHP, ASP.NET and Express have it
_MOST_FOLDED: Final = 4096  # characters of names that are not ASCII, in all readings of a query together
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_SEPARATORS = re.compile(r"[\W_]+")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_INVISIBLE = re.compile(r"[\x00-\x20\x7f]+")
_UTF16_ESCAPE = re.compile(rb"%[uU]([0-9A-Fa-f]{4})")
_ESCAPE_LEFT = re.compile(r"%[0-9A-Fa-f]{2}|%u[0-9A-Fa-f]{4}|[\x00-\x1f\x7f]")


class Unreadable(Exception):
    """A body that two servers could read in two ways. The text is for the log."""


def name_of(text: str) -> str:
    """A field's name as it is compared."""
    return _SEPARATORS.sub("_", casefold(text)).strip("_")


def value_of(text: str) -> str:
    """A field's value as it is compared."""
    return _INVISIBLE.sub("", casefold(text))


def names_field(name: str, wanted: str) -> bool:
    """Whether `name` is the field `wanted`, at any depth (`coworker_password` is a `password`)."""
    return name == wanted or name.endswith("_" + wanted)


def read_query(query: bytes | None) -> Fields:
    """Every field of every reading of a query: `&` and `;` separate, escapes are decoded once, and twice, `%u006f` too; NUL ends a name or not.

    Raises BadRequest for more parameters than any upstream reads, and for names that are too long.
    """
    return _last_query(query or b"")


def read_form(body: bytes) -> Fields:
    """The same of a form. Raises BadRequest."""
    return _read(body)


def refuse_too_many(query: bytes) -> None:
    """Raises BadRequest for more parameters than any upstream reads."""
    # SECURITY: read in every way, 63 KB of parameters would keep a worker busy for half a second (B-35).
    if query.count(b"&") + query.count(b";") >= _MOST_PARAMETERS:
        raise BadRequest(f"more than {_MOST_PARAMETERS} parameters")


def _read(query: bytes) -> Fields:
    refuse_too_many(query)
    found: list[tuple[bytes, bytes]] = []
    for part in re.split(rb"[&;]", query):
        once = unquote_to_bytes(part.replace(b"+", b" "))
        readings = {part, once, unquote_to_bytes(once)}
        if b"%u" in once or b"%U" in once:
            # SECURITY: `%u006f` is an `o` to IIS and ASP.NET, in names and values (C-67).
            readings.update(unquote_to_bytes(_UTF16_ESCAPE.sub(_utf16, reading)) for reading in tuple(readings))
        for reading in readings:
            name, _, value = reading.partition(b"=")
            if name:
                found.append((name, value))
                # SECURITY: PHP ends a name at NUL: `_method%00x` is `_method` (C-67).
                if b"\x00" in reading:
                    found.append((name.partition(b"\x00")[0], value.partition(b"\x00")[0]))
    named = [(_text(name), _text(value)) for name, value in found]
    # SECURITY: the letters of one character may be eighteen (U+FDFA), so what is folded is bounded before it is (B-35).
    if sum(len(name) for name, _ in named if not name.isascii()) > _MOST_FOLDED:
        raise BadRequest("the parameters' names are longer than any honest ones")
    return tuple((name_of(name), value) for name, value in named)


#: The query of the request at hand is asked for by the rules, its methods, the readings of its path and the password routes: it is read once.
_last_query: Final = lru_cache(maxsize=1)(_read)


def _utf16(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")


def has_body(head: RequestHead, body: bytes | None) -> bool:
    """Whether the request has content: by `body` where it was read, else by the head (RFC 9112 section 6.3)."""
    if body is not None:
        return bool(body)
    return head.first(b"transfer-encoding") is not None or any(
        value.strip(b" 0") for value in head.values(b"content-length")
    )


def body_kind(head: RequestHead) -> BodyKind:
    """The kind of the body, by its head. Raises Unreadable for anything but one plain form or JSON in UTF-8."""
    # SECURITY: an upstream that decodes, decompresses or relabels the body reads another body than this one (C-12).
    if head.first(b"content-encoding") is not None:
        raise Unreadable("the body has a Content-Encoding")
    values = head.values(b"content-type")
    if len(values) != 1:
        raise Unreadable("the body has no Content-Type, or several")
    media_type, *parameters = (part.strip() for part in values[0].decode("latin-1").lower().split(";"))
    _refuse_charset(part for part in parameters if part)
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    kind, _, subtype = media_type.partition("/")
    if (
        kind in ("application", "text")
        and (subtype == "json" or subtype.endswith("+json"))
        and _TOKEN.fullmatch(subtype)
    ):
        return "json"
    raise Unreadable(f"the body is {media_type[:100]!r}")


def read_body(kind: BodyKind, body: bytes) -> Fields:
    """The body's fields. Raises Unreadable."""
    return _read_form(body) if kind == "form" else _read_json(body)


def _refuse_charset(parameters: Iterable[str]) -> None:
    seen = False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if not _TOKEN.fullmatch(name) or '"' in value.strip('"') or "," in value:
            raise Unreadable("the Content-Type is malformed")
        if name.partition("*")[0] == "charset":
            if seen or name != "charset" or value.strip('"') not in ("utf-8", "utf8"):
                raise Unreadable("the body is not declared as UTF-8")
            seen = True


def _read_form(body: bytes) -> Fields:
    # SECURITY: `;` separates for some servers, an object or array is JSON to those that look for themselves (C-12).
    if b";" in body:
        raise Unreadable("the form holds a bare ';'")
    if body.lstrip()[:1] in (b"{", b"[", b"<") or body.startswith(b"\xef\xbb\xbf"):
        raise Unreadable("the form is something else")
    if _BAD_ESCAPE.search(body):
        raise Unreadable("the form holds an escape that is none")
    found: list[tuple[str, str]] = []
    parts = body.split(b"&")
    if len(parts) > _MOST_PARAMETERS:
        raise Unreadable("the form has too many fields")
    for part in parts:
        name, _, value = (_strict(piece) for piece in part.partition(b"="))
        if len(name) > _LONGEST_NAME or _ESCAPE_LEFT.search(name):
            raise Unreadable("the form holds an encoded name, or one that is too long")
        if part:
            found.append((name_of(name), value))
    return found


def _strict(piece: bytes) -> str:
    try:
        return unquote_to_bytes(piece.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable("the form is not UTF-8") from error


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def _read_json(body: bytes) -> Fields:
    # SECURITY: of two equal keys some readers take the first and some the last; NaN, comments and a BOM are read or refused (C-12).
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the body is not strict JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise Unreadable("the body is not a JSON object")
    return list(_walk(value))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if any(len(name) > _LONGEST_NAME for name, _ in pairs):
        raise Unreadable("the JSON has names that are too long")
    if len({casefold(name).strip() for name, _ in pairs}) != len(pairs):
        raise Unreadable("the JSON has a key twice")
    return dict(pairs)


def _refuse_constant(text: str) -> NoReturn:
    raise Unreadable(f"the JSON holds {text}")


def _walk(value: Any) -> Iterator[tuple[str, str]]:
    """Every value with its path; names within a list carry no number. Empty values and null are empty texts."""
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        path, found, depth = waiting.pop()
        # SECURITY: a long name above many short ones would be held once for each of them: 64 KiB became 130 MB and seconds (C-12).
        if depth > _DEEPEST or len(path) > _LONGEST_NAME:
            raise Unreadable("the JSON is nested too deeply, or its names are too long")
        if isinstance(found, dict):
            waiting.extend((f"{path}_{name_of(name)}".strip("_"), member, depth + 1) for name, member in found.items())
        elif isinstance(found, list):
            waiting.extend((path, member, depth + 1) for member in found)
        if path:
            yield path, _scalar(found)


def _scalar(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
