"""The methods that a body asks for: `_method=DELETE` in a form makes a DELETE of a POST, in many frameworks.

Pure. Forms are read as Rails, Symfony and ASP.NET read them, JSON as Laravel does (a `_method` beside the other keys). What cannot be told for
certain is `Unreadable`: the caller then takes the request for every method. facts/security.md B-35.
"""

import re
from typing import Final, Literal

from gateway.config.values import METHODS
from gateway.errors import BadRequest
from gateway.message import RequestHead
from gateway.policy.bodies import Unreadable, read_body, read_query
from gateway.policy.methods import overrides_in

BodyKind = Literal["form", "multipart", "json", "other"]

#: The methods that a form is taken for where nobody reads it; a rule's own come on top.
USUAL: Final = frozenset(("PUT", "PATCH", "DELETE"))
_PART_HEAD: Final = 1024
_DISPOSITION = re.compile(rb"disposition", re.IGNORECASE)
_MASKED = re.compile(rb"(?<!file)name\*|=\?")
_DECORATION: Final = b" \t\r\n\\\"'"


def kind_of(head: RequestHead) -> BodyKind:
    """What the body may be to an upstream that is lenient about media types. Raises Unreadable for more than one."""
    values = head.values(b"content-type")
    if len(values) > 1:
        raise Unreadable("the body has several Content-Types")
    said = values[0].lower() if values else b""
    kinds: tuple[tuple[bytes, BodyKind], ...] = (
        (b"urlencoded", "form"),
        (b"multipart", "multipart"),
        (b"json", "json"),
    )
    found: set[BodyKind] = {kind for word, kind in kinds if word in said}
    if len(found) > 1:
        raise Unreadable("the body has a Content-Type of two kinds")
    return found.pop() if found else "other"


def asked_by_body(head: RequestHead, body: bytes) -> frozenset[str]:
    """The methods, besides its own, that the request's body asks for. Raises Unreadable."""
    kind = kind_of(head)
    if kind == "other":
        return frozenset()
    # SECURITY: what is unpacked on its way to the application is another body than this one (B-35).
    if head.first(b"content-encoding") is not None:
        raise Unreadable("the body has a Content-Encoding")
    if kind == "form":
        return _in_form(body)
    return _in_multipart(body) if kind == "multipart" else _in_json(body)


def _in_form(body: bytes) -> frozenset[str]:
    try:
        return overrides_in(read_query(body)) & METHODS
    except BadRequest as error:
        raise Unreadable("the form has too many fields") from error


def _in_multipart(body: bytes) -> frozenset[str]:
    """Raises Unreadable when a part could be the field; which method it names would depend on the reader."""
    # SECURITY: boundaries, folds and quotes are read in many ways; whatever stands behind a Content-Disposition is looked at (B-35).
    for found in _DISPOSITION.finditer(body):
        part = re.split(rb"\r?\n\r?\n", body[found.end() : found.end() + _PART_HEAD], maxsplit=1)
        plain = part[0].translate(None, _DECORATION).lower()
        if len(part) == 1 or b"method" in plain or _MASKED.search(plain):
            raise Unreadable("a part of the form may name another method")
    return frozenset()


def _in_json(body: bytes) -> frozenset[str]:
    if b"method" not in body.lower() and b"\\u" not in body:
        return frozenset()
    fields = [(name, value) for name, value in read_body("json", body) if name in ("method", "x_http_method_override")]
    return overrides_in(fields) & METHODS
