"""Where an upstream's redirect leads: to its own login page, to a page of its own, or elsewhere.

Pure. No browser is redirected to a URL that is read here: a hand-off ends on the requested page, or on a path that was parsed anew (A-50).
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urljoin, urlsplit

from gateway.errors.requests import BadRequest
from gateway.policy.paths import Target, parse_target
from gateway.policy.routes import parse_match

#: Query parameters in which login pages keep where to go afterwards.
RETURN_FIELDS: Final = (
    "returnurl", "redirecturl", "return_to", "returnto", "redirect_to", "redirect_uri", "redirect", "continue_to", "continue",
    "next", "rd", "return", "goto", "url",
)  # fmt: skip
_LONGEST: Final = 4096
_LANGUAGE = re.compile(r"\A/[a-z]{2}(?:[_-][a-z0-9]{2,8}){0,2}(?=/)")


def local_target(location: bytes, base: bytes, hosts: Sequence[str]) -> Target | None:
    """The target of a Location on the upstream itself; None when it leads elsewhere or is ambiguous.

    `base`: the request target, `hosts`: the names of the upstream, in lower case.
    """
    if len(location) > _LONGEST or not location.isascii():
        return None
    text = location.decode("ascii")
    # SECURITY: browsers take a backslash for a slash: `/\\evil` is another host, not a page of the upstream's.
    if "\\" in text or any(character <= " " for character in text):
        return None
    try:
        parts = urlsplit(urljoin("http://upstream.invalid" + base.decode("latin-1"), text))
        if parts.netloc.lower() not in ("upstream.invalid", *hosts) or parts.scheme not in ("http", "https"):
            return None
        return parse_target((parts.path or "/").encode() + (b"?" + parts.query.encode() if parts.query else b""))
    except (ValueError, BadRequest):
        return None


class LoginPages:
    """The upstream's login pages: globs of its own paths, under any language prefix, and whole URLs on other hosts."""

    def __init__(self, entries: Sequence[str], hosts: Sequence[str] = ()) -> None:
        self._hosts = tuple(hosts)
        self._routes = tuple(parse_match(f"* {entry}") for entry in entries if entry.startswith("/"))
        self._urls = frozenset(entry.rstrip("/").lower() for entry in entries if not entry.startswith("/"))

    def hold(self, target: Target) -> bool:
        """Whether a target is one of them."""
        return any(route.folded.fullmatch(path) for route in self._routes for path in with_language(target.readings))

    def are_at(self, location: bytes, base: bytes, host: str) -> bool:
        """Whether a Location leads to one of them."""
        if location.partition(b"?")[0].decode("latin-1").rstrip("/").lower() in self._urls:
            return True
        target = local_target(location, base, (host, *self._hosts))
        return target is not None and self.hold(target)

    def on_its_own(self, location: bytes, base: bytes, host: str) -> Target | None:
        """The target of a Location on the upstream itself, or None."""
        return local_target(location, base, (host, *self._hosts))

    def after(self, target: Target, host: str) -> bytes:
        """The path that a login page returns to, by its query; `/` when that is elsewhere, or a login page again."""
        query = (target.query or b"").decode("latin-1")
        for name, value in parse_qsl(query, max_num_fields=200) if query.count("&") < 200 else ():
            if name.lower() in RETURN_FIELDS and value.startswith(("/", "http")):
                there = local_target(value.encode("utf-8", "replace"), b"/", (host, *self._hosts))
                if there is not None and not self.hold(there):
                    return there.wire()
        return b"/"


def with_language(readings: Sequence[str]) -> set[str]:
    """The readings of a path, and each without its language prefix."""
    return {*readings, *map(without_language, readings)}


def without_language(path: str) -> str:
    """`/en/login` and `/pt-br/login` are `/login`; a path of one segment stays."""
    return _LANGUAGE.sub("", path, count=1)
