"""A complete response of a directory's API: its body bounded, its text for the log, the wait that it states.

The directory that made the call interprets it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from gateway.directory.account import Reason, quotable
from gateway.errors.signing_in import DirectoryUnavailable

_LARGEST_BODY: Final = 1024 * 1024
_WAIT_TEXT = re.compile(r"wait\s+(\d{1,6}(?:\.\d{1,3})?)\s*s", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """A complete response. `headers` are looked up without case."""

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
        """The message of the response: a bare text, a JSON string or an object's Message; without a final full stop."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = self.body.decode("utf-8", "replace")
        if isinstance(value, dict):
            words = (
                value.get(name) for name in ("Message", "detail", "message", "error_description", "error", "title")
            )
            value = next((word for word in words if word), None)
        return value.strip().rstrip(".") if isinstance(value, str) else ""

    def quote(self) -> str:
        """The message for the log."""
        return quotable(self.text())

    def wait(self) -> float:
        """Seconds after which a throttled call may be made again; 1 when no wait is stated."""
        stated = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,9}", stated):
            return max(float(stated), 0.1)
        until, now = _date(stated), _date(self.headers.get("Date", ""))
        if until is not None and now is not None:
            return max((until - now).total_seconds(), 0.1)
        match = _WAIT_TEXT.search(self.text())
        return max(float(match[1]), 0.1) if match else 1.0


def error_of(response: ApiResponse) -> DirectoryUnavailable:
    """The error for a response that is no success."""
    status, text = response.status, response.quote()
    reason: Reason
    if status >= 500:
        reason = "unreachable"
    elif 300 <= status < 400:
        reason, text = "rejected", "a redirect, which is not followed"
    elif response.body.lstrip()[:1] == b"<":
        reason, text = "not_json", "an HTML page"
    elif status in (401, 403):
        reason = "unauthorized"
    else:
        reason = "rejected"
    return DirectoryUnavailable(reason, f"HTTP {status}: {text}")


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises DirectoryUnavailable(incomplete) beyond the bound: a part of a list is not the list."""
    chunks = []
    size = 0
    async for chunk in response.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > _LARGEST_BODY:
            response.close()
            raise DirectoryUnavailable("incomplete", f"a response larger than {_LARGEST_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
