"""Pydantic's errors as problems in plain words.

A problem shows a value only where it cannot be a secret: not from the environment or a file, not at a secret's key, not a URL with
credentials. Pure.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.reading import schema_walk as tree
from gateway.config.reading.problems import Problem, shown, with_parents
from gateway.config.reading.sources import Resolved
from gateway.config.sections.directory import KINDS

_NEEDED: Final = {
    "apps": "allowed: at least one app with hosts and upstream",
    "hosts": "allowed: a list of host names, as [portal.example.com]",
    "upstream": "allowed: where the application listens, as http://127.0.0.1:8001",
    "match": "allowed: METHODS PATH-GLOB, as GET /assets/**",
    "reason": "allowed: what such a request does, for people and logs",
    "source": "allowed: where you know this route from",
    "base_url": "allowed: where its API answers, as https://spaces.nexudus.com",
    "username": "allowed: the service account's name or e-mail address",
    "password": "allowed: its password, as ${NAME} or file:PATH",
    "token": "allowed: the bearer token, as ${NAME} or file:PATH",
    "business_ids": "allowed: at least one location's number, as [501]",
    "requests": "allowed: find, fetch and create with a method and a path each",
    "find": 'allowed: a request that looks a person up, as {path: /users, query: {email: "{email}"}}',
    "fetch": 'allowed: a request that reads one account, as {path: "/users/{id}"}',
    "path": "allowed: a path below base_url, as /users",
    "answer": "allowed: id and email with the JSON Pointers of both",
    "id": "allowed: a JSON Pointer, as /id",
    "email": "allowed: a JSON Pointer, as /email",
}
_PLAIN: Final = {
    "model": ("is not a section", "allowed: keys below it"),
    "dict": ("is not a section", "allowed: names with their values below it"),
    "tuple": ("is not a list", "allowed: a list, as [one, two]"),
    "int": ("is not a whole number", "allowed: a whole number"),
    "bool": ("is not true or false", "allowed: true, false"),
    "path": ("is not a path", "allowed: the path of a file"),
    "string": ("is not text", "allowed: text; put it in quotes"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One error of pydantic. `place` is the path of the value in the data, `instead` the key that was probably meant by an unknown one."""

    place: tuple[str | int, ...]
    problem: Problem
    missing: bool = False
    instead: str | None = None


def faults(error: ValidationError, source: Resolved, data: Any) -> Iterator[Fault]:
    """All errors of pydantic in `data`."""
    for details in error.errors(include_url=False):
        yield _fault(details, source, data)


def _fault(details: ErrorDetails, source: Resolved, data: Any) -> Fault:
    kind = details["type"]
    place = _place(details, data)
    key = shown(place)
    if kind.startswith("union_tag"):
        what, allowed = "is not one of the choices", f"allowed: {', '.join(KINDS)}"
        shown_kind = details["input"].get("kind") if isinstance(details["input"], dict) else None
        place_of_kind = (*place, "kind")
        if _may_show(shown_kind, shown(place_of_kind), place_of_kind, source):
            what = f"{_as_written(shown_kind)} {what}"
        # The whole section is set aside: without its kind its keys are unknown.
        return Fault(place=place, problem=source.problem(shown(place_of_kind), what, allowed))
    if kind == "extra_forbidden":
        near, allowed = _known(place, data)
        instead = None if near is None else shown((*place[:-1], near))
        return Fault(place=place, problem=source.problem(key, "is not a known key", allowed), instead=instead)
    if kind == "missing":
        allowed = _NEEDED.get(str(place[-1]), "allowed: a value")
        return Fault(place=place, problem=source.problem(key, "is missing", allowed), missing=True)
    what, allowed = _words(details)
    if details["input"] is None:
        what = "is empty"
    elif _may_show(details["input"], key, place, source):
        what = f"{_as_written(details['input'])} {what}"
    return Fault(place=place, problem=source.problem(key, what, allowed))


def _words(details: ErrorDetails) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        what, _, allowed = str(context["error"]).partition("; allowed: ")
        return what, f"allowed: {allowed}" if allowed else ""
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return "is not one of the choices", f"allowed: {choices}"
    return _PLAIN.get(kind.partition("_")[0], ("is not valid", ""))


def _place(details: ErrorDetails, data: Any) -> tuple[str | int, ...]:
    """Pydantic's location without what is not in the file: tags of unions, list positions of lone values."""
    place: list[str | int] = []
    parts = details["loc"]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif not (last and details["type"] == "missing"):
            continue
        place.append(part)
    return tuple(place)


def _known(place: tuple[str | int, ...], data: Any) -> tuple[str | None, str]:
    """(the key that was probably meant or None, what is allowed) for an unknown key."""
    above, wrong = tree.at(place[:-1]), str(place[-1])
    section = tree.chosen(above, _kind_at(place[:-1], data))
    if section is not above and wrong in tree.keys_of(above):
        kinds = [kind for kind in KINDS if wrong in tree.keys_of(tree.chosen(above, kind))]
        return None, f"allowed: with kind {' or '.join(kinds)}"
    names = list(tree.keys_of(section)) or list(tree.keys_of(tree.listed(section)))
    elsewhere = [path for path in tree.every_key() if path[-1] == wrong]
    near = difflib.get_close_matches(wrong.lower(), names, 1, 0.8 if elsewhere else 0.6)
    if near:
        return near[0], f"nearest: {near[0]}"
    if elsewhere:
        return None, f"nearest: {'.'.join(elsewhere[0]).replace('.[]', '[]')}"
    return None, f"allowed: {', '.join(names)}"


def _kind_at(place: tuple[str | int, ...], data: Any) -> Any:
    for part in place:
        data = data[part] if isinstance(data, dict) and part in data else None
    return data.get("kind", "none") if isinstance(data, dict) else None


def _may_show(value: object, key: str, place: tuple[str | int, ...], source: Resolved) -> bool:
    # SECURITY: a problem is printed, logged and pasted into tickets: no secret may be in it (C-48).
    if any(above in source.hidden for above in with_parents(key)) or place[2:3] == ("headers",):
        return False
    # A place outside the shape is below a secret, or below an unknown key; a whole section may hold secrets.
    kind = tree.at(place)
    if kind is None or tree.holds_secrets(kind):
        return False
    if isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and 0 < len(value) <= 80 and value.isprintable() and "@" not in value


def _as_written(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value!r}"
