"""What a proxy in front requires beside the rules, in the query of its forward-auth request: `allowed_groups`, `allowed_emails` and
`allowed_email_domains`, as oauth2-proxy has them.

The invariant: a query adds requirements or is refused; nothing in it opens anything. Pure.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from gateway.config import values
from gateway.config.schema import Require
from gateway.errors.requests import BadRequest
from gateway.policy.rules import Requirement, requirement_of

_LONGEST: Final = 8192  # bytes
_MOST: Final = 16  # parameters
_PARSERS: Final[dict[str, Callable[[str], str]]] = {
    "allowed_groups": values.parse_name,
    "allowed_emails": values.parse_email,
    "allowed_email_domains": values.parse_domain,
}


def read_narrowing(query: bytes) -> tuple[Requirement, ...]:
    """The requirements of a query, all of which must be met. Of a parameter's entries, separated by commas, one is enough.

    Raises BadRequest for any other parameter, for an entry that is none, and for a parameter without entries.
    """
    if not query:
        return ()
    try:
        if len(query) > _LONGEST:
            raise ValueError("too long")
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST
        )
    except ValueError as error:
        raise BadRequest(f"the query of a forward-auth request cannot be read; allowed: {_allowed()}") from error
    # SECURITY: a parameter that was ignored, or that is empty because a template was, would let in more people than its author means (C-21).
    return tuple(_read(name, text) for name, text in pairs)


def _read(name: str, text: str) -> Requirement:
    parse = _PARSERS.get(name)
    if parse is None:
        raise BadRequest(f"a forward-auth request with the parameter {name[:64]!a}; allowed: {_allowed()}")
    try:
        entries = tuple(parse(entry) for entry in text.split(","))
    except ValueError as error:
        raise BadRequest(f"a forward-auth request whose {name} has an entry that {error}") from error
    required = requirement_of(name, Require.model_validate({name.removeprefix("allowed_"): entries}))
    assert required is not None
    return required


def _allowed() -> str:
    return ", ".join(_PARSERS)
