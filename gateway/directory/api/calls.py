"""One call to a directory's API: bounded in time and size, patient with throttling, and never redirected.

Every way in which a call ends without an answer is a `DirectoryUnavailable`; `NotSent` when the request surely never
left. What an answer means is for the caller. Which statuses mean throttling is the API's habit; how long to wait stands
in Retry-After, as "Wait N seconds" in the text, or nowhere. Where writes are held (a dry run, shadow mode), a call that
would write ends as `WriteHeld`, complete as it would have been sent.
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
from gateway.errors.signing_in import DirectoryUnavailable

log = logging.getLogger("doorward.directory")

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_MOST_WAITS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call as it would be sent, for people: secrets are masked."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = field(default="", repr=False)


class WriteHeld(Exception):
    """Here is the write that was not sent."""

    def __init__(self, planned: Planned) -> None:
        super().__init__(f"{planned.method} {planned.url}")
        self.planned = planned


class NotSent(DirectoryUnavailable):
    """The request never reached the directory: it cannot have had an effect."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one operation, on the caller's clock: every wait and every call of it shares this budget."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        return cls(clock, clock() + seconds)

    def left(self) -> float:
        return self.at - self.clock()

    def share(self, part: float) -> "Deadline":
        """An earlier end: after `part` of what is left."""
        return Deadline.after(self.clock, self.left() * part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProfile:
    """How one API is talked to. `throttled`: its statuses for that. `secret`: header fields whose values nobody may see."""

    base_url: str
    throttled: frozenset[int] = frozenset({429})
    secret: frozenset[str] = frozenset({"authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the calls are made with: seams, and the guards that workers share. `http` belongs to whoever opened it.

    `hold_writes`: nothing that would write is sent. `watch` sees every call before it is sent.
    """

    http: aiohttp.ClientSession
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    budget: CallBudget | None = None
    breaker: Breaker | None = None
    hold_writes: bool = False
    watch: Callable[[Planned], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request. `body` is complete; `hidden`: it holds a secret. `path` is percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    write: bool = False
    repeatable: bool = False
    hidden: bool = False


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def form_bytes(values: Mapping[str, str]) -> bytes:
    return urlencode(values).encode()


class ApiCalls:
    """Calls below one base URL."""

    def __init__(self, habits: ApiProfile, means: Means) -> None:
        self._habits = habits
        self._means = means

    def deadline(self, seconds: float) -> Deadline:
        return Deadline.after(self._means.clock, seconds)

    async def call(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        """The first answer that is not a throttle. A `repeatable` one is tried once more after a dropped connection or 5xx.

        Raises DirectoryUnavailable: throttled, timeout, unreachable, incomplete; StoreUnavailable; WriteHeld.
        """
        self._look(request)
        second_chance = request.repeatable
        waits = 0
        while True:
            try:
                answer = await self._guarded(request, deadline)
            except DirectoryUnavailable as error:
                if error.reason != "unreachable" or not second_chance or isinstance(error, BreakerOpen):
                    raise
            else:
                if answer.status in self._habits.throttled:
                    waits += 1
                    await self._be_patient(answer, waits, deadline)
                    continue
                if answer.status < 500 or not second_chance:
                    return answer
            second_chance = False
            await self._means.sleep(min(0.2, max(deadline.left(), 0.0)))

    def _look(self, request: ApiRequest) -> None:
        means = self._means
        if means.watch is None and not (request.write and means.hold_writes):
            return
        planned = self._planned(request)
        if means.watch is not None:
            means.watch(planned)
        if request.write and means.hold_writes:
            raise WriteHeld(planned)

    def _planned(self, request: ApiRequest) -> Planned:
        shown = tuple(
            (name, "***" if name.lower() in self._habits.secret else value) for name, value in request.headers.items()
        )
        body = "***" if request.hidden else request.body.decode("utf-8", "replace")
        return Planned(method=request.method, url=str(self._url(request)), headers=shown, body=body)

    def _url(self, request: ApiRequest) -> URL:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        return URL(f"{self._habits.base_url.rstrip('/')}{request.path}{query}", encoded=True)

    async def _be_patient(self, answer: ApiResponse, waits: int, deadline: Deadline) -> None:
        """Wait as long as the throttled answer asks. Raises throttled when nobody at a login would wait so long."""
        pause = answer.wait()
        if self._means.budget is not None:
            await self._means.budget.pause(pause)
        if waits >= _MOST_WAITS or pause >= deadline.left():
            detail = f"HTTP {answer.status} after {waits} calls"
            raise DirectoryUnavailable("throttled", detail, retry_after=round(pause) + 1)
        log.info("the directory is throttling (HTTP %d), waiting %.1f s", answer.status, pause)
        crowd = 1 + random.random() / 4  # noqa: S311 - spreads those who wait, nothing more
        await self._means.sleep(min(pause * crowd, max(deadline.left(), 0.0)))

    async def _guarded(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        """One attempt, when the breaker lets it, after the fleet's budget gave a place."""
        means = self._means
        if means.breaker is not None:
            means.breaker.enter()
        if means.budget is not None:
            await self._wait_for_place(means.budget, request, deadline)
        try:
            answer = await self._once(request, deadline)
        except DirectoryUnavailable as error:
            if means.breaker is not None:
                means.breaker.failed() if error.reason in ("unreachable", "timeout") else means.breaker.worked()
            raise
        if means.breaker is not None:
            means.breaker.failed() if answer.status >= 500 else means.breaker.worked()
        return answer

    async def _wait_for_place(self, budget: CallBudget, request: ApiRequest, deadline: Deadline) -> None:
        while (pause := await budget.take(write=request.write)) > 0:
            if pause >= deadline.left():
                detail = "the budget that all workers share is used up"
                raise NotSent("throttled", detail, retry_after=round(pause) + 1)
            await self._means.sleep(pause)

    async def _once(self, request: ApiRequest, deadline: Deadline) -> ApiResponse:
        left = deadline.left()
        said = f"{request.method} {request.path}"
        if left <= 0:
            raise NotSent("timeout", f"no time left for {said}")
        # SECURITY: a redirect would carry the service account's token to wherever it points.
        limits: dict[str, Any] = {"allow_redirects": False, "timeout": aiohttp.ClientTimeout(total=left)}
        limits["middlewares"] = (_Once(),)
        headers = {"Accept-Encoding": "identity", **request.headers}
        body = request.body or None
        try:
            call = self._means.http.request(request.method, self._url(request), headers=headers, data=body, **limits)
            async with call as response:
                return ApiResponse(
                    status=response.status, headers=response.headers.copy(), body=await read_bounded(response)
                )
        except aiohttp.ClientConnectorError as error:
            raise NotSent("unreachable", f"{said}: {_name(error)}") from error
        except TimeoutError as error:
            raise DirectoryUnavailable("timeout", f"{said}: no complete answer in {left:.1f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DirectoryUnavailable("unreachable", f"{said}: {_name(error)}") from error


class _Once:
    """Stops the client library from sending a request again by itself, as it does for GET, PUT and DELETE when a connection breaks.

    What may be repeated is said by whoever asks (`ApiRequest.repeatable`).
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


def _name(error: BaseException) -> str:
    return quotable(f"{type(error).__name__} {error}")
