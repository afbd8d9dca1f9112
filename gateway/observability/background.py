"""Tasks that run as long as the process: an exception ends one round of a task, never the task.

Each exception that no caller handles, of a round, of a task or of a callback, goes to the event loop's exception handler. `UnexpectedErrors` is
that handler in a process of ours: it logs and counts.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

_log = logging.getLogger("doorward.background")
_AFTER_ERROR_SECONDS: Final = 1.0

#: One round of a task; it may return how many seconds to wait before the next.
Round = Callable[[], Awaitable[float | None]]


async def repeat(name: str, step: Round, seconds: float = 0.0) -> None:
    """Until cancelled: a round, then a pause of `seconds` or of what the round returned; after an exception at least a second."""
    while True:
        try:
            pause = await step()
        except Exception as error:
            report_error(name, error)
            await asyncio.sleep(max(seconds, _AFTER_ERROR_SECONDS))
        else:
            await asyncio.sleep(seconds if pause is None else pause)


def report_error(name: str, error: Exception) -> None:
    """An exception that no caller handles. `name` is the task or the work that it ended."""
    asyncio.get_running_loop().call_exception_handler({"message": "unexpected error", "exception": error, "work": name})


class UnexpectedErrors:
    """`counts` by the name of the work; what has no name of ours counts as `other`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def install(self) -> None:
        """Handle those of the running loop."""
        asyncio.get_running_loop().set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        work, error = context.get("work", "other"), context.get("exception")
        self.counts[work] += 1
        _log.error("%s: %s", work, context.get("message", "unexpected error"), exc_info=error)
