"""`doorward reload`: SIGHUP, and the result of the reload, which a signal alone does not give."""

import asyncio
import os
import signal
from typing import Any, Final

from gateway.config.schema import Config
from gateway.operations.admin_listener import AdminListener, AdminListenerFailed

_PATIENCE_SECONDS: Final = 120.0  # every worker has a minute to become ready
_POLL_SECONDS: Final = 0.1
_RESTART: Final = "A change of admin_listen needs a restart"


class ReloadFailed(Exception):
    """The old configuration stays in force, or nothing is known; the text gives the reason."""


async def reload(config: Config, pid: int) -> str:
    """Have the gateway with the process id `pid` read its file again; a line for the operator. Raises ReloadFailed.

    `config` is the file as it is now: it says where the admin listener is.
    """
    async with AdminListener(config) as admin:
        before = await _state(admin)
        if before["pid"] != pid:
            raise ReloadFailed(f"process {pid} is not the gateway of {config.admin_listen}, which is {before['pid']}")
        try:
            os.kill(pid, signal.SIGHUP)
        except OSError as error:
            raise ReloadFailed(f"process {pid} cannot be signalled: {error.strerror}") from error
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while (after := await _state(admin))["reloads"] == before["reloads"]:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise ReloadFailed(f"it has not ended after {_PATIENCE_SECONDS:g} s") from error
    if after["problem"] is not None:
        raise ReloadFailed(after["problem"])
    return "reloaded"


async def _state(admin: AdminListener) -> dict[str, Any]:
    try:
        state: dict[str, Any] = (await admin.ready())["process"]
    except AdminListenerFailed as error:
        raise ReloadFailed(f"{error}. {_RESTART}") from error
    return state
