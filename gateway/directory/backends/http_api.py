"""The Directory over an API that the configuration describes: requests with placeholders, responses read with JSON Pointers.

The API is known by its configuration only, and the rules of the other directories hold: a row counts because its address (or its link)
is the person's, two that count are an error, a status that is not configured is a failure, and so is a response without an id or an
address at the configured place.
"""

import base64
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from gateway.config import schema
from gateway.config.placeholders import Placeholder, parse
from gateway.config.sections.directory_http import ABOUT_ACCOUNTS
from gateway.directory.account import (
    Ability,
    Account,
    AlreadyThere,
    Change,
    CreationUncertain,
    kept_link,
    same_email,
    unsupported,
)
from gateway.directory.api.answer import ApiResponse, error_of
from gateway.directory.api.calls import (
    ApiCalls,
    ApiProfile,
    ApiRequest,
    ApiTransport,
    Deadline,
    NotSent,
    form_bytes,
    json_bytes,
)
from gateway.directory.person import Known, Person, all_fields, as_text, fill, filled_link, known_of, own_fields
from gateway.errors.signing_in import AccountAmbiguous, DirectoryUnavailable

_LEFT_OUT: Final = object()


def outgoing(request: schema.HttpRequest, known: Known, headers: Mapping[str, str], *, write: bool) -> ApiRequest:
    """A request with its placeholders filled in. Raises DirectoryUnavailable(rejected) for a value that does not fit its place."""
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
    return ApiRequest(
        method=request.method,
        path=_path(request.path, known),
        headers=fields,
        query=_filled(request.query, known),
        body=body,
        write=write,
        repeatable=not write,
    )


def basic(username: str, password: str) -> str:
    """The value of an Authorization field (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _path(text: str, known: Known) -> str:
    written = []
    for piece in parse(text, ABOUT_ACCOUNTS):
        if isinstance(piece, str):
            written.append(piece)
            continue
        value = fill(_text_of(piece), known, ABOUT_ACCOUNTS)
        # SECURITY: `../admin` or `1/roles` as a person's name would be another resource.
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
    """A text that is one placeholder keeps its value's type; missing values are left out, and objects that are empty without them."""
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


def pointed(value: Any, pointer: str) -> Any:
    """The value at a JSON Pointer (RFC 6901); None: there is none."""
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
    """A record without the configured field is inactive: an unclear value must not admit a person."""
    if answer.active is None:
        return True
    said = pointed(record, answer.active)
    return any(type(said) is type(value) and said == value for value in answer.active_values)


