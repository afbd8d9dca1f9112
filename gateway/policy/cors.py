"""CORS as this gateway answers it: preflights without the upstream, and what lets a page read our own refusals.

Pure. The invariant: no field of the kind Access-Control-Allow-* is given to an origin that is not allowed, and what is said depends on
nothing but the configuration and the one Origin field. WHATWG Fetch, "CORS protocol"; RFC 9110 section 12.5.5 (Vary).
"""

from typing import Final

from gateway.config.schema import CorsPreflight
from gateway.http.message import RequestHead

Fields = tuple[tuple[str, str], ...]
RULE: Final = "cors_preflight"
_VARY: Final = ("Vary", "Origin")


class Cors:
    """The origins of one app, with what is said to them."""

    def __init__(self, config: CorsPreflight) -> None:
        self._anybody = "*" in config.allow_origins
        self._origins = frozenset(origin.encode() for origin in config.allow_origins)
        self._credentials: Fields = (("Access-Control-Allow-Credentials", "true"),) if config.allow_credentials else ()
        more = [("Access-Control-Allow-Methods", ", ".join(config.allow_methods))] if config.allow_methods else []
        if config.allow_headers:
            more.append(("Access-Control-Allow-Headers", ", ".join(config.allow_headers)))
        more.append(("Access-Control-Max-Age", str(int(config.max_age.total_seconds()))))
        self._preflight = tuple(more)

    def preflight(self, head: RequestHead) -> Fields:
        """The fields of the answer to a preflight. To an origin that is not allowed nothing is said."""
        opened = self._opened(head)
        return (*opened, *self._preflight, _VARY) if opened else (_VARY,)

    def readable(self, head: RequestHead) -> Fields:
        """The fields that let a page of an allowed origin read a refusal of ours. Not for pages below our own paths."""
        return (*self._opened(head), _VARY)

    def _opened(self, head: RequestHead) -> Fields:
        origins = head.values(b"origin")
        # SECURITY: compared whole and as it came; a prefix, a suffix, another case or `null` is somebody else (C-79).
        if len(origins) != 1 or (origins[0] not in self._origins and not self._anybody):
            return ()
        allowed = "*" if self._anybody else origins[0].decode("ascii")
        return (("Access-Control-Allow-Origin", allowed), *self._credentials)
