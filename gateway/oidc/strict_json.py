"""JSON objects from outside, parsed strictly.

Pure. No two parsers may find different values: repeated members, NaN and Infinity, a byte order mark and anything but an
object are refused, and so is nesting that would exhaust the stack (RFC 8259 section 4, RFC 7515 section 4).
"""

import json
from typing import Any, NoReturn


def parse_object(raw: bytes) -> dict[str, Any]:
    """The members of a JSON object. Raises ValueError."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_members, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    # SECURITY: two parsers take different values of a member given twice.
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
