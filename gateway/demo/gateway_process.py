"""Doorward itself as a child process of the demo: started, awaited until it is ready, and stopped.

The child leads a process group of its own, so that Ctrl-C reaches the demo alone and the demo decides the order of the
end.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp


class GatewayFailed(Exception):
    """The child ended, or did not become ready in time; the text holds the end of its log."""


class GatewayProcess:
    """One `doorward run CONFIG`, its output in `log`."""

    def __init__(self, config: Path, log: Path, environ: Mapping[str, str], ready_url: str) -> None:
        self._config = config
        self._log = log
        self._environ = environ
        self._ready_url = ready_url
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.cli.main", "run", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environ),
                start_new_session=True,
            )

    async def wait_ready(self, within: float) -> None:
        """Raises GatewayFailed when the child ends, or is not ready after `within` seconds."""
        ended = asyncio.create_task(self.wait_failed())
        ready = asyncio.create_task(self._ask_until_ready())
        try:
            done, _ = await asyncio.wait((ended, ready), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            ready.cancel()
        if ended in done:
            await ended
        if ready not in done:
            raise GatewayFailed(f"Doorward was not ready within {within:g} seconds:\n{self._last_lines()}")

    async def wait_failed(self) -> None:
        """Waits while the child runs; raises GatewayFailed once it has ended by itself."""
        status = await self._process.wait() if self._process else 0
        raise GatewayFailed(f"Doorward ended with status {status}:\n{self._last_lines()}")

    async def stop(self, within: float = 4.0) -> None:
        """Asks the child to end, and after `within` seconds ends its whole process group."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), within)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _ask_until_ready(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                try:
                    async with http.get(self._ready_url) as response:
                        if response.status == 200 and (await response.json())["status"] == "ready":
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.1)

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-15:]) or "(it wrote nothing)"
