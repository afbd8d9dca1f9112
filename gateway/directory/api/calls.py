"""One call to a directory's API: bounded in time and size, repeated when throttled, and never redirected.

Every way in which a call ends without a response is a `DirectoryUnavailable`; `NotSent` when the request certainly never left. The caller
interprets the response. An API's profile lists the statuses that mean throttling; the wait is in Retry-After, as "Wait N seconds" in the
text, or not stated. Where writes are held (a dry run, shadow mode), a call that would write ends as `WriteHeld`, with the request as it
would have been sent.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from gateway.directory.account import quotable
from gateway.directory.api.answer import ApiResponse, read_bounded
from gateway.directory.api.breaker import Breaker, BreakerOpen
from gateway.directory.api.budget import CallBudget
from gateway.errors.network import network_failure
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.observability.counters import Durations

log = logging.getLogger("doorward.directory")

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_MOST_WAITS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call as it would be sent, to be shown: secrets are masked."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = field(default="", repr=False)


class WriteHeld(Exception):
    """A write that was not sent."""

    def __init__(self, planned: Planned) -> None:
        super().__init__(f"{planned.method} {planned.url}")
        self.planned = planned


class NotSent(DirectoryUnavailable):
    """The request never reached the directory: it cannot have had an effect."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one operation, on the caller's clock: all its waits and calls share it."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        return cls(clock, clock() + seconds)

    def left(self) -> float:
        """Seconds until the end; negative afterwards."""
        return self.at - self.clock()

    def share(self, part: float) -> "Deadline":
        """An earlier end: after `part` of what is left."""
        return Deadline.after(self.clock, self.left() * part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProfile:
    """How one API is called. `throttled`: its statuses of throttling. `secret`: header fields whose values are masked."""

    base_url: str
    throttled: frozenset[int] = frozenset({429})
    secret: frozenset[str] = frozenset({"authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTransport:
    """The connection, clock and guards of the calls. The caller closes `http`.

    `hold_writes`: no call that would write is sent. `watch` is called with every call before it is sent. `durations`: where calls are timed.
    """

    http: aiohttp.ClientSession
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    budget: CallBudget | None = None
    breaker: Breaker | None = None
    hold_writes: bool = False
    watch: Callable[[Planned], None] | None = None
    durations: Durations = field(default_factory=Durations)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request. `hidden`: the body has a secret. `path` is percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    write: bool = False
    repeatable: bool = False
    hidden: bool = False


def json_bytes(value: Any) -> bytes:
    """A JSON body."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def form_bytes(values: Mapping[str, str]) -> bytes:
    """An application/x-www-form-urlencoded body."""
    return urlencode(values).encode()


class ApiCalls:
    """Calls below one base URL."""

    def __init__(self, profile: ApiProfile, transport: ApiTransport) -> None:
        self._profile = profile
        self._host = URL(profile.base_url).host_port_subcomponent or ""
        self._transport = transport

    def deadline(self, seconds: float) -> Deadline:
        return Deadline.after(self._transport.clock, seconds)

    async def call(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        """The first response that is not throttled. A `repeatable` one is tried once more after a dropped connection or 5xx.

        Raises DirectoryUnavailable: throttled, timeout, unreachable, incomplete; StoreUnavailable; WriteHeld.
        """
        self._plan(request)
        second_chance = request.repeatable
        waits = 0
        while True:
            try:
                response = await self._guarded(request, deadline)
            except DirectoryUnavailable as error:
                if error.reason != "unreachable" or not second_chance or isinstance(error, BreakerOpen):
                    raise
            else:
                if response.status in self._profile.throttled:
                    waits += 1
                    await self._wait_for_throttle(response, waits, deadline)
                    continue
                if response.status < 500 or not second_chance:
                    return response
            second_chance = False
            await self._transport.sleep(min(0.2, max(deadline.left(), 0.0)))

    def _plan(self, request: ApiRequest) -> None:
        transport = self._transport
        if transport.watch is None and not (request.write and transport.hold_writes):
            return
        planned = self._planned(request)
        if transport.watch is not None:
            transport.watch(planned)
        if request.write and transport.hold_writes:
            raise WriteHeld(planned)

    def _planned(self, request: ApiRequest) -> Planned:
        shown = tuple(
            (name, "***" if name.lower() in self._profile.secret else value) for name, value in request.headers.items()
        )
        body = "***" if request.hidden else request.body.decode("utf-8", "replace")
        return Planned(method=request.method, url=str(self._url(request)), headers=shown, body=body)

    def _url(self, request: ApiRequest) -> URL:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        return URL(f"{self._profile.base_url.rstrip('/')}{request.path}{query}", encoded=True)

    async def _wait_for_throttle(self, response: ApiResponse, waits: int, deadline: Deadline) -> None:
        """Wait as long as the throttled response states. Raises DirectoryUnavailable(throttled) when that is later than the deadline."""
        pause = response.wait()
        if self._transport.budget is not None:
            await self._transport.budget.pause(pause)
        if waits >= _MOST_WAITS or pause >= deadline.left():
            detail = f"HTTP {response.status} after {waits} calls"
            raise DirectoryUnavailable("throttled", detail, retry_after=round(pause) + 1)
        log.info("the directory is throttling (HTTP %d), waiting %.1f s", response.status, pause)
        jitter = 1 + random.random() / 4  # noqa: S311 - spreads the calls that wait
        await self._transport.sleep(min(pause * jitter, max(deadline.left(), 0.0)))

    async def _guarded(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        """One attempt, when the breaker allows it and the budget that all workers share has a place."""
        transport = self._transport
        if transport.breaker is not None:
            transport.breaker.enter()
        if transport.budget is not None:
            await self._wait_for_place(transport.budget, request, deadline)
        try:
            response = await self._send(request, deadline)
        except DirectoryUnavailable as error:
            if transport.breaker is not None:
                transport.breaker.failed() if error.reason in ("unreachable", "timeout") else transport.breaker.worked()
            raise
        if transport.breaker is not None:
            transport.breaker.failed() if response.status >= 500 else transport.breaker.worked()
        return response

    async def _wait_for_place(self, budget: CallBudget, request: ApiRequest, deadline: Deadline) -> None:
        while (pause := await budget.take(write=request.write)) > 0:
            if pause >= deadline.left():
                detail = "the budget that all workers share is used up"
                raise NotSent("throttled", detail, retry_after=round(pause) + 1)
            await self._transport.sleep(pause)

    async def _send(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        left = deadline.left()
        summary = f"{request.method} {request.path}"
        if left <= 0:
            raise NotSent("timeout", f"no time left for {summary}")
        # SECURITY: a redirect would carry the service account's token to any URL.
        limits: dict[str, Any] = {"allow_redirects": False, "timeout": aiohttp.ClientTimeout(total=left)}
        limits["middlewares"] = (_SendOnce(),)
        headers = {"Accept-Encoding": "identity", **request.headers}
        body = request.body or None
        begun = time.perf_counter()
        try:
            call = self._transport.http.request(
                request.method, self._url(request), headers=headers, data=body, **limits
            )
            async with call as response:
                return ApiResponse(
                    status=response.status, headers=response.headers.copy(), body=await read_bounded(response)
                )
        except aiohttp.ClientConnectorError as error:
            raise NotSent("unreachable", f"{self._failure(error)}: {summary}") from error
        except TimeoutError as error:
            raise DirectoryUnavailable(
                "timeout", f"{self._host}: no complete answer in {left:.1f} s: {summary}"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DirectoryUnavailable("unreachable", f"{self._failure(error)}: {summary}") from error
        finally:
            timer = self._transport.durations.of("directory", "write" if request.write else "read")
            timer.observe(time.perf_counter() - begun)

    def _failure(self, error: BaseException) -> str:
        return quotable(network_failure(self._host, error))


class _SendOnce:
    """Stops the client library from sending a request again by itself, as it does for GET, PUT and DELETE when a connection breaks.

    `ApiRequest.repeatable` decides what is repeated.
    """

    def __init__(self) -> None:
        self._sent = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # SECURITY: a creation that was sent may have taken effect: sent twice, it may make two accounts.
        if self._sent:
            raise aiohttp.ClientConnectionError("the connection broke")
        self._sent = True
        return await handler(request)
