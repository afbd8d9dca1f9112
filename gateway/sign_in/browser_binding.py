"""The cookie that binds the login attempts of one browser on one host: a secret, and marks of the sign-ins that ended a moment ago.

One cookie for each host, for the life of an attempt; the attempts themselves travel in `state` (`login_state`). Requests that a browser sends
side by side before it has a cookie get one each, under names of their own, so that none replaces another. The marks tell a redirect loop: three
sign-ins for one page that succeeded within a minute, and no session was kept. A browser can forge them, and then sees a page.

A provider that answers by form_post has the browser send a form from the provider's site, with which no SameSite=Lax cookie comes: its attempts
are bound by a second cookie, SameSite=None and Secure, with a name and a secret of its own. Neither stands in for the other.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.gate.site import AppRoute
from gateway.oidc.authorization import ATTEMPT_LIFETIME
from gateway.sessions import base64url
from gateway.sessions.cookie import set_cookie

SECRET_BYTES: Final = 32
LOOP_WINDOW: Final = timedelta(seconds=60)
LOOPING: Final = 3  # browsers stop after about twenty redirects in a row
BUDGET: Final = 3500  # bytes of all these cookies in the Cookie field; many servers refuse a field of 8 KiB
MOST_CLEARED: Final = 40  # bounds the response, however many cookies were planted
_MOST_MARKS: Final = 8
_TIME, _PAGE = 4, 4  # bytes of a mark: seconds since 1970, and a hash of the page
_NAME: Final = re.compile(rb"(?:__Host-)?doorward_(login|form_post)_([0-9a-f]{8})")
#: The secret in base64url, whose last character has four bits of it and two zeros.
_VALUE: Final = re.compile(rb"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])(~?)(?:\.([A-Za-z0-9_-]{1,128}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserBinding:
    """One such cookie. `marks` are (seconds since 1970, hash of a page), the newest first; `shared`: more than one attempt began with it.

    `cross_site`: for providers that answer by form_post.
    """

    secret: bytes
    cross_site: bool = False
    shared: bool = False
    marks: tuple[tuple[int, bytes], ...] = ()

    @property
    def fingerprint(self) -> bytes:
        """What a `state` holds of it."""
        return hashlib.sha256(b"doorward " + self._kind + b" binding" + self.secret).digest()[:16]

    @property
    def name_tag(self) -> str:
        return hashlib.sha256(b"doorward " + self._kind + b" cookie" + self.secret).hexdigest()[:8]

    @property
    def _kind(self) -> bytes:
        return b"form_post" if self.cross_site else b"login"

    def verifier(self, state: str) -> str:
        """The PKCE verifier of an attempt: neither the cookie nor the `state` alone gives it (RFC 7636 section 4.1)."""
        # SECURITY: a code that was injected into another browser, or with another state, is worth nothing at the token endpoint.
        return base64url.encode(hmac.digest(self.secret, b"pkce " + state.encode("ascii"), hashlib.sha256))

    def dpop_seed(self, state: str) -> bytes:
        """What the DPoP key of an attempt follows from, as its verifier does."""
        # SECURITY: another value than the verifier, which the provider gets to know: with this one the tokens can be used.
        return hmac.digest(self.secret, b"dpop " + state.encode("ascii"), hashlib.sha256)

    def finished(self, return_to: str, now: datetime) -> "BrowserBinding":
        """The same with the mark of a sign-in that ended on `return_to`."""
        recent = tuple(mark for mark in self.marks if _is_recent(mark[0], now))
        return replace(self, marks=((int(now.timestamp()), _page(return_to)), *recent)[:_MOST_MARKS])

    def set_header(self, route: AppRoute, life: timedelta = ATTEMPT_LIFETIME) -> str:
        """The Set-Cookie value; a `life` of zero deletes the cookie."""
        marks = b"".join(time.to_bytes(_TIME, "big") + page for time, page in self.marks)
        value = (
            base64url.encode(self.secret)
            + ("~" if self.shared else "")
            + ("." + base64url.encode(marks) if marks else "")
        )
        name = f"{'__Host-' if route.secure else ''}doorward_{self._kind.decode()}_{self.name_tag}"
        age = int(life.total_seconds())
        return set_cookie(name, value if life else "", secure=route.secure, max_age=age, cross_site=self.cross_site)


def read_bindings(values: Sequence[bytes], route: AppRoute) -> list[BrowserBinding]:
    """The bindings in these `Cookie` values, with the prefix that this route uses."""
    found: dict[bytes, BrowserBinding] = {}
    for pair in (pair.strip(b" \t") for value in values for pair in value.split(b";")):
        name, _, value = pair.partition(b"=")
        named, held = _NAME.fullmatch(name), _VALUE.fullmatch(value)
        # SECURITY: on https any subdomain can set the name without the prefix for the whole site (C-37).
        if not named or not held or name.startswith(b"__Host-") != route.secure:
            continue
        binding = BrowserBinding(
            secret=base64url.decode(held[1]), cross_site=named[1] == b"form_post", shared=bool(held[2]), marks=_marks(held[3] or b""),
        )  # fmt: skip
        if binding.name_tag.encode() == named[2]:
            found.setdefault(binding.secret, binding)
    return list(found.values())


def over_budget(bindings: Sequence[BrowserBinding]) -> Sequence[BrowserBinding]:
    """Those for which a Cookie field has no room."""
    room, size = BUDGET, len("__Host-doorward_form_post_01234567=; ") + 43 + 2 + _MOST_MARKS * 11
    return bindings[room // size :]


def finished_rounds(bindings: Sequence[BrowserBinding], return_to: str, now: datetime) -> int:
    """How many sign-ins for this page succeeded within the last minute."""
    page = _page(return_to)
    return sum(_is_recent(time, now) and mark == page for binding in bindings for time, mark in binding.marks)


def _is_recent(time: int, now: datetime) -> bool:
    return abs(now.timestamp() - time) <= LOOP_WINDOW.total_seconds()


def _page(return_to: str) -> bytes:
    return hashlib.sha256(return_to.encode()).digest()[:_PAGE]


def _marks(text: bytes) -> tuple[tuple[int, bytes], ...]:
    try:
        raw = base64url.decode(text)
    except ValueError:
        return ()
    size = _TIME + _PAGE
    each = [raw[place : place + size] for place in range(0, len(raw) - size + 1, size)]
    return tuple((int.from_bytes(mark[:_TIME], "big"), mark[_TIME:]) for mark in each[:_MOST_MARKS])
