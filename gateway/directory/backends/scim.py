"""The Directory over SCIM 2.0 (RFC 7643, RFC 7644): its Users are the accounts.

A person is found by `externalId` (where `link_field` says so, in the form of `link_value`) and by one attribute that holds the address. Two
Users for one address are an error, not a choice. 409, and 400 with `uniqueness`, mean that somebody else created: looked up again once.
What the server can (filter, PATCH) is read once from its ServiceProviderConfig; a server without one is taken to filter and to PUT.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from gateway.config import schema
from gateway.directory.account import Ability, Account, AlreadyThere, Change, CreationUncertain, same_email, unsupported
from gateway.directory.api.answer import ApiResponse, refused
from gateway.directory.api.calls import ApiCalls, ApiProfile, ApiRequest, Deadline, Means, NotSent, json_bytes
from gateway.directory.backends.scim_records import (
    PATCH_OP,
    ServerCan,
    account_of,
    is_uniqueness,
    new_user,
    patch_operation,
    quoted,
    read_list,
    server_can,
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

    def __init__(self, config: schema.Scim, means: Means) -> None:
        self._config = config
        self._calls = ApiCalls(ApiProfile(base_url=config.base_url), means)
        self._server: ServerCan | None = None

    def can(self, ability: Ability) -> bool:
        if ability in ("link", "brief"):
            return self._config.link_field is not None
        return ability != "sign_in_token"

    async def find(self, email: str, person: Person | None = None) -> Account | None:
        deadline = self._deadline()
        found = await self._filtered(f"{self._config.match} eq {quoted(email)}", deadline)
        # SECURITY: a filter that the server does not know may return everybody; each is compared with the address.
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
        answer = await self._call("GET", _user_path(account_id), self._deadline())
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(answer)
        return self._the_one(answer.json(), account_id)

    async def create(self, person: Person) -> str:
        keeps = self._config.link_field is not None
        user = new_user(person, all_fields(self._config, person), link=self.link_for(person) if keeps else None)
        deadline = self._deadline().share(_CREATION_SHARE)
        answer = await self._call("POST", "/Users", deadline, body=user, write=True)
        if is_uniqueness(answer.status, answer.body):
            raise AlreadyThere("rejected", f"HTTP {answer.status}: {answer.quote()}")
        if answer.status >= 500:
            raise CreationUncertain("unreachable", f"HTTP {answer.status}: {answer.quote()}")
        if answer.status not in (200, 201):
            raise refused(answer)
        try:
            return account_of(answer.json()).id
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
        await self._look_at_server(deadline)
        await self._list({"startIndex": "1", "count": "1"}, deadline)

    async def close(self) -> None:
        """Nothing is held: the client session is the caller's."""

    def _deadline(self) -> Deadline:
        return self._calls.deadline(self._config.timeout.total_seconds())

    def _account(self, user: object, email: str | None = None) -> Account:
        """Without `link_field`, a link of our own form counts all the same: it was ours before the configuration was changed."""
        account = account_of(user, email)
        if self._config.link_field is None and not is_link(account.link):
            return replace(account, link=None)
        return account

    def _the_one(self, value: object, account_id: str) -> Account:
        account = self._account(value)
        if account.id != account_id:
            raise DirectoryUnavailable("incomplete", "the user that was asked for is not the one that came")
        return account

    async def _filtered(self, text: str, deadline: Deadline) -> list[Mapping[str, Any]]:
        await self._look_at_server(deadline)
        # Two would do, but a server that ignores the filter shows itself by its total.
        total, users = await self._list({"filter": text, "startIndex": "1", "count": "10"}, deadline)
        if total > len(users):
            raise DirectoryUnavailable("incomplete", f"a filter for one person that {total} users match")
        return users

    async def _list(self, query: Mapping[str, str], deadline: Deadline) -> tuple[int, list[Mapping[str, Any]]]:
        answer = await self._call("GET", "/Users", deadline, query=query)
        if answer.status == 400 and "filter" in query and b"invalidFilter" in answer.body:
            raise FilterRefused("unsupported", answer.quote(), retry_after=None)
        if answer.status != 200:
            raise refused(answer)
        return read_list(answer.json())

    async def _look_at_server(self, deadline: Deadline) -> ServerCan:
        """Once. Raises DirectoryUnavailable when the server says that it cannot filter: nobody could be looked up."""
        if self._server is None:
            answer = await self._call("GET", "/ServiceProviderConfig", deadline)
            if answer.status not in (200, 404, 501):
                raise refused(answer)
            told = server_can(answer.json()) if answer.status == 200 else ServerCan(filter=True, patch=False)
            if not told.filter:
                raise DirectoryUnavailable(
                    "unsupported", "the SCIM server says that it cannot filter", retry_after=None
                )
            self._server = told
        return self._server

    async def _write(self, account: Account, fields: Mapping[str, Any]) -> None:
        """By PATCH where the server can; else the whole User goes back with some attributes changed."""
        deadline = self._deadline()
        path = _user_path(account.id)
        if (await self._look_at_server(deadline)).patch:
            operations = [patch_operation(name, value) for name, value in fields.items()]
            body: dict[str, Any] = {"schemas": [PATCH_OP], "Operations": operations}
            answer = await self._call("PATCH", path, deadline, body=body, write=True)
        else:
            current = await self._call("GET", path, deadline)
            if current.status != 200:
                raise refused(current)
            user = dict(self._the_one(current.json(), account.id).record)
            for name, value in fields.items():
                user = with_value(user, name, value)
            answer = await self._call("PUT", path, deadline, body=user, write=True)
        if answer.status not in (200, 204):
            raise refused(answer)

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
        """One call. Raises CreationUncertain for a write that left and was not answered."""
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
    # SECURITY: an id is one segment, whatever the server or Redis said: never `..`, never another resource.
    if not account_id or account_id in (".", ".."):
        raise DirectoryUnavailable("incomplete", "an id that is no path segment")
    return f"/Users/{quote(account_id, safe='')}"


def _has_address(user: Mapping[str, Any], email: str, match: str) -> bool:
    """Whether the attribute that was asked for is this address, or one of them."""
    values = value_at(user, match)
    return any(same_email(value, email) for value in (values if isinstance(values, list) else [values]))
