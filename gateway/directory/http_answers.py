"""What the answers of `directory.kind: http` say, where the configuration points (JSON Pointer, RFC 6901).

Pure. What is not where it was to be is an error, never "nobody" and never "active".
"""

from collections.abc import Mapping
from typing import Any

from gateway.config import schema
from gateway.directory.account import Account, kept_link
from gateway.errors import DirectoryUnavailable


def pointed(value: Any, pointer: str) -> Any:
    """What stands at a pointer; None: nothing does."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def rows_of(value: Any, pointer: str) -> list[Mapping[str, Any]]:
    """The records of a look-up: a list, or one of them. Raises DirectoryUnavailable(incomplete)."""
    rows = pointed(value, pointer)
    rows = [rows] if isinstance(rows, Mapping) else rows
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise DirectoryUnavailable("incomplete", f"no list at {pointer!r} of the answer")
    return rows


def account_of(answer: schema.HttpAnswer, record: Any, email: str | None = None) -> Account:
    """The Account in a record. `email`: the address that it was found by. Raises DirectoryUnavailable(incomplete)."""
    number = pointed(record, answer.id)
    if not isinstance(record, Mapping) or not isinstance(number, str | int) or isinstance(number, bool) or number == "":
        raise DirectoryUnavailable("incomplete", f"no id at {answer.id!r} of a record")
    addresses = pointed(record, answer.email)
    several = [one for one in addresses if isinstance(one, str)] if isinstance(addresses, list) else []
    first = several[0] if several else addresses
    user = None if answer.user_id is None else pointed(record, answer.user_id)
    login = str(user) if isinstance(user, str | int) and not isinstance(user, bool) and user != "" else None
    facts = {name: _fact(pointed(record, pointer)) for name, pointer in answer.facts.items()}
    told = {name: value for name, value in facts.items() if value}
    return Account(
        id=str(number),
        email=email or (first if isinstance(first, str) else ""),
        user_id=login,
        active=_active(answer, record),
        addresses=tuple(several),
        link=None if answer.link is None else kept_link(pointed(record, answer.link)),
        facts=told if login is None else {"user_id": login, **told},
        record=record,
    )


def _active(answer: schema.HttpAnswer, record: Any) -> bool:
    """A record that does not say whether it is active is not: what is unclear must not let anybody in."""
    if answer.active is None:
        return True
    said = pointed(record, answer.active)
    return any(type(said) is type(value) and said == value for value in answer.active_values)


def _fact(value: Any) -> str:
    """A plain value as an app's header may hold it; anything else is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:512] if isinstance(value, str | int | float) else ""


def token_in(value: Any, pointer: str) -> str:
    """A one-time token. Raises DirectoryUnavailable; no error holds the token."""
    token = pointed(value, pointer)
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise DirectoryUnavailable("incomplete", f"no token at {pointer!r} of the answer")
    return token
