"""What an operator may do in the console, by the rules that the gate applies too.

The gate decided already, with the age of the sign-in; a request that reached the console by another way meets the same rules here. Pure.
"""

from collections.abc import Mapping
from typing import Final

from gateway.config.console import ACT, EDIT, PREFIX, UNUSED_UPSTREAM, console_app
from gateway.config.schema import Console
from gateway.identity.claims import Identity
from gateway.policy.paths import parse_target
from gateway.policy.rules import RouteRules

_SAMPLES: Final = {"view": f"{PREFIX}/", "act": f"{ACT}/any", "settings": f"{EDIT}/any"}


class ConsoleRights:
    """The rules of one `console` section."""

    def __init__(self, console: Console) -> None:
        self._rules = RouteRules(console_app(console, UNUSED_UPSTREAM))
        self._editable = console.settings == "edit"

    def missing(self, identity: Identity, method: str, path: str) -> str | None:
        """What this person lacks for a request, for the log; None: nothing. Raises BadRequest for an ambiguous path."""
        ruling = self._rules.decide(method, parse_target(path.encode()))
        lacking = (requirement.unmet(identity) for requirement in ruling.requirements)
        return next((reason for reason in lacking if reason is not None), None)

    def roles(self, identity: Identity) -> Mapping[str, bool]:
        """The roles by name. No person has `settings` where the console's settings are read-only."""
        has = {name: self.missing(identity, "POST", path) is None for name, path in _SAMPLES.items()}
        return {**has, "settings": has["settings"] and self._editable}

    def is_read_only(self, path: str) -> bool:
        """Whether a page changes settings that `console.settings: read_only` keeps."""
        return not self._editable and path.startswith(f"{EDIT}/")
