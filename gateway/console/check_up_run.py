"""The one check-up that may run in the console's process. It takes seconds, goes on when its page is closed, and ends with the process."""

import asyncio
import logging
from datetime import datetime

from gateway.config.schema import Config
from gateway.errors.refusal import Refusal
from gateway.operations.doctor.examination import Surroundings, examine_set_up
from gateway.operations.doctor.report import CheckUpReports

_log = logging.getLogger("doorward.console")


class CheckUpRun:
    """`running_since` and `by` say what runs now; `problem` why the last one did not end with a report."""

    def __init__(self) -> None:
        self.running_since: datetime | None = None
        self.by = ""
        self.problem = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, config: Config, reports: CheckUpReports, by: str, now: datetime) -> None:
        """Begin, unless one is running."""
        if self.running_since is not None:
            return
        self.running_since, self.by, self.problem = now, by, ""
        self._task = asyncio.get_running_loop().create_task(self._run(config, reports, now))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, config: Config, reports: CheckUpReports, now: datetime) -> None:
        try:
            lines = await examine_set_up(config, Surroundings(now=now))
            await reports.write(lines, {"at": now.isoformat(timespec="seconds"), "by": self.by})
        except (Refusal, OSError, ValueError) as error:
            self.problem = str(error)
        except Exception as error:
            _log.exception("the check-up failed")
            self.problem = f"{type(error).__name__}: see the log"
        finally:
            self.running_since = None
