"""The last result of the client authentication at each provider, for `/ready`.

The parent process tries it once after its start and after each reload, as soon as the provider answers, and never because of a request:
neither a visitor nor a scrape makes us send our secret anywhere.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from gateway.config.providers import dependency_of, key_of, providers_of
from gateway.config.schema import Config
from gateway.oidc.providers import ProviderClient, open_providers
from gateway.operations.client_authentication_trial import ClientAuthenticationTrial, try_client_authentication
from gateway.runtime.health import DEGRADED, OK, UNKNOWN, Dependency

_log = logging.getLogger("doorward.oidc")
_STATES: Final = {"accepted": OK, "refused": DEGRADED, "unknown": UNKNOWN}


class ClientAuthenticationWatch:
    """Tries the secret or key of each provider once for each configuration. `now` gives aware UTC."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._found: dict[str, Dependency] = {}
        self._trial: asyncio.Task[None] | None = None

    def report(self) -> dict[str, dict[str, Any]]:
        """The dependencies by name, JSON-able; one that was not tried yet is missing."""
        return {name: one.to_json(required=False) for name, one in sorted(self._found.items())}

    def start(self, config: Config) -> None:
        """Begin the trials of this configuration in the background, in place of those of an earlier one."""
        self.stop()
        known = {_dependency(name) for name in providers_of(config)} if config.has_sign_in else set()
        self._found = {name: one for name, one in self._found.items() if name in known}
        self._trial = asyncio.get_running_loop().create_task(self._run(config), name="client authentication")

    def stop(self) -> None:
        if self._trial is not None:
            self._trial.cancel()
            self._trial = None

    async def _run(self, config: Config) -> None:
        try:
            providers = open_providers(config, self._now)
            try:
                providers.start()
                await asyncio.gather(*(self._try(config, client) for client in providers))
            finally:
                await providers.close()
        except Exception:
            _log.exception("the client authentication could not be tried")

    async def _try(self, config: Config, client: ProviderClient) -> None:
        while not client.provider.ready:
            client.provider.attempted.clear()
            await client.provider.attempted.wait()
        trial = await try_client_authentication(config, client.name, client.settings, client.provider)
        self._found[_dependency(client.name)] = self._state(trial)
        if trial.verdict != "accepted":
            log = _log.error if trial.verdict == "refused" else _log.warning
            log("%s: the client authentication is %s: %s", key_of(client.name), trial.verdict, trial.seen)

    def _state(self, trial: ClientAuthenticationTrial) -> Dependency:
        found = Dependency(_STATES[trial.verdict], self._now())
        if trial.verdict != "accepted":
            found.error, found.error_at = f"client_authentication_{trial.verdict}", self._now()
            found.detail = trial.seen[:200]
        return found


def _dependency(provider: str) -> str:
    return dependency_of(provider).replace("provider", "client_authentication", 1)
