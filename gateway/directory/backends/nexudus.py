"""The Directory over the Nexudus API: its customers ("coworkers") are the accounts.

The API has no "already exists": addresses are not unique, a list may lag behind a creation and may show deleted records.
So a list only names candidates, and each is read by its id before it counts. The provisioner prevents a second creation.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from gateway.config import schema
from gateway.directory.account import Ability, Account, Change, CreationUncertain, kept_link, same_email, unsupported
from gateway.directory.api.answer import ApiResponse, error_of
from gateway.directory.api.calls import ApiTransport, Deadline
from gateway.directory.backends.nexudus_api import NexudusApi
from gateway.directory.backends.nexudus_records import (
    HomeSpace,
    Row,
    account_of,
    candidates,
    created_id,
    home_of,
    is_archived,
    listed_account,
    merged,
    new_record,
    read_page,
    record_id,
    token_of,
)
from gateway.directory.person import Person, all_fields, applies, as_text, filled_link, known_of, own_fields
from gateway.errors.signing_in import DirectoryUnavailable

log = logging.getLogger("doorward.directory")

_COWORKERS: Final = "/api/spaces/coworkers"
_PAGE_SIZE: Final = 25
_MOST_PAGES: Final = 8  # no person has 200 records; a list that long is not filtered
_LARGE_PAGE: Final = 250
_MOST_LARGE_PAGES: Final = 2000
_CREATION_SHARE: Final = 0.6  # of the time left: the rest is for another look-up when no response came


class NexudusDirectory:
    """`config.timeout` bounds each method in total, with all its waits."""

    def __init__(self, config: schema.Nexudus, transport: ApiTransport, *, client_id: str = "doorward") -> None:
        self._config = config
        self._api = NexudusApi(config, transport, client_id)
        self._home: HomeSpace | None = None

    def can(self, ability: Ability) -> bool:
        if ability == "link":
            return self._config.link_field is not None
        return ability != "brief"  # every account is read by its id

    async def find(self, email: str, person: Person | None = None) -> Account | None:
        deadline, wanted = self._api.deadline(), self._locations(person)
        rows = candidates(await self._rows("Email", email, deadline), email, wanted)
        if not rows and email != email.lower():
            # It is not documented whether the filter is case-sensitive: addresses are mostly stored in lower case.
            rows = candidates(await self._rows("Email", email.lower(), deadline), email, wanted)
        inactive = None
        for row in rows:
            number = str(record_id(row))
            account = await self._account(number, deadline)
            if account is None or not same_email(account.email, email):
                log.info("a list shows coworker %s, which is gone or another person's", number)
            elif account.active:
                _log_choice(rows, account)
                return account
            else:
                inactive = inactive or account
        return inactive

    def link_for(self, person: Person) -> str | None:
        return None if self._config.link_field is None else filled_link(self._config.link_value, person.known)

    async def find_linked(self, link: str, person: Person | None = None) -> Account | None:
        field = self._config.link_field
        if field is None:
            raise unsupported("link")
        kept = filled_link(self._config.link_value, known_of(link, person))
        if kept is None:
            return None
        deadline = self._api.deadline()
        # SECURITY: a filter that the API does not know returns every account; each row is compared with the link.
        own = [row for row in await self._rows(field, kept, deadline) if kept_link(row.get(field)) == kept]
        for row in sorted((row for row in own if not is_archived(row)), key=record_id):
            account = await self._account(str(record_id(row)), deadline)
            if account is not None and account.link == kept:
                return account
        return None

    async def fetch(self, account_id: str) -> Account | None:
        return await self._account(account_id, self._api.deadline())

    async def create(self, person: Person) -> str:
        config, deadline = self._config, self._api.deadline()
        if not self._locations(person):
            raise DirectoryUnavailable("rejected", "creation needs business_ids")
        home = await self._home_of(deadline)
        fields = all_fields(config, person)
        link = self.link_for(person)
        if config.link_field is not None and link is not None:
            fields[config.link_field] = link
        record = new_record(
            person.identity,
            businesses=self._locations(person),
            country=home.country,
            time_zone=home.time_zone,
            create_login=config.create_login,
            fields=fields,
        )
        return _written_id(
            await self._api.call("POST", _COWORKERS, deadline.share(_CREATION_SHARE), json_body=record, write=True)
        )

    def changes(self, account: Account, person: Person) -> tuple[Change, ...]:
        wanted, field = own_fields(self._config.fields, person), self._config.link_field
        link = self.link_for(person)
        if field is not None and link is not None and kept_link(account.record.get(field)) is None:
            wanted[field] = link
        return tuple(
            Change(name=name, before=account.record.get(name), after=after)
            for name, after in wanted.items()
            if account.record.get(name) is None or as_text(account.record[name]) != as_text(after)
        )

    async def update(self, account: Account, changes: Sequence[Change]) -> None:
        await self._write(account.id, {change.name: change.after for change in changes})

    async def suspend(self, account: Account) -> None:
        await self._write(account.id, {"Active": False})

    async def sign_in_token(self, account: Account) -> str:
        """Needs the role User-Edit, which allows its holder to sign in as any user."""
        number = account.user_id
        if number is None or not number.isascii() or not number.isdigit():
            raise DirectoryUnavailable(
                "no_login", f"account {account.id} has no login in the upstream", retry_after=None
            )
        path, deadline = f"/api/sys/users/{number}/token/refresh", self._api.deadline()
        response = await self._api.call("GET", path, deadline)
        if response.status == 405:  # the oldest pages of the vendor say POST
            response = await self._api.call("POST", path, deadline, json_body={"auth": {"validityInMinutes": 5}})
        if response.status != 200:
            raise error_of(response)
        return token_of(response.json())

    async def accounts(self) -> AsyncIterator[Account]:
        for number in range(1, _MOST_LARGE_PAGES + 1):
            query = {"page": str(number), "size": str(_LARGE_PAGE), "orderBy": "Id", "dir": "1"}
            response = await self._api.call("GET", _COWORKERS, self._api.deadline(), query=query)
            if response.status != 200:
                raise error_of(response)
            page = read_page(response.json(), number)
            for row in page.rows:
                if not is_archived(row):
                    yield listed_account(row)
            if not page.has_next:
                return
        raise DirectoryUnavailable("incomplete", f"more than {_MOST_LARGE_PAGES} pages of accounts")

    async def ping(self) -> None:
        deadline = self._api.deadline()
        response = await self._api.call("GET", _COWORKERS, deadline, query={"page": "1", "size": "1"})
        if response.status != 200:
            raise error_of(response)
        read_page(response.json(), 1)

    async def close(self) -> None:
        """No effect: the caller closes the client session."""

    def _locations(self, person: Person | None) -> tuple[int, ...]:
        """The person's locations: those of the first of `directory.defaults` that applies and has any."""
        entries = self._config.defaults if person is not None else ()
        chosen = (entry.business_ids for entry in entries if person is not None and applies(entry, person))
        return next((ids for ids in chosen if ids), self._config.business_ids)

    async def _home_of(self, deadline: Deadline) -> HomeSpace:
        """Country and time zone of new records: as configured, else those of the service account's location."""
        country, zone = self._config.country_id, self._config.time_zone_id
        if country is not None and zone is not None:
            return HomeSpace(country=country, time_zone=zone)
        if self._home is None:
            response = await self._api.call("GET", "/api/auth/me", deadline)
            if response.status != 200:
                raise error_of(response)
            self._home = home_of(response.json(), country, zone)
        return self._home

    async def _rows(self, field: str, value: str, deadline: Deadline) -> list[Row]:
        """The rows of the list with this value, over all pages."""
        rows: list[Row] = []
        for number in range(1, _MOST_PAGES + 1):
            window = {"page": str(number), "size": str(_PAGE_SIZE), "orderBy": "Id", "dir": "1"}
            response = await self._api.call("GET", _COWORKERS, deadline, query={f"Coworker_{field}": value, **window})
            if response.status != 200:
                raise error_of(response)
            page = read_page(response.json(), number)
            rows.extend(page.rows)
            if not page.has_next:
                return rows
        raise DirectoryUnavailable("incomplete", f"more than {_MOST_PAGES * _PAGE_SIZE} records for one person")

    async def _account(self, account_id: str, deadline: Deadline) -> Account | None:
        record = await self._record(account_id, deadline)
        return None if record is None else account_of(record, account_id, self._config.link_field)

    async def _record(self, account_id: str, deadline: Deadline) -> Any:
        if not account_id.isascii() or not account_id.isdigit():
            raise DirectoryUnavailable("incomplete", "an id that is not a number")
        response = await self._api.call("GET", f"{_COWORKERS}/{account_id}", deadline, final="not found")
        if response.status in (401, 404) and response.text().casefold() == "not found":
            return None
        if response.status != 200:
            raise error_of(response)
        return response.json()

    async def _write(self, account_id: str, fields: dict[str, Any]) -> None:
        """Write the whole record with some fields changed: a field that is missing in a PUT is cleared."""
        deadline = self._api.deadline()
        record = await self._record(account_id, deadline)
        if record is None:
            raise DirectoryUnavailable("rejected", f"account {account_id} is gone")
        body = merged(record, account_id, fields)
        _written_id(await self._api.call("PUT", _COWORKERS, deadline, json_body=body, write=True))


def _written_id(response: ApiResponse) -> str:
    """The written record's id. HTTP 200 alone is no success. Raises CreationUncertain for an inconclusive response, DirectoryUnavailable."""
    if response.status >= 500:
        raise CreationUncertain("unreachable", f"HTTP {response.status}: {response.quote()}")
    if response.status == 401 and response.text().casefold() == "access denied":
        raise DirectoryUnavailable(
            "rejected", "access denied to a record that the new account names: business_ids, country_id, time_zone_id?"
        )
    if response.status != 200:
        raise error_of(response)
    try:
        value = response.json()
    except DirectoryUnavailable as error:
        raise CreationUncertain(error.reason, error.detail) from error
    number = created_id(value)
    if number is not None:
        return number
    if isinstance(value, dict) and value.get("WasSuccessful") is False:
        raise DirectoryUnavailable("rejected", f"HTTP 200 that failed: {response.quote()}")
    raise CreationUncertain("incomplete", "a success without an Id")


def _log_choice(rows: Sequence[Row], chosen: Account) -> None:
    if len(rows) > 1:
        log.warning("%d coworkers share one address; chose %s", len(rows), chosen.id)
