"""Authorised calls to the Nexudus API: with the service account's token, renewed once when it is refused.

A 401 has four meanings: an expired token (renewed once, then the call is repeated), too few rights (401 again), "Not found" for an id, and
"Access Denied." for a write that names a record which does not exist.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.config import schema
from gateway.directory.account import CreationUncertain
from gateway.directory.api.answer import ApiResponse
from gateway.directory.api.calls import ApiCalls, ApiProfile, ApiRequest, ApiTransport, Deadline, NotSent, json_bytes
from gateway.directory.backends.nexudus_token import ServiceToken
from gateway.errors.signing_in import DirectoryUnavailable

_THROTTLED: Final = frozenset({409, 429})


class NexudusApi:
    """The calls. `config.timeout` bounds each operation in total, with all its waits."""

    def __init__(self, config: schema.Nexudus, transport: ApiTransport, client_id: str) -> None:
        self._calls = ApiCalls(ApiProfile(base_url=config.base_url, throttled=_THROTTLED), transport)
        self._token = ServiceToken(self._calls, config.username, config.password, client_id, transport.clock)
        self._timeout = config.timeout.total_seconds()

    def deadline(self) -> Deadline:
        """The end of an operation that begins now."""
        return self._calls.deadline(self._timeout)

    async def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        json_body: Mapping[str, Any] | None = None,
        write: bool = False,
        final: str = "access denied",
    ) -> ApiResponse:
        """One authorised call; after a 401 whose text is not `final` it is repeated once with another token. Raises DirectoryUnavailable."""
        token = await self._token.current(deadline)
        response = await self._send(method, path, token, deadline, query, json_body, write)
        if response.status == 401 and response.text().casefold() != final:
            token = await self._token.renewed(token, deadline)
            response = await self._send(method, path, token, deadline, query, json_body, write)
        return response

    async def _send(
        self,
        method: str,
        path: str,
        token: str,
        deadline: Deadline,
        query: Mapping[str, str] | None,
        json_body: Mapping[str, Any] | None,
        write: bool,
    ) -> ApiResponse:
        """One call. Raises CreationUncertain for a write that was sent and got no response."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        body = b""
        if json_body is not None:
            headers["Content-Type"] = "application/json"
            body = json_bytes(json_body)
        request = ApiRequest(
            method=method, path=path, headers=headers, query=query or {}, body=body, write=write, repeatable=not write
        )
        try:
            return await self._calls.call(request, deadline)
        except NotSent:
            raise
        except DirectoryUnavailable as error:
            if not write or error.reason == "throttled":
                raise
            raise CreationUncertain(error.reason, error.detail) from error
