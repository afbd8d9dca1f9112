"""The Directory over the Nexudus API: its customers ("coworkers") are the accounts.

The API has no "already exists": addresses are not unique, a list may lag behind a creation and may show what was
deleted. So a list only names candidates, and each is read by its id before it counts; that creation happens once is
the provisioner's care. A 401 has four meanings: an expired token (renewed once, then asked again), too few rights
(401 again), "Not found" for an id, and "Access Denied." for a write that names a record which is not there.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp

from gateway.config import schema
from gateway.directory.account import Account, CreationUncertain
from gateway.directory.nexudus_http import Answer, Clock, Deadline, NexudusHttp, NotSent, Sleep, refused
from gateway.directory.nexudus_records import (
    Row,
    account_of,
    candidates,
    created_id,
    new_record,
    read_page,
    record_id,
    token_of,
)
from gateway.directory.nexudus_token import ServiceToken
from gateway.errors import DirectoryUnavailable
from gateway.identity import Identity

log = logging.getLogger("doorward.directory")

_COWORKERS: Final = "/api/spaces/coworkers"
_PAGE_SIZE: Final = 25
_MOST_PAGES: Final = 8  # nobody has 200 records; a list that long is not filtered
_CREATION_SHARE: Final = 0.6  # of the time left: what remains is for looking again when no answer came


class NexudusDirectory:
    """`config.timeout` bounds each method in total, with all its waits. `http` belongs to the caller."""

    def __init__(
        self,
        config: schema.Directory,
        http: aiohttp.ClientSession,
        *,
        client_id: str = "doorward",
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if config.base_url is None or config.username is None or config.password is None:
            raise ValueError("directory: base_url, username and password are needed")
        self._config = config
        self._http = NexudusHttp(config.base_url, http, clock, sleep)
        self._token = ServiceToken(self._http, config.username, config.password, client_id, clock)

    async def find(self, email: str) -> Account | None:
        deadline = self._deadline()
        rows = await self._rows(email, deadline)
        if not rows and email != email.lower():
            # Whether the filter tells case apart is not documented: addresses are mostly stored in lower case.
            rows = await self._rows(email.lower(), deadline, same_as=email)
        inactive = None
        for row in rows:
            number = str(record_id(row))
            account = await self._account(number, email, deadline)
            if account is None:
                log.info("a list shows coworker %s, which is gone or someone else's", number)
            elif account.active:
                _log_choice(rows, account)
                return account
            else:
                inactive = inactive or account
        return inactive

    async def fetch(self, account_id: str, email: str) -> Account | None:
        return await self._account(account_id, email, self._deadline())

    async def create(self, identity: Identity) -> str:
        config = self._config
        if not config.business_ids or config.country_id is None or config.time_zone_id is None:
            raise DirectoryUnavailable("rejected", "creation needs business_ids, country_id and time_zone_id")
        record = new_record(
            identity,
            businesses=config.business_ids,
            country=config.country_id,
            time_zone=config.time_zone_id,
            create_login=config.create_login,
        )
        return _made(await self._call("POST", _COWORKERS, self._deadline().share(_CREATION_SHARE), json_body=record))

    async def sign_in_token(self, account: Account) -> str:
        """Needs the role User-Edit, which lets its holder sign in as anybody."""
        number = account.user_id
        if number is None or not number.isascii() or not number.isdigit():
            raise DirectoryUnavailable(
                "no_login", f"account {account.id} has no login in the upstream", retry_after=None
            )
        path, deadline = f"/api/sys/users/{number}/token/refresh", self._deadline()
        answer = await self._call("GET", path, deadline)
        if answer.status == 405:  # the oldest pages of the vendor say POST
            answer = await self._call("POST", path, deadline, json_body={"auth": {"validityInMinutes": 5}})
        if answer.status != 200:
            raise refused(answer)
        return token_of(answer.json())

    async def ping(self) -> None:
        answer = await self._call("GET", _COWORKERS, self._deadline(), query={"page": "1", "size": "1"})
        if answer.status != 200:
            raise refused(answer)
        read_page(answer.json(), 1)

    async def close(self) -> None:
        """Nothing is held: the client session is the caller's."""

    def _deadline(self) -> Deadline:
        return self._http.deadline(self._config.timeout.total_seconds())

    async def _rows(self, email: str, deadline: Deadline, same_as: str | None = None) -> list[Row]:
        """All candidates, best first, over all pages."""
        rows: list[Row] = []
        for number in range(1, _MOST_PAGES + 1):
            query = {"Coworker_Email": email, "page": str(number), "size": str(_PAGE_SIZE), "orderBy": "Id", "dir": "1"}
            answer = await self._call("GET", _COWORKERS, deadline, query=query)
            if answer.status != 200:
                raise refused(answer)
            page = read_page(answer.json(), number)
            rows.extend(page.rows)
            if not page.has_next:
                return candidates(rows, same_as or email, self._config.business_ids)
        raise DirectoryUnavailable("incomplete", f"more than {_MOST_PAGES * _PAGE_SIZE} records for one address")

    async def _account(self, account_id: str, email: str, deadline: Deadline) -> Account | None:
        if not account_id.isascii() or not account_id.isdigit():
            raise DirectoryUnavailable("incomplete", "an id that is not a number")
        answer = await self._call("GET", f"{_COWORKERS}/{account_id}", deadline, final="not found")
        if answer.status in (401, 404) and answer.text().casefold() == "not found":
            return None
        if answer.status != 200:
            raise refused(answer)
        return account_of(answer.json(), account_id, email)

    async def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        json_body: Mapping[str, Any] | None = None,
        final: str = "access denied",
    ) -> Answer:
        """One authorised call; a 401 that does not say `final` gets another token and one more try."""
        token = await self._token.current(deadline)
        answer = await self._send(method, path, token, deadline, query, json_body)
        if answer.status == 401 and answer.text().casefold() != final:
            token = await self._token.renewed(token, deadline)
            answer = await self._send(method, path, token, deadline, query, json_body)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        token: str,
        deadline: Deadline,
        query: Mapping[str, str] | None,
        json_body: Mapping[str, Any] | None,
    ) -> Answer:
        """One call. Raises CreationUncertain for a write that left and was not answered."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        reading = method == "GET"
        try:
            return await self._http.call(
                method, path, headers=headers, deadline=deadline, repeatable=reading, query=query, json_body=json_body
            )
        except NotSent:
            raise
        except DirectoryUnavailable as error:
            if reading or error.reason == "throttled":
                raise
            raise CreationUncertain(error.reason, error.detail) from error


def _made(answer: Answer) -> str:
    """The new account's id. HTTP 200 alone is no success, and no answer that leaves doubt is a failure."""
    if answer.status >= 500:
        raise CreationUncertain("unreachable", f"HTTP {answer.status}: {answer.quote()}")
    if answer.status == 401 and answer.text().casefold() == "access denied":
        raise DirectoryUnavailable(
            "rejected", "access denied to a record that the new account names: business_ids, country_id, time_zone_id?"
        )
    if answer.status != 200:
        raise refused(answer)
    try:
        value = answer.json()
    except DirectoryUnavailable as error:
        raise CreationUncertain(error.reason, error.detail) from error
    number = created_id(value)
    if number is not None:
        return number
    if isinstance(value, dict) and value.get("WasSuccessful") is False:
        raise DirectoryUnavailable("rejected", f"HTTP 200 that failed: {answer.quote()}")
    raise CreationUncertain("incomplete", "a success without an Id")


def _log_choice(rows: Sequence[Row], chosen: Account) -> None:
    if len(rows) > 1:
        log.warning("%d coworkers share one address; chose %s", len(rows), chosen.id)
