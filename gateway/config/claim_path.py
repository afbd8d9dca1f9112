"""Where a provider's tokens and userinfo have a claim: `groups`, `realm_access.roles`, `["https://example.com/groups"]`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from gateway.config.values import parse_name

_DEEPEST: Final = 8
_ALLOWED: Final = (
    'allowed: a name as groups, a path as realm_access.roles, or one in steps as ["https://example.com/groups"]'
)


class ClaimPath(str):
    """A claim by the name that the file gives it. `separator` parts a text that is a list.

    A name with dots means the claim of that whole name, and where a document has none, the way through its objects. Written as a
    list of steps it means these, dots and all.
    """

    ways: tuple[tuple[str, ...], ...]
    separator: str | None

    def __new__(cls, text: str, steps: tuple[str, ...] = (), separator: str | None = None) -> Self:
        path = super().__new__(cls, text)
        dotted = tuple(text.split("."))
        path.ways = (steps,) if steps else ((text,), dotted) if len(dotted) > 1 and all(dotted) else ((text,),)
        path.separator = separator
        return path

    def value_in(self, document: Mapping[str, Any]) -> Any:
        """The claim's value; None where the document has none."""
        return next((value for _, value in self._found(document)), None)

    def put(self, document: Mapping[str, Any], value: object) -> dict[str, Any]:
        """The document with this value in the place that the claim has there, or else in the last of its ways."""
        return _with(document, next((way for way, _ in self._found(document)), self.ways[-1]), value)

    def removed_from(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document without the claim, whichever way leads to it."""
        left = dict(document)
        for way, _ in list(self._found(document)):
            left = _with(left, way, None)
        return left

    def _found(self, document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for way in self.ways:
            value: Any = document
            for step in way:
                value = value.get(step) if isinstance(value, Mapping) else None
            if value is not None:
                yield way, value


def _with(document: Mapping[str, Any], way: tuple[str, ...], value: object) -> dict[str, Any]:
    """A copy, with `value` at the end of `way`; None: without it."""
    first, *rest = way
    if rest:
        inner = document.get(first)
        value = _with(inner if isinstance(inner, Mapping) else {}, tuple(rest), value)
    copy = {**document, first: value}
    if value is None:
        del copy[first]
    return copy


def parse_claim_path(value: object) -> ClaimPath:
    """A claim as the file writes it. Raises ValueError, whose text says what is allowed."""
    if isinstance(value, ClaimPath):
        return value
    if isinstance(value, str):
        return ClaimPath(parse_name(value))
    if isinstance(value, list | tuple) and 0 < len(value) <= _DEEPEST and all(isinstance(step, str) for step in value):
        steps = tuple(parse_name(step) for step in value)
        return ClaimPath(".".join(steps), steps)
    raise ValueError(f"is no claim; {_ALLOWED}")


def parse_list_claim(value: object) -> ClaimPath:
    """As `parse_claim_path`, and `{claim: roles, separator: " "}` for a claim that is one text. Raises ValueError."""
    if not isinstance(value, dict):
        return parse_claim_path(value)
    separator = value.get("separator")
    if value.keys() != {"claim", "separator"} or not isinstance(separator, str) or not 0 < len(separator) <= _DEEPEST:
        raise ValueError(f'is no claim; {_ALLOWED}, or {{claim: roles, separator: " "}}')
    path = parse_claim_path(value["claim"])
    return ClaimPath(path, path.ways[0] if len(path.ways) == 1 else (), separator)
