"""The Directory over SCIM 2.0 (RFC 7643, RFC 7644): its Users are the accounts.

A person is found by `externalId` (where `link_field` is set, in the form of `link_value`) and by one attribute with the address. Two Users
for one address are an error. 409, and 400 with `uniqueness`, mean that the User exists already: it is looked up once more. The server's
abilities (filter, PATCH) are read once from its ServiceProviderConfig; a server without one is used with filters and PUT.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from gateway.config import schema
from gateway.directory.account import Ability, Account, AlreadyThere, Change, CreationUncertain, same_email, unsupported
from gateway.directory.api.answer import ApiResponse, error_of
from gateway.directory.api.calls import ApiCalls, ApiProfile, ApiRequest, ApiTransport, Deadline, NotSent, json_bytes
from gateway.directory.backends.scim_records import (
    PATCH_OP,
    ServerAbilities,
    account_of,
    is_uniqueness,
    new_user,
    patch_operation,
    quoted,
    read_list,
    server_abilities,
    value_at,
    with_value,
)
from gateway.directory.person import Person, all_fields, filled_link, is_link, known_of, own_fields
from gateway.errors.signing_in import AccountAmbiguous, DirectoryUnavailable

log = logging.getLogger("doorward.directory")

_MEDIA: Final = "application/scim+json"
_LARGE_PAGE: Final = 100
_MOST_PAGES: Final = 5000
_CREATION_SHARE: Final = 0.6


class FilterRefused(DirectoryUnavailable):
    """The server does not filter by this attribute (RFC 7644 section 3.12, invalidFilter)."""


class ScimDirectory:
    """`config.timeout` bounds each method in total, with all its waits."""

    def __init__(self, config: schema.Scim, transport: ApiTransport) -> None:
        self._config = config
        self._calls = ApiCalls(ApiProfile(base_url=config.base_url), transport)
        self._server: ServerAbilities | None = None

    def can(self, ability: Ability) -> bool:
        if ability in ("link", "brief"):
            return self._config.link_field is not None
        return ability != "sign_in_token"

    async def find(self, email: str, person: Person | None = None) -> Account | None:
        deadline = self._deadline()
        found = await self._filtered(f"{self._config.match} eq {quoted(email)}", deadline)
        # SECURITY: a filter that the server does not know may return every account; each is compared with the address.
        own = [user for user in found if _has_address(user, email, self._config.match)]
        if len(own) > 1:
            raise AccountAmbiguous(f"{len(own)} users have one address")
        return self._account(own[0], email) if own else None

    def link_for(self, person: Person) -> str | None:
        if self._config.link_field is None:
            return person.link or None
        return filled_link(self._config.link_value, person.known)

    async def find_linked(self, link: str, person: Person | None = None) -> Account | None:
        if self._config.link_field is None:
            raise unsupported("link")
        kept = filled_link(self._config.link_value, known_of(link, person))
        if kept is None:
            return None
        try:
            found = await self._filtered(f"externalId eq {quoted(kept)}", self._deadline())
        except FilterRefused as error:
            log.warning("the SCIM server does not filter by externalId (%s): people are found by address", error.detail)
            return None
        own = [account for user in found if (account := self._account(user)).link == kept]
        if len(own) > 1:
            raise AccountAmbiguous(f"{len(own)} users have one externalId")
        return own[0] if own else None

    async def fetch(self, account_id: str) -> Account | None:
        response = await self._call("GET", _user_path(account_id), self._deadline())
        if response.status == 404:
            return None
        if response.status != 200:
            raise error_of(response)
        return self._the_one(response.json(), account_id)

    async def create(self, person: Person) -> str:
        keeps = self._config.link_field is not None
        user = new_user(person, all_fields(self._config, person), link=self.link_for(person) if keeps else None)
        deadline = self._deadline().share(_CREATION_SHARE)
        response = await self._call("POST", "/Users", deadline, body=user, write=True)
        if is_uniqueness(response.status, response.body):
            raise AlreadyThere("rejected", f"HTTP {response.status}: {response.quote()}")
        if response.status >= 500:
            raise CreationUncertain("unreachable", f"HTTP {response.status}: {response.quote()}")
        if response.status not in (200, 201):
            raise error_of(response)
        try:
            return account_of(response.json()).id
        except DirectoryUnavailable as error:
            raise CreationUncertain(error.reason, error.detail) from error

    def changes(self, account: Account, person: Person) -> tuple[Change, ...]:
        wanted = own_fields(self._config.fields, person)
        link = self.link_for(person)
        if self._config.link_field is not None and link is not None and account.link is None:
            wanted["externalId"] = link
        pairs = ((name, value_at(account.record, name), after) for name, after in wanted.items())
        return tuple(Change(name=name, before=before, after=after) for name, before, after in pairs if before != after)

    async def update(self, account: Account, changes: Sequence[Change]) -> None:
        await self._write(account, {change.name: change.after for change in changes})

    async def suspend(self, account: Account) -> None:
        await self._write(account, {"active": False})

    async def sign_in_token(self, account: Account) -> str:
        raise unsupported("sign_in_token")

    async def accounts(self) -> AsyncIterator[Account]:
        start = 1
        for _ in range(_MOST_PAGES):
            query = {"startIndex": str(start), "count": str(_LARGE_PAGE)}
            total, users = await self._list(query, self._deadline())
            for user in users:
                yield self._account(user)
            start += len(users)
            if not users or start > total:
                return
        raise DirectoryUnavailable("incomplete", f"more than {_MOST_PAGES} pages of users")

    async def ping(self) -> None:
        deadline = self._deadline()
        await self._read_abilities(deadline)
        await self._list({"startIndex": "1", "count": "1"}, deadline)

    async def close(self) -> None:
        """No effect: the caller closes the client session."""

    def _deadline(self) -> Deadline:
        return self._calls.deadline(self._config.timeout.total_seconds())

    def _account(self, user: object, email: str | None = None) -> Account:
        """Without `link_field`, a link of our own form counts all the same: an earlier configuration wrote it."""
        account = account_of(user, email)
        if self._config.link_field is None and not is_link(account.link):
            return replace(account, link=None)
        return account

    def _the_one(self, value: object, account_id: str) -> Account:
        account = self._account(value)
        if account.id != account_id:
            raise DirectoryUnavailable("incomplete", "the response has another user than the requested one")
        return account

    async def _filtered(self, text: str, deadline: Deadline) -> list[Mapping[str, Any]]:
        await self._read_abilities(deadline)
        # Two would be enough, but the total shows whether the server ignores the filter.
        total, users = await self._list({"filter": text, "startIndex": "1", "count": "10"}, deadline)
        if total > len(users):
            raise DirectoryUnavailable("incomplete", f"a filter for one person that {total} users match")
        return users

    async def _list(self, query: Mapping[str, str], deadline: Deadline) -> tuple[int, list[Mapping[str, Any]]]:
        response = await self._call("GET", "/Users", deadline, query=query)
        if response.status == 400 and "filter" in query and b"invalidFilter" in response.body:
            raise FilterRefused("unsupported", response.quote(), retry_after=None)
        if response.status != 200:
            raise error_of(response)
        return read_list(response.json())

    async def _read_abilities(self, deadline: Deadline) -> ServerAbilities:
        """The server's abilities, read once. Raises DirectoryUnavailable when it cannot filter: no person could be looked up."""
        if self._server is None:
            response = await self._call("GET", "/ServiceProviderConfig", deadline)
            if response.status not in (200, 404, 501):
                raise error_of(response)
            abilities = (
                server_abilities(response.json())
                if response.status == 200
                else ServerAbilities(filter=True, patch=False)
            )
            if not abilities.filter:
                raise DirectoryUnavailable("unsupported", "the SCIM server cannot filter", retry_after=None)
            self._server = abilities
        return self._server

    async def _write(self, account: Account, fields: Mapping[str, Any]) -> None:
        """Write by PATCH where the server supports it; else PUT the whole User with some attributes changed."""
        deadline = self._deadline()
        path = _user_path(account.id)
        if (await self._read_abilities(deadline)).patch:
            operations = [patch_operation(name, value) for name, value in fields.items()]
            body: dict[str, Any] = {"schemas": [PATCH_OP], "Operations": operations}
            response = await self._call("PATCH", path, deadline, body=body, write=True)
        else:
            current = await self._call("GET", path, deadline)
            if current.status != 200:
                raise error_of(current)
            user = dict(self._the_one(current.json(), account.id).record)
            for name, value in fields.items():
                user = with_value(user, name, value)
            response = await self._call("PUT", path, deadline, body=user, write=True)
        if response.status not in (200, 204):
            raise error_of(response)

    async def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        write: bool = False,
    ) -> ApiResponse:
        """One call. Raises CreationUncertain for a write that was sent and got no response."""
        headers = {
            "Authorization": f"Bearer {self._config.token.get_secret_value()}",
            "Accept": f"{_MEDIA}, application/json",
        }
        if body is not None:
            headers["Content-Type"] = _MEDIA
        request = ApiRequest(
            method=method, path=path, headers=headers, query=query or {}, write=write, repeatable=not write,
            body=b"" if body is None else json_bytes(body),
        )  # fmt: skip
        try:
            return await self._calls.call(request, deadline)
        except NotSent:
            raise
        except DirectoryUnavailable as error:
            if not write or error.reason == "throttled":
                raise
            raise CreationUncertain(error.reason, error.detail) from error


def _user_path(account_id: str) -> str:
    # SECURITY: an id from the server or from Redis is one segment: never `..`, never another resource.
    if not account_id or account_id in (".", ".."):
        raise DirectoryUnavailable("incomplete", "an id that is no path segment")
    return f"/Users/{quote(account_id, safe='')}"


def _has_address(user: Mapping[str, Any], email: str, match: str) -> bool:
    """Whether the attribute `match` is this address, or a list with it."""
    values = value_at(user, match)
    return any(same_email(value, email) for value in (values if isinstance(values, list) else [values]))
