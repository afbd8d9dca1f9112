"""`doorward reload`: SIGHUP, and the result of the reload, which a signal alone does not give."""

import asyncio
import os
import signal
from typing import Any, Final

import aiohttp

from gateway.config.addresses import Listen, parse_listen
from gateway.config.schema import Config
from gateway.errors.network import network_reason

_PATIENCE_SECONDS: Final = 120.0  # every worker has a minute to become ready
_POLL_SECONDS: Final = 0.1
_RESTART: Final = "A change of admin_listen needs a restart"


class ReloadFailed(Exception):
    """The old configuration stays in force, or nothing is known; the text gives the reason."""


async def reload(config: Config, pid: int) -> str:
    """Have the gateway with the process id `pid` read its file again; a line for the operator. Raises ReloadFailed.

    `config` is the file as it is now: it says where the admin listener is.
    """
    address = parse_listen(config.admin_listen)
    connector = aiohttp.UnixConnector(address.path) if address.path is not None else aiohttp.TCPConnector()
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as client:
        before = await _state(client, address)
        if before["pid"] != pid:
            raise ReloadFailed(f"process {pid} is not the gateway of {config.admin_listen}, which is {before['pid']}")
        try:
            os.kill(pid, signal.SIGHUP)
        except OSError as error:
            raise ReloadFailed(f"process {pid} cannot be signalled: {error.strerror}") from error
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while (after := await _state(client, address))["reloads"] == before["reloads"]:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise ReloadFailed(f"it has not ended after {_PATIENCE_SECONDS:g} s") from error
    if after["problem"] is not None:
        raise ReloadFailed(after["problem"])
    return "reloaded"


async def _state(client: aiohttp.ClientSession, address: Listen) -> dict[str, Any]:
    host = f"[{address.host}]" if ":" in address.host else address.host
    try:
        async with client.get(f"http://{host or 'admin'}:{address.port or 80}/ready") as response:
            state: dict[str, Any] = (await response.json())["process"]
            return state
    except (OSError, aiohttp.ClientError) as error:
        raise ReloadFailed(f"the admin listener does not answer: {network_reason(error)}. {_RESTART}") from error
    except (KeyError, ValueError) as error:
        raise ReloadFailed(f"what answers on the admin listener's address is no Doorward. {_RESTART}") from error
