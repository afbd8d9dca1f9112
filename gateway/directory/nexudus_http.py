"""One call to the API: bounded in time and size, patient with throttling, and never redirected.

Every way in which a call ends without an answer is a `DirectoryUnavailable`; `NotSent` when the request surely never
left. What an answer means is for the caller. Throttling is HTTP 409 or 429, with Retry-After, with "Wait N seconds"
in the text, or with neither.
"""

import json
import logging
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from gateway.directory.account import Reason, quotable
from gateway.errors import DirectoryUnavailable

log = logging.getLogger("doorward.directory")

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_LARGEST_BODY: Final = 1024 * 1024
_THROTTLED: Final = frozenset({409, 429})
_MOST_WAITS: Final = 5
_WAIT_TEXT = re.compile(r"wait\s+(\d{1,6}(?:\.\d{1,3})?)\s*s", re.IGNORECASE)


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
class Answer:
    """A complete answer. `headers` are looked up without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value. Raises DirectoryUnavailable(not_json)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise DirectoryUnavailable("not_json", f"HTTP {self.status}: {self.quote()}") from error

    def text(self) -> str:
        """What it says, whether as a bare text, a JSON string or an object's Message; without a final full stop."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = self.body.decode("utf-8", "replace")
        if isinstance(value, dict):
            value = value.get("Message") or value.get("error")
        return value.strip().rstrip(".") if isinstance(value, str) else ""

    def quote(self) -> str:
        """The same for the log."""
        return quotable(self.text())

    def wait(self) -> float:
        """Seconds after which a throttled call may be made again; 1 when nothing is said."""
        stated = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,9}", stated):
            return max(float(stated), 0.1)
        until, now = _date(stated), _date(self.headers.get("Date", ""))
        if until is not None and now is not None:
            return max((until - now).total_seconds(), 0.1)
        match = _WAIT_TEXT.search(self.text())
        return max(float(match[1]), 0.1) if match else 1.0


class NexudusHttp:
    """Calls below `base_url`. `sleep` and `clock` are seams; `http` belongs to the caller and outlives this."""

    def __init__(self, base_url: str, http: aiohttp.ClientSession, clock: Clock, sleep: Sleep) -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._clock = clock
        self._sleep = sleep

    def deadline(self, seconds: float) -> Deadline:
        return Deadline.after(self._clock, seconds)

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        deadline: Deadline,
        repeatable: bool,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        json_body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The first answer that is not a throttle. `repeatable`: a dropped connection or a 5xx is tried once more.

        Raises DirectoryUnavailable: throttled, timeout, unreachable, incomplete.
        """
        second_chance = repeatable
        waits = 0
        while True:
            try:
                answer = await self._once(
                    method, path, deadline, headers=headers, params=query, data=form, json=json_body
                )
            except DirectoryUnavailable as error:
                if error.reason != "unreachable" or not second_chance:
                    raise
            else:
                if answer.status in _THROTTLED:
                    waits += 1
                    await self._be_patient(answer, waits, deadline)
                    continue
                if answer.status < 500 or not second_chance:
                    return answer
            second_chance = False
            await self._sleep(min(0.2, max(deadline.left(), 0.0)))

    async def _be_patient(self, answer: Answer, waits: int, deadline: Deadline) -> None:
        """Wait as long as the throttled answer asks. Raises throttled when nobody at a login would wait so long."""
        pause = answer.wait()
        if waits >= _MOST_WAITS or pause >= deadline.left():
            detail = f"HTTP {answer.status} after {waits} calls"
            raise DirectoryUnavailable("throttled", detail, retry_after=round(pause) + 1)
        log.info("the directory is throttling (HTTP %d), waiting %.1f s", answer.status, pause)
        crowd = 1 + random.random() / 4  # noqa: S311 - spreads those who wait, nothing more
        await self._sleep(min(pause * crowd, max(deadline.left(), 0.0)))

    async def _once(self, method: str, path: str, deadline: Deadline, **parts: Any) -> Answer:
        left = deadline.left()
        if left <= 0:
            raise NotSent("timeout", f"no time left for {method} {path}")
        # SECURITY: a redirect would carry the service account's token to wherever it points.
        limits: dict[str, Any] = {"allow_redirects": False, "timeout": aiohttp.ClientTimeout(total=left)}
        try:
            async with self._http.request(method, self._base_url + path, **parts, **limits) as response:
                body = await _bounded(response)
                return Answer(status=response.status, headers=response.headers.copy(), body=body)
        except aiohttp.ClientConnectorError as error:
            raise NotSent("unreachable", f"{method} {path}: {_name(error)}") from error
        except TimeoutError as error:
            raise DirectoryUnavailable("timeout", f"{method} {path}: no complete answer in {left:.1f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise DirectoryUnavailable("unreachable", f"{method} {path}: {_name(error)}") from error


def refused(answer: Answer) -> DirectoryUnavailable:
    """The error for an answer that is not the success that was asked for."""
    status, said = answer.status, answer.quote()
    reason: Reason
    if status >= 500:
        reason = "unreachable"
    elif 300 <= status < 400:
        reason, said = "rejected", "a redirect, which is not followed"
    elif answer.body.lstrip()[:1] == b"<":
        reason, said = "not_json", "an HTML page"
    elif status in (401, 403):
        reason = "unauthorized"
    else:
        reason = "rejected"
    return DirectoryUnavailable(reason, f"HTTP {status}: {said}")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises DirectoryUnavailable(incomplete) beyond the bound: a part of a list is not the list."""
    chunks = []
    size = 0
    async for chunk in response.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > _LARGEST_BODY:
            response.close()
            raise DirectoryUnavailable("incomplete", f"an answer larger than {_LARGEST_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None


def _name(error: BaseException) -> str:
    return quotable(f"{type(error).__name__} {error}")
