"""A request of `directory.kind: http`, filled in: each value escaped for the place where it stands.

Pure. A path takes a value as one segment, query and form as one percent-encoded value, JSON as a JSON value, a header as printable
ASCII. What is not known leaves its name out; in a path nothing can be left out, so that is an error.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gateway.config import schema
from gateway.config.directory_http import ABOUT_ACCOUNTS
from gateway.config.placeholders import Placeholder, parse
from gateway.directory.calls import Outgoing, form_bytes, json_bytes
from gateway.directory.person import Known, as_text, fill
from gateway.errors import DirectoryUnavailable

_LEFT_OUT: Final = object()


def outgoing(request: schema.HttpRequest, known: Known, headers: Mapping[str, str], *, write: bool) -> Outgoing:
    """Raises DirectoryUnavailable(rejected) for a value that its place cannot hold."""
    fields = {"Accept": "application/json", **_filled(request.headers, known), **headers}
    body = b""
    if request.json_ is not None:
        fields["Content-Type"], body = "application/json", json_bytes(_json(request.json_, known))
    elif request.form is not None:
        fields["Content-Type"], body = "application/x-www-form-urlencoded", form_bytes(_filled(request.form, known))
    for name, value in fields.items():
        # SECURITY: a line break in a claim would begin a header field of its own.
        if not (value.isascii() and value.isprintable()):
            raise DirectoryUnavailable("rejected", f"a value that the header field {name} cannot hold")
    return Outgoing(
        method=request.method,
        path=_path(request.path, known),
        headers=fields,
        query=_filled(request.query, known),
        body=body,
        write=write,
        repeatable=not write,
    )


def basic(username: str, password: str) -> str:
    """RFC 7617."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _path(text: str, known: Known) -> str:
    written = []
    for piece in parse(text, ABOUT_ACCOUNTS):
        if isinstance(piece, str):
            written.append(piece)
            continue
        value = fill(_text_of(piece), known, ABOUT_ACCOUNTS)
        # SECURITY: `../admin` or `1/roles` as somebody's name would be another resource.
        segment = quote(as_text(value), safe="") if value is not None else ""
        if segment in ("", ".", ".."):
            raise DirectoryUnavailable("rejected", f"the path {text} needs a value that is not known")
        written.append(segment)
    return "".join(written)


def _text_of(piece: Placeholder) -> str:
    return f"{{{'|'.join(piece.names)}{':' + piece.quoting if piece.quoting else ''}}}"


def _filled(texts: Mapping[str, str], known: Known) -> dict[str, str]:
    filled = {name: fill(text, known, ABOUT_ACCOUNTS) for name, text in texts.items()}
    return {name: as_text(value) for name, value in filled.items() if value is not None}


def _json(value: Any, known: Known) -> Any:
    found = _json_value(value, known)
    return {} if found is _LEFT_OUT else found


def _json_value(value: Any, known: Known) -> Any:
    """A text that is one placeholder keeps its value's type; what is not known is left out, and empty objects with it."""
    if isinstance(value, str):
        filled = fill(value, known, ABOUT_ACCOUNTS)
        return _LEFT_OUT if filled is None else filled
    if isinstance(value, Mapping):
        inner = {name: _json_value(entry, known) for name, entry in value.items()}
        kept = {name: entry for name, entry in inner.items() if entry is not _LEFT_OUT}
        return kept if kept or not value else _LEFT_OUT
    if isinstance(value, list | tuple):
        entries = [_json_value(entry, known) for entry in value]
        return [entry for entry in entries if entry is not _LEFT_OUT]
    return value
