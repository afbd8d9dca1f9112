"""`directory.kind: http`: any API, described by its requests and by JSON Pointers (RFC 6901) into its responses.

A request is a method, a path, a query, header fields and a body, with placeholders.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config import placeholders, values
from gateway.config.reading.directory_names import (
    parse_fact_name,
    parse_field_name,
    parse_link_value,
    parse_request_header,
)
from gateway.config.sections.fields import Section

#: What requests may name besides `placeholders.IN_DIRECTORY`.
ABOUT_ACCOUNTS: Final = ("id", "user_id", "page")
_ACCOUNT: Final = ("id", "user_id")
#: What each request may name of these.
KNOWN_AT: Final = {
    "find": (), "find_linked": (), "create": (), "fetch": ("id",), "update": _ACCOUNT, "suspend": _ACCOUNT,
    "sign_in_token": _ACCOUNT, "list": ("page",),
}  # fmt: skip
_DEEPEST: Final = 12


def _text(text: str) -> str:
    placeholders.parse(text, ABOUT_ACCOUNTS)
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"/[^\s?#\\]*", text) or ".." in text.split("/") or not text.isascii():
        raise ValueError("is not a path; allowed: a path below base_url, as /users/{id}, the query apart from it")
    return _text(text)


def _json(value: object, depth: int = 0) -> object:
    """A JSON value whose texts may hold placeholders."""
    if depth > _DEEPEST:
        raise ValueError(f"is nested too deeply; allowed: {_DEEPEST} levels")
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("has a name that is no text; allowed: names in quotes")
        for inner in value.values():
            _json(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _json(inner, depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        raise ValueError(
            "holds what JSON does not know, as a date; allowed: texts in quotes, numbers, true, false, null"
        )
    return value


def _pointer(text: str) -> str:
    if text and (not re.fullmatch(r"(?:/(?:[^~/]|~[01])*)+", text) or len(text) > 500):
        raise ValueError('is not a JSON Pointer; allowed: as /user/id, or "" for the whole answer')
    return text


def _status(value: int) -> int:
    if not 200 <= value <= 599:
        raise ValueError("is not an HTTP status; allowed: 200 to 599")
    return value


Text = Annotated[str, AfterValidator(_text)]
Json = Annotated[Any, BeforeValidator(_json)]
Pointer = Annotated[str, AfterValidator(_pointer)]
Status = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(_status)]
Statuses = tuple[Status, ...]
HttpHeader = Annotated[str, AfterValidator(parse_request_header)]
LinkValue = Annotated[str, AfterValidator(parse_link_value)]
FactName = Annotated[str, AfterValidator(parse_fact_name)]
FieldName = Annotated[str, AfterValidator(parse_field_name)]


class HttpRequest(Section):
    """One request. `json` and `form` exclude each other; a name whose value is not known is left out. `at` points to the rows or the record of
    this request's response, in place of `answer.list` or `answer.record`.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, AfterValidator(_path)]
    query: dict[str, Text] = Field(default_factory=dict)
    headers: dict[HttpHeader, Text] = Field(default_factory=dict)
    json_: dict[str, Json] | None = Field(default=None, alias="json")
    form: dict[str, Text] | None = None
    at: Pointer | None = None


class HttpRequests(Section):
    """The requests. An operation without one is not available. Those of `find` are tried in turn until one finds the person."""

    find: tuple[HttpRequest, ...]
    find_linked: HttpRequest | None = None
    fetch: HttpRequest
    create: HttpRequest | None = None
    update: HttpRequest | None = None
    suspend: HttpRequest | None = None
    sign_in_token: HttpRequest | None = None
    list: HttpRequest | None = None


class HttpAnswer(Section):
    """Pointers into responses: `list` in those of `find` and `list`, `record` in the others, the rest in a record."""

    list: Pointer = ""
    record: Pointer = ""
    id: Pointer
    email: Pointer
    user_id: Pointer | None = None
    link: Pointer | None = None
    link_value: LinkValue = "{link}"
    active: Pointer | None = None
    active_values: tuple[bool | int | str, ...] = (True,)
    token: Pointer = "/token"  # noqa: S105 - where it stands
    facts: dict[FactName, Pointer] = Field(default_factory=dict)
    fields: dict[FieldName, Pointer] = Field(default_factory=dict)


class HttpStatuses(Section):
    success: Statuses = (200, 201, 202, 204)
    not_found: Statuses = (404, 410)
    conflict: Statuses = (409,)
    throttled: Statuses = (429,)


def texts_of(request: HttpRequest) -> list[str]:
    """Every text of a request that may hold placeholders."""
    found = [request.path, *request.query.values(), *request.headers.values(), *(request.form or {}).values()]
    return found + _texts_in(request.json_)


def _texts_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for entry in inner for text in _texts_in(entry)]
