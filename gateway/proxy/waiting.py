"""What a request waits for in a Task: forward-auth, a hand-off, whatever a `Care` does first. Whatever the outcome, reading goes on."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from gateway.errors import Refusal
from gateway.proxy.request_body import Visiting

_log = logging.getLogger("doorward.proxy")


class Waiting:
    """The Task of one connection's request, if it has one."""

    __slots__ = ("_connection", "_task")

    def __init__(self, connection: Visiting) -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        self._connection.stop_reading()
        self._task = asyncio.get_running_loop().create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as failure:
            answer_failure(self._connection, failure)
        finally:
            if self._task is asyncio.current_task():  # or it goes on in another one
                self._task = None
                self._connection.go_on_reading()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()


def answer_failure(connection: Visiting, failure: Exception) -> None:
    """Refusals become answers; what is none, a refusal that says so."""
    if not isinstance(failure, Refusal):
        _log.error("a request could not be judged", exc_info=failure)
        failure = Refusal("defect")
    connection.refuse(failure)
