"""The lists, Users and errors of SCIM, parsed, and the User of a new account (RFC 7643 section 4.1, RFC 7644 section 3).

Pure. Attribute names are compared without case (RFC 7643 section 2.1). An unknown shape is an error, never "no account".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.directory.account import Account, kept_link
from gateway.directory.person import Person
from gateway.errors.signing_in import DirectoryUnavailable

User = Mapping[str, Any]

CORE_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH_OP: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_PATH = re.compile(r'(?:(urn:[^\[\]]+):)?([^.\[\]:]+)(?:\[type eq "([^"]+)"\])?(?:\.([^.\[\]]+))?')
_MULTIPLE: Final = frozenset({"emails", "phonenumbers", "ims", "photos", "addresses", "x509certificates"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAbilities:
    """The optional features that are used."""

    filter: bool
    patch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """`urn` is an extension's; `type` chooses an entry of a multi-valued attribute; `sub` is a sub-attribute."""

    urn: str | None
    name: str
    type: str | None
    sub: str | None


def quoted(text: str) -> str:
    """A text in a filter: a JSON string (RFC 7644 section 3.4.2.2)."""
    # SECURITY: a quote in an address would end the text and add a filter of its own.
    return json.dumps(text, ensure_ascii=False)


def read_list(value: object) -> tuple[int, list[User]]:
    """(totalResults, the Users shown). Resources may be missing when there are none. Raises DirectoryUnavailable."""
    if not isinstance(value, dict) or _LIST not in (value.get("schemas") or ()):
        raise DirectoryUnavailable("incomplete", "an answer that is no ListResponse")
    total, users = value.get("totalResults"), value.get("Resources", [])
    users = [] if users is None else users
    if not isinstance(total, int) or isinstance(total, bool) or not isinstance(users, list):
        raise DirectoryUnavailable("incomplete", "a list without totalResults or Resources")
    if not all(isinstance(user, dict) for user in users) or (total > 0 and not users):
        raise DirectoryUnavailable("incomplete", f"a list of {total} that shows {len(users)}")
    return total, users


def server_abilities(value: object) -> ServerAbilities:
    """The abilities in a ServiceProviderConfig (RFC 7643 section 5). Raises DirectoryUnavailable."""
    if not isinstance(value, dict):
        raise DirectoryUnavailable("incomplete", "a ServiceProviderConfig that is no object")
    abilities = {name: (value.get(name) or {}) for name in ("filter", "patch")}
    if not all(isinstance(entry, dict) for entry in abilities.values()):
        raise DirectoryUnavailable("incomplete", "a ServiceProviderConfig without filter or patch")
    return ServerAbilities(
        filter=abilities["filter"].get("supported", True) is True,
        patch=abilities["patch"].get("supported", False) is True,
    )


def account_of(user: object, email: str | None = None) -> Account:
    """The Account in a User. `email`: the address that it was found by. Raises DirectoryUnavailable(incomplete)."""
    number = _get(user, "id") if isinstance(user, dict) else None
    if not isinstance(user, dict) or not isinstance(number, str) or not number:
        raise DirectoryUnavailable("incomplete", "a User without an id")
    name = _get(user, "userName")
    facts = {"user_name": name} if isinstance(name, str) and name else {}
    active = _get(user, "active")
    return Account(
        id=number,
        email=email or _address(user),
        # `active` is optional; where it is given, only true is active: an unclear value must not admit a person.
        active=active is None or active is True,
        addresses=tuple(_addresses(user)),
        link=kept_link(_get(user, "externalId")),
        facts=facts,
        record=user,
    )


def _address(user: User) -> str:
    """The primary address."""
    return next(iter(_addresses(user)), "")


def _addresses(user: User) -> list[str]:
    """The addresses in `emails`, the primary one first, and the userName, which may be one."""
    entries = _get(user, "emails")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    first = sorted(entries, key=lambda entry: entry.get("primary") is not True)
    values = [entry["value"] for entry in first if isinstance(entry.get("value"), str)]
    name = _get(user, "userName")
    return [*values, name] if isinstance(name, str) else values


