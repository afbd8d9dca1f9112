"""The request that redeems a token, as a stranger could send it: the path, and the parameter that holds the token.

Pure. While the doors are closed nobody sends it through the gateway, except a browser that was sent there with this very token (C-12).
"""

import re
from typing import Final
from urllib.parse import parse_qsl

from gateway.hand_off.whereto import with_language, without_language
from gateway.policy.bodies import name_of, read_query
from gateway.policy.paths import Target
from gateway.policy.readings import EVERY
from gateway.policy.routes import parse_match

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


class RedeemingRoute:
    """`parameter` is the query parameter that is the token; empty: the token stands elsewhere, and the path alone counts."""

    def __init__(self, template: str) -> None:
        path, _, query = template.partition("?")
        self._route = parse_match(f"* {_PLACEHOLDER.sub('*', without_language(path.lower()))}")
        named = [name for name, value in parse_qsl(query) if value == "{token}"]
        self.parameter: Final = named[0] if len(named) == 1 else ""

    def holds(self, target: Target) -> bool:
        """Whether some upstream could read this as the request that redeems a token."""
        readings = tuple(EVERY.read(target).paths)
        if not any(self._route.lenient.fullmatch(path) for path in with_language(readings)):
            return False
        return not self.parameter or any(name == name_of(self.parameter) for name, _ in read_query(target.query))

    def token_of(self, target: Target) -> str | None:
        """The one token in it."""
        pairs = parse_qsl((target.query or b"").decode("ascii"), max_num_fields=200)
        found = [value for name, value in pairs if name == self.parameter]
        return found[0] if len(found) == 1 else None
