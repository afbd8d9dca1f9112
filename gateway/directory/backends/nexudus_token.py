"""The service account's bearer token: fetched with its password, renewed before it expires, one request at a time.

`POST /api/token` as the vendor describes it: form-encoded, with a `client_id` header that stays the same, because a
new token for the same client_id invalidates the refresh token before it. Several workers share the name, so a refresh
that is refused is ordinary and falls back to the password. A refused password is remembered for a while: retrying it
for every login would lock the account.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from gateway.directory.account import quotable
from gateway.directory.api.answer import ApiResponse, error_of
from gateway.directory.api.calls import ApiCalls, ApiRequest, Clock, Deadline, form_bytes
from gateway.errors.signing_in import DirectoryUnavailable

log = logging.getLogger("doorward.directory")

_EARLY: Final = 300.0  # seconds before the end at which a token is renewed
_MEMORY_OF_REFUSAL: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    access: str
    refresh: str | None
    renew_at: float

    def __repr__(self) -> str:
        return "_Pair(...)"


class ServiceToken:
    """The current token. `current` and `renewed` raise DirectoryUnavailable."""

    def __init__(self, calls: ApiCalls, username: str, password: SecretStr, client_id: str, clock: Clock) -> None:
        self._calls = calls
        self._username = username
        self._password = password
        self._client_id = client_id
        self._clock = clock
        self._pair: _Pair | None = None
        self._refused_until = 0.0
        self._turn = asyncio.Lock()

    async def current(self, deadline: Deadline) -> str:
        """A token that has not expired."""
        pair = self._pair
        if pair is not None and self._clock() < pair.renew_at:
            return pair.access
        return await self.renewed(pair.access if pair else None, deadline)

    async def renewed(self, stale: str | None, deadline: Deadline) -> str:
        """Another token than `stale`, which the API refused. Concurrent callers share one request."""
        try:
            async with asyncio.timeout(max(deadline.left(), 0.0)):
                await self._turn.acquire()
        except TimeoutError as error:
            raise DirectoryUnavailable("timeout", "waited for the service token") from error
        try:
            if self._pair is None or self._pair.access == stale:
                self._pair = await self._fetch(deadline)
            return self._pair.access
        finally:
            self._turn.release()

    async def _fetch(self, deadline: Deadline) -> _Pair:
        refresh = self._pair.refresh if self._pair else None
        if refresh is not None:
            response = await self._post({"grant_type": "refresh_token", "refresh_token": refresh}, deadline)
            if response.status == 200:
                return self._read(response)
            log.info("the directory refused the refresh token (HTTP %d), logging in again", response.status)
        if self._clock() < self._refused_until:
            raise DirectoryUnavailable("unauthorized", "the service account was refused a moment ago")
        password = self._password.get_secret_value()
        form = {"grant_type": "password", "username": self._username, "password": password}
        response = await self._post(form, deadline)
        if response.status == 200:
            return self._read(response)
        raise self._refusal(response)

    async def _post(self, form: Mapping[str, str], deadline: Deadline) -> ApiResponse:
        headers = {
            "client_id": self._client_id,
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        request = ApiRequest(
            method="POST", path="/api/token", headers=headers, body=form_bytes(form), repeatable=True, hidden=True
        )
        return await self._calls.call(request, deadline)

    def _read(self, response: ApiResponse) -> _Pair:
        value = response.json()
        access = value.get("access_token") if isinstance(value, dict) else None
        if not isinstance(access, str) or not access or not access.isascii() or not access.isprintable():
            raise DirectoryUnavailable("incomplete", "a token response without a usable access_token")
        seconds, refresh = value.get("expires_in"), value.get("refresh_token")
        lifetime = float(seconds) if isinstance(seconds, int) and seconds > 0 else 60.0
        early = min(_EARLY, lifetime / 10)
        self._refused_until = 0.0
        return _Pair(
            access=access,
            refresh=refresh if isinstance(refresh, str) and refresh else None,
            renew_at=self._clock() + lifetime - early,
        )

    def _refusal(self, response: ApiResponse) -> DirectoryUnavailable:
        """The error for a response other than 200: 400 and 401 are a refusal of the account, which is remembered for a while."""
        if response.status not in (400, 401):
            return error_of(response)
        value = response.json()
        word = value.get("error") if isinstance(value, dict) else None
        self._refused_until = self._clock() + _MEMORY_OF_REFUSAL
        return DirectoryUnavailable("unauthorized", f"the service account was refused: {quotable(str(word), 40)}")
