"""The URL that a person returns to after a login or a sign-out: a path of this site, or of another configured host, and no other.

Pure. The result is not the text of the request but a target that is built from its canonical form (`policy.paths`), so that a browser, a proxy
and Doorward read it alike. Any other text becomes `/`. RFC 9700 2.1 and 4.11, docs/threats.md A-50 and A-51.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from gateway.errors.requests import BadRequest
from gateway.gate.site import FORM, OWN_SESSIONS, Site, is_own
from gateway.policy.paths import parse_target

HOME: Final = "/"
LONGEST: Final = 2000  # a LoginAttempt with a longer link than a `state` has room for costs a record in Redis
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
_ABSOLUTE = re.compile(
    r"(https?)://((?:[a-z0-9-]+\.)*[a-z0-9-]+|\[[0-9a-f:]+\])\.?(?::([0-9]{1,5}))?(?=[/?#]|$)(.*)", re.IGNORECASE
)
_DEFAULT_PORTS: Final = {"https": "443", "http": "80"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A checked destination. `origin` is None on the request's own host; `path` is a local path with query and fragment."""

    origin: str | None
    path: str

    @property
    def url(self) -> str:
        return (self.origin or "") + self.path


def is_local(path: str) -> bool:
    """Whether a Location with this text stays on its origin, in every browser."""
    # SECURITY: `//evil`, `/\evil` and `/<tab>/evil` are other hosts to a browser.
    return _LOCAL.fullmatch(path) is not None


def parse_return_to(text: str, *, own: str, origins: Collection[str]) -> Destination | None:
    """Parse `rd`, decoded once; None for any text that is not clearly a URL of ours.

    `own` is the origin of the request, `origins` are all configured ones.
    """
    if len(text) > LONGEST:
        return None
    # SECURITY: browsers drop tabs and line breaks anywhere in a URL, and blanks around it.
    if any(character < " " or character == "\x7f" for character in text) or text != text.strip():
        return None
    origin: str | None = None
    if not text.startswith("/"):
        # SECURITY: the whole authority must be a configured one: no suffix, no user part, no backslash.
        match = _ABSOLUTE.fullmatch(text)
        origin = _origin(match) if match else None
        if match is None or origin not in origins:
            return None
        text = match[4] if match[4].startswith("/") else "/" + match[4]
    elif text[1:2] in ("/", "\\"):
        return None
    path = _canonical(text)
    return None if path is None else Destination(origin=None if origin == own else origin, path=path)


def _origin(match: re.Match[str]) -> str:
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    return f"{scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}")


def _canonical(text: str) -> str | None:
    """Path, query and fragment in canonical form; None when the path is ambiguous."""
    before, mark, fragment = text.partition("#")
    path, question, query = before.partition("?")
    try:
        raw = path.replace(" ", "%20") + question + query.replace(" ", "%20").replace("\\", "%5C")
        wire = parse_target(raw.encode()).wire().decode("ascii")
        whole = wire + mark + quote(fragment, safe="!$&'()*+,;=:@/?%-._~")
    except (BadRequest, UnicodeError):
        return None
    return whole if is_local(whole) else None


class ReturnGuard:
    """Checks destinations against all configured sites."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self._sites = sites
        self._origins = {site.route.origin: site for site in sites.values()}

    def find(self, text: str | None, host: str) -> Destination | None:
        """The destination of `rd` on `host`; None when it is missing or leads elsewhere; `/` for a page that would only redirect back."""
        site = self._sites[host]
        found = parse_return_to(text, own=site.route.origin, origins=self._origins) if text else None
        if found is None:
            return None
        there = site if found.origin is None else self._origins[found.origin]
        return Destination(origin=found.origin, path=HOME) if _redirects_back(there, found.path) else found

    def destination(self, text: str | None, host: str) -> Destination:
        """The same, with `/` for None."""
        return self.find(text, host) or Destination(origin=None, path=HOME)

    def local(self, text: str | None, host: str) -> str:
        """The path of `rd` on `host` itself, `/` for any other destination."""
        found = self.destination(text, host)
        return found.path if found.origin is None else HOME


def _redirects_back(site: Site, path: str) -> bool:
    """Whether that page would redirect the person back at once: one of our own paths, or a blocked password route."""
    if path in (FORM, OWN_SESSIONS):
        return False
    target = parse_target(path.partition("#")[0].encode())
    return is_own(target) or site.blocked_page(target) is not None
