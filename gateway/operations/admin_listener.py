"""What the admin listener of a running gateway says at `/ready` and `/metrics`."""

from typing import Any, Final

import aiohttp

from gateway.config.addresses import parse_listen
from gateway.config.schema import Config
from gateway.errors.network import network_reason

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


class AdminListenerFailed(Exception):
    """Nothing is known of the gateway; the text gives the reason."""


class AdminListener:
    """The admin listener of a configuration, as a client sees it. To be used as an asynchronous context."""

    def __init__(self, config: Config) -> None:
        address = parse_listen(config.admin_listen)
        host = f"[{address.host}]" if ":" in address.host else address.host
        connector = aiohttp.UnixConnector(address.path) if address.path is not None else aiohttp.TCPConnector()
        self._origin = f"http://{host or 'admin'}:{address.port or 80}"
        self._client = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)

    async def __aenter__(self) -> "AdminListener":
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._client.close()

    async def ready(self) -> dict[str, Any]:
        """The document of `/ready`, whatever its status. Raises AdminListenerFailed."""
        try:
            async with self._client.get(f"{self._origin}/ready") as response:
                document: dict[str, Any] = await response.json()
                document["process"]["pid"]
                return document
        except (OSError, aiohttp.ClientError) as error:
            raise AdminListenerFailed(f"the admin listener does not answer: {network_reason(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise AdminListenerFailed("what answers on the admin listener's address is no Doorward") from error

    async def metrics(self) -> str:
        """The text of `/metrics`. Raises AdminListenerFailed."""
        try:
            async with self._client.get(f"{self._origin}/metrics") as response:
                return await response.text()
        except (OSError, aiohttp.ClientError, ValueError) as error:
            raise AdminListenerFailed(f"the admin listener does not answer: {network_reason(error)}") from error
