"""The methods and paths that a body names: `_method=DELETE` in a form makes a DELETE of a POST, in many frameworks.

Forms are read as Rails, Symfony and ASP.NET read them, JSON as Laravel does (a `_method` beside the other keys); a body without a media type
is a form, as it is to Rack. A body that servers could read in several ways raises `Unreadable`: the caller then judges the request by every
method, and by every path that a form can name. docs/threats.md B-35, C-66, C-67. Pure.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from gateway.config.values import METHODS
from gateway.errors.requests import BadRequest
from gateway.http.message import RequestHead
from gateway.policy.bodies import Fields, Unreadable, name_of, read_body, read_form
from gateway.policy.methods import OVERRIDE_NAMES, overrides_in

BodyKind = Literal["form", "multipart", "json", "other"]

#: The methods that a form may name where it is not read, besides those of the rules.
USUAL: Final = frozenset(("PUT", "PATCH", "DELETE"))
_PART_HEAD: Final = 1024
_DISPOSITION = re.compile(rb"disposition", re.IGNORECASE)
_MEDIA_TYPE = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_CHARSET = re.compile(rb"charset[^=;]*=[\s\"']*([^\s;,\"']*)")
_BOUNDARY = re.compile(rb"boundary=[\"']?[^\s\"';,]")
#: Charsets in which ASCII letters are ASCII bytes, so that no name is hidden in them.
_PLAIN_CHARSET = re.compile(rb"utf-?8|(?:us-)?ascii|iso-8859-[0-9]{1,2}|latin1|windows-125[0-9]|")
_NAME = re.compile(rb"name=([^;]*)")
_MASKED = re.compile(rb"(?<!file)name\*|=\?")
_DECORATION: Final = b" \t\r\n\\\"'"


def kind_of(head: RequestHead) -> BodyKind:
    """The kind of the body to an upstream that is lenient about media types. Raises Unreadable for more than one."""
    values = head.values(b"content-type")
    if len(values) > 1:
        raise Unreadable("the body has several Content-Types")
    content_type = values[0].lower() if values else b""
    kinds: tuple[tuple[bytes, BodyKind], ...] = (
        (b"urlencoded", "form"),
        (b"url-encoded", "form"),  # application/x-url-encoded is one to werkzeug up to version 2
        (b"multipart", "multipart"),
        (b"json", "json"),
    )
    found: set[BodyKind] = {kind for word, kind in kinds if word in content_type}
    if len(found) > 1:
        raise Unreadable("the body has a Content-Type of two kinds")
    media_type = content_type.partition(b";")[0].strip()
    # SECURITY: Rack takes a POST without a media type for a form (C-67).
    kind: BodyKind = found.pop() if found else "other" if _MEDIA_TYPE.fullmatch(media_type) else "form"
    # SECURITY: parts that nothing divides are a plain form to Rack (C-67).
    if kind == "multipart" and _BOUNDARY.search(content_type) is None:
        kind = "form"
    # SECURITY: in UTF-16 or EBCDIC `_method` has other bytes than those that are looked for (C-67).
    charsets = _CHARSET.findall(content_type)
    if kind != "other" and (
        len(charsets) != content_type.count(b"charset") or not all(map(_PLAIN_CHARSET.fullmatch, charsets))
    ):
        raise Unreadable("the body is in a charset that hides names")
    return kind


def may_be_form(head: RequestHead) -> bool:
    """Whether some server reads parameters from the body. Raises Unreadable where that depends on the server."""
    return kind_of(head) in ("form", "multipart")


def form_fields(head: RequestHead, body: bytes, wanted: Iterable[str]) -> Fields:
    """The fields of a form. Raises Unreadable; of parts already when one may be `wanted`, whose value would depend on the reader."""
    kind = kind_of(head)
    _refuse_packed(head)
    if kind == "form":
        return _fields(body)
    if kind == "multipart":
        names = {name.replace("_", "") for name in wanted}
        for part in _parts(body):
            found = [name_of(name.partition(b"\x00")[0].decode("utf-8", "replace")) for name in _NAME.findall(part)]
            if any(name.replace("_", "") in names for name in found):
                raise Unreadable("a part of the form may name another path")
    return []


def methods_in_body(head: RequestHead, body: bytes) -> frozenset[str]:
    """The methods, besides its own, that the request's body names. Raises Unreadable."""
    kind = kind_of(head)
    if kind == "other":
        return frozenset()
    _refuse_packed(head)
    if kind == "form":
        return overrides_in(_fields(body)) & METHODS
    return _in_multipart(body) if kind == "multipart" else _in_json(body)


def _refuse_packed(head: RequestHead) -> None:
    # SECURITY: a compressed body is another body to the application (B-35).
    if head.first(b"content-encoding") is not None:
        raise Unreadable("the body has a Content-Encoding")


def _fields(body: bytes) -> Fields:
    try:
        return read_form(body)
    except BadRequest as error:
        raise Unreadable("the form has too many fields") from error


def _in_multipart(body: bytes) -> frozenset[str]:
    """Raises Unreadable when a part could be the field; which method it names would depend on the reader."""
    if any(b"method" in part for part in _parts(body)):
        raise Unreadable("a part of the form may name another method")
    return frozenset()


def _parts(body: bytes) -> list[bytes]:
    """What stands in the head of each part, without case, blanks and quotes. Raises Unreadable where a name may be hidden."""
    # SECURITY: boundaries, folds and quotes are read in many ways; all text after a Content-Disposition is searched (B-35).
    parts = []
    for found in _DISPOSITION.finditer(body):
        part = re.split(rb"\r?\n\r?\n", body[found.end() : found.end() + _PART_HEAD], maxsplit=1)
        plain = part[0].translate(None, _DECORATION).lower()
        if len(part) == 1 or _MASKED.search(plain):
            raise Unreadable("a part of the form may have another name than it seems")
        parts.append(plain)
    return parts


def _in_json(body: bytes) -> frozenset[str]:
    # SECURITY: JSON in UTF-16 has a NUL beside each letter, and Laravel reads `_method` in it all the same (C-67).
    if b"\x00" in body:
        raise Unreadable("the JSON is not UTF-8")
    if b"method" not in body.lower() and b"\\u" not in body:
        return frozenset()
    fields = [(name, value) for name, value in read_body("json", body) if name in OVERRIDE_NAMES]
    return overrides_in(fields) & METHODS