def is_uniqueness(status: int, body: bytes) -> bool:
    """Whether a response is 409, or 400 with scimType uniqueness (RFC 7644 section 3.12)."""
    if status == 409:
        return True
    if status != 400:
        return False
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("scimType") == "uniqueness"


def new_user(person: Person, fields: Mapping[str, Any], *, link: str | None) -> dict[str, Any]:
    """The User of a new account. Raises DirectoryUnavailable(rejected) without an address."""
    email = person.email
    if not email:
        raise DirectoryUnavailable("rejected", "no address")
    name = " ".join((person.identity.name or "").split()) or email.partition("@")[0]
    given, family = (_text(person.claims.get(claim)) for claim in ("given_name", "family_name"))
    parts = {"formatted": name, "givenName": given, "familyName": family}
    user: dict[str, Any] = {
        "schemas": [CORE_USER],
        "userName": email,
        "active": True,
        "displayName": name,
        "name": {part: value for part, value in parts.items() if value},
        "emails": [{"value": email, "type": "work", "primary": True}],
    }
    if link is not None:
        user["externalId"] = link
    for path, value in fields.items():
        user = with_value(user, path, value)
    return user


def _text(value: object) -> str:
    return value if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() else ""


def value_at(user: User, path: str) -> Any:
    """The value at an attribute path; of a multi-valued attribute without a type, the list of all values."""
    at = _parsed(path)
    home = user if at.urn is None else _get(user, at.urn)
    found = _get(home, at.name)
    if isinstance(found, list):
        entries = [entry for entry in found if isinstance(entry, dict) and at.type in (None, entry.get("type"))]
        values = [_get(entry, at.sub or "value") for entry in entries]
        return values if at.type is None else next(iter(values), None)
    return _get(found, at.sub) if at.sub is not None else found


def with_value(user: User, path: str, value: Any) -> dict[str, Any]:
    """A copy of the User with a value at an attribute path."""
    at = _parsed(path)
    copy = dict(user)
    if at.urn is not None:
        copy["schemas"] = list(dict.fromkeys([*(copy.get("schemas") or [CORE_USER]), at.urn]))
        home = dict(_get(copy, at.urn) or {})
        copy[_spelling(copy, at.urn)] = home
    else:
        home = copy
    key = _spelling(home, at.name)
    if at.type is not None or at.name.lower() in _MULTIPLE:
        kind = at.type or "work"
        others = [entry for entry in (home.get(key) or []) if isinstance(entry, dict) and entry.get("type") != kind]
        mine = [entry for entry in (home.get(key) or []) if isinstance(entry, dict) and entry.get("type") == kind]
        home[key] = [*others, {**(mine[0] if mine else {"type": kind}), at.sub or "value": value}]
    elif at.sub is not None:
        inner = dict(home.get(key) or {})
        inner[_spelling(inner, at.sub)] = value
        home[key] = inner
    else:
        home[key] = value
    return copy


def patch_operation(path: str, value: Any) -> dict[str, Any]:
    """A PATCH operation; replace adds a missing attribute (RFC 7644 section 3.5.2.3)."""
    return {"op": "replace", "path": path, "value": value}


def _parsed(path: str) -> _Path:
    core = CORE_USER + ":"
    bare = path[len(core) :] if path.lower().startswith(core.lower()) else path
    match = _PATH.fullmatch(bare)
    if match is None:
        raise ValueError(f"not an attribute path: {path}")
    return _Path(urn=match[1], name=match[2], type=match[3], sub=match[4])


def _spelling(home: User, name: str) -> str:
    """The name as this object writes it."""
    return next((key for key in home if key.lower() == name.lower()), name)


def _get(home: object, name: str) -> Any:
    return home.get(_spelling(home, name)) if isinstance(home, Mapping) else None