def _fact(value: Any) -> str:
    """A plain value for an app's header; empty for any other."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:512] if isinstance(value, str | int | float) else ""


def token_in(value: Any, pointer: str) -> str:
    """A one-time token. Raises DirectoryUnavailable, without the token in its text."""
    token = pointed(value, pointer)
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise DirectoryUnavailable("incomplete", f"no token at {pointer!r} of the answer")
    return token


log = logging.getLogger("doorward.directory")

_CREATION_SHARE: Final = 0.6
_MOST_PAGES: Final = 5000


class HttpDirectory:
    """`config.timeout` bounds each method in total, with all its waits."""

    def __init__(self, config: schema.HttpApi, transport: ApiTransport) -> None:
        self._config = config
        self._requests = config.requests
        self._answer = config.answer
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        if config.username is not None and config.password is not None:
            headers["Authorization"] = basic(config.username, config.password.get_secret_value())
        self._headers = headers
        secret = frozenset({"authorization", *(name.lower() for name in headers)})
        profile = ApiProfile(base_url=config.base_url, throttled=frozenset(config.statuses.throttled), secret=secret)
        self._calls = ApiCalls(profile, transport)

    def can(self, ability: Ability) -> bool:
        return {
            "create": self._requests.create,
            "update": self._requests.update,
            "suspend": self._requests.suspend,
            "sign_in_token": self._requests.sign_in_token,
            "link": self._requests.find_linked,
            "list": self._requests.list,
            "brief": self._answer.link,
        }[ability] is not None

    async def find(self, email: str, person: Person | None = None) -> Account | None:
        deadline = self._deadline()
        known = _about(person, {"email": email, "email_local": email.rpartition("@")[0]})
        for request in self._requests.find:
            # SECURITY: a filter that the API does not know returns every account; each row is compared with the address.
            own = [row for row in await self._rows(request, known, deadline) if _has_address(self._answer, row, email)]
            if len(own) > 1:
                raise AccountAmbiguous(f"{len(own)} accounts have one address")
            if own:
                return self._account(own[0], email)
        return None

    def link_for(self, person: Person) -> str | None:
        return None if self._answer.link is None else filled_link(self._answer.link_value, person.known)

    async def find_linked(self, link: str, person: Person | None = None) -> Account | None:
        request = self._requests.find_linked
        if request is None:
            raise unsupported("link")
        known = known_of(link, person)
        kept = filled_link(self._answer.link_value, known)
        if kept is None:
            return None
        rows = await self._rows(request, known, self._deadline())
        own = [account for row in rows if (account := self._account(row)).link == kept]
        if len(own) > 1:
            raise AccountAmbiguous(f"{len(own)} accounts have one link")
        return own[0] if own else None

    async def fetch(self, account_id: str) -> Account | None:
        answer = await self._call(self._requests.fetch, _about(None, {"id": account_id}), self._deadline())
        if answer is None:
            return None
        place = _at(self._requests.fetch, self._answer.record)
        account = self._account(pointed(answer.json(), place))
        if account.id != account_id:
            raise DirectoryUnavailable("incomplete", "the response has another account than the requested one")
        return account

    async def create(self, person: Person) -> str:
        request = self._requests.create
        if request is None:
            raise unsupported("create")
        known = _about(person, _named(all_fields(self._config, person)))
        answer = await self._call(request, known, self._deadline().share(_CREATION_SHARE), write=True)
        if answer is None:
            raise DirectoryUnavailable("rejected", "the response to the creation is not found")
        try:
            record = pointed(answer.json(), _at(request, self._answer.record))
            number = pointed(record, self._answer.id)
        except DirectoryUnavailable as error:
            raise CreationUncertain(error.reason, error.detail) from error
        if not isinstance(number, str | int) or isinstance(number, bool) or number == "":
            raise CreationUncertain("incomplete", "the response to the creation has no id")
        return str(number)

    def changes(self, account: Account, person: Person) -> tuple[Change, ...]:
        found = []
        for name, after in own_fields(self._config.fields, person).items():
            pointer = self._answer.fields.get(name)
            before = None if pointer is None else pointed(account.record, pointer)
            if pointer is not None and (before is None or as_text(before) != as_text(after)):
                found.append(Change(name=name, before=before, after=after))
        return tuple(found)

    async def update(self, account: Account, changes: Sequence[Change]) -> None:
        """The request has every field: those that changed, and the others as they are in the record."""
        fields = {name: pointed(account.record, pointer) for name, pointer in self._answer.fields.items()}
        fields |= {change.name: change.after for change in changes}
        await self._write("update", account, _named(fields))

    async def suspend(self, account: Account) -> None:
        await self._write("suspend", account, {})

    async def sign_in_token(self, account: Account) -> str:
        request = self._requests.sign_in_token
        if request is None:
            raise unsupported("sign_in_token")
        answer = await self._call(request, _about(None, _of_account(account)), self._deadline())
        if answer is None:
            raise DirectoryUnavailable("no_login", f"account {account.id} has no login", retry_after=None)
        return token_in(answer.json(), _at(request, self._answer.token))

    async def accounts(self) -> AsyncIterator[Account]:
        request = self._requests.list
        if request is None:
            raise unsupported("list")
        seen: set[str] = set()
        for page in range(1, _MOST_PAGES + 1):
            rows = await self._rows(request, _about(None, {"page": page}), self._deadline())
            new = [account for row in rows if (account := self._account(row)).id not in seen]
            for account in new:
                seen.add(account.id)
                yield account
            if not new:  # the end, or an API without pages that sends the same again
                return
        raise DirectoryUnavailable("incomplete", f"more than {_MOST_PAGES} pages of accounts")

    async def ping(self) -> None:
        """Looks up an address without an account."""
        await self.find("absent@doorward.invalid")

    async def close(self) -> None:
        """No effect: the caller closes the client session."""

    def _deadline(self) -> Deadline:
        return self._calls.deadline(self._config.timeout.total_seconds())

    def _account(self, record: Any, email: str | None = None) -> Account:
        """Where one-time tokens are given and no field names the account's login, the account is the login."""
        account = account_of(self._answer, record, email)
        if self._requests.sign_in_token is None or self._answer.user_id is not None:
            return account
        return replace(account, user_id=account.id, facts={"user_id": account.id, **account.facts})

    async def _rows(self, request: schema.HttpRequest, known: Known, deadline: Deadline) -> list[Mapping[str, Any]]:
        answer = await self._call(request, known, deadline)
        return [] if answer is None else rows_of(answer.json(), _at(request, self._answer.list))

    async def _write(self, ability: Ability, account: Account, values: Mapping[str, Any]) -> None:
        request: schema.HttpRequest | None = getattr(self._requests, ability)
        if request is None:
            raise unsupported(ability)
        known = _about(None, {**_of_account(account), **values})
        if await self._call(request, known, self._deadline(), write=True) is None:
            raise DirectoryUnavailable("rejected", f"account {account.id} is gone")

    async def _call(
        self, request: schema.HttpRequest, known: Known, deadline: Deadline, *, write: bool = False
    ) -> ApiResponse | None:
        """A success; None for not found. Raises AlreadyThere, CreationUncertain, DirectoryUnavailable."""
        statuses = self._config.statuses
        sent = outgoing(request, known, self._headers, write=write)
        try:
            answer = await self._calls.call(sent, deadline)
        except NotSent:
            raise
        except DirectoryUnavailable as error:
            if not write or error.reason == "throttled":
                raise
            raise CreationUncertain(error.reason, error.detail) from error
        if answer.status in statuses.success:
            return answer
        if answer.status in statuses.not_found:
            return None
        if write and answer.status in statuses.conflict:
            raise AlreadyThere("rejected", f"HTTP {answer.status}: {answer.quote()}")
        if write and answer.status >= 500:
            raise CreationUncertain("unreachable", f"HTTP {answer.status}: {answer.quote()}")
        raise error_of(answer)


def _about(person: Person | None, values: Mapping[str, Any]) -> Known:
    """The values of placeholders: these first, then the person's."""

    def known(name: str) -> Any:
        if name in values:
            return values[name]
        return None if person is None else person.known(name)

    return known


def _at(request: schema.HttpRequest, otherwise: str) -> str:
    return otherwise if request.at is None else request.at


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {f"fields.{name}": value for name, value in fields.items()}


def _of_account(account: Account) -> dict[str, Any]:
    return {"id": account.id, "user_id": account.user_id or account.id, "email": account.email or None}


def _has_address(answer: schema.HttpAnswer, row: Mapping[str, Any], email: str) -> bool:
    """The pointer leads to an address, or to a list of addresses."""
    value = pointed(row, answer.email)
    return any(same_email(one, email) for one in (value if isinstance(value, list) else [value]))
