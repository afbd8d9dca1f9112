"""The one probe that may run in the console's process, and its last report.

A probe sends thousands of requests; it goes on when its page is closed, and ends with the process.
"""

import asyncio
import logging
from datetime import datetime
from typing import Any, Final

from gateway.config.schema import Config
from gateway.errors.refusal import Refusal
from gateway.operations.probe.report import ProbeReports
from gateway.operations.probe.runner import NotDoorward, Probe
from gateway.operations.probe.targets import own_targets

_log = logging.getLogger("doorward.console")
_RATE: Final = 100  # requests a second: a running gateway has people to serve


class ProbeRun:
    """`running_since` and `by` say what runs now; `problem` why the last one did not end with a report."""

    def __init__(self) -> None:
        self.running_since: datetime | None = None
        self.by = ""
        self.requests = 0
        self.problem = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, config: Config, reports: ProbeReports, every: int, by: str, now: datetime) -> None:
        """Begin, unless one is running. Raises ValueError where this gateway cannot be probed from its own machine."""
        if self.running_since is not None:
            return
        targets = own_targets(config, every)
        self.running_since, self.by, self.problem = now, by, ""
        self.requests = sum(len(requests) for _, requests in targets)
        facts = {"at": now.isoformat(timespec="seconds"), "by": by, "every": every}
        self._task = asyncio.get_running_loop().create_task(self._run(targets, reports, facts))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, targets: Any, reports: ProbeReports, facts: dict[str, Any]) -> None:
        try:
            await reports.write(await Probe(_RATE).run(targets), facts)
        except (NotDoorward, OSError, Refusal) as error:
            self.problem = str(error)
        except Exception as error:
            _log.exception("the probe failed")
            self.problem = f"{type(error).__name__}: see the log"
        finally:
            self.running_since = None
