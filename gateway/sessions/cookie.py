"""The session cookie: its name, its attributes, and how it is told apart from other cookies.

Pure. The value is an opaque 256-bit token. A `Cookie` field is client input from any subdomain, any script and any proxy on the way:
what could be read in two ways (two cookies of our name) is no session at all. On https only the name with the `__Host-` prefix is ours, because
any subdomain of the site can set the others; on plain http, which cannot have the prefix, a case variant or a nameless cookie counts too.
RFC 6265bis (prefixes, nameless cookies), docs/threats.md C-35 to C-37.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")  # 32 bytes, base64url without padding
_FAMILY: Final = b"doorward_"  # every cookie of ours holds it


class CookieSplit(NamedTuple):
    """`token`: the session's, or None. `others`: the values to forward. `spoiled`: ours was there, unusable or twice."""

    token: str | None
    others: list[bytes]
    spoiled: bool


def set_cookie(
    name: str, value: str, *, secure: bool, path: str = "/", max_age: int | None = None, cross_site: bool = False
) -> str:
    """The Set-Cookie value of a cookie of ours. `max_age` in seconds: None keeps it until the browser ends, 0 deletes it.

    `cross_site`: other sites' forms bring it too, over https alone, which no cookie but that of a form_post response needs.

    A deletion has the attributes that the cookie was set with, or some browsers keep it (C-45).
    """
    age = "" if max_age is None else f"; Max-Age={max_age}"
    if cross_site:
        return f"{name}={value}; Path={path}{age}; HttpOnly; SameSite=None; Secure"
    return f"{name}={value}; Path={path}{age}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


class SessionCookie:
    """The cookie of one origin kind: `secure` origins get the `__Host-` prefix, plain http (loopback) cannot have it."""

    def __init__(self, secure: bool) -> None:
        self.secure = secure
        self.name = "__Host-doorward_session" if secure else "doorward_session"
        self._lead = self.name.encode() + b"="
        self._bare = b"doorward_session"

    def find(self, values: Sequence[bytes]) -> str | None:
        """The session token in these `Cookie` field values; None when missing, malformed or ambiguous."""
        return self.split(values).token

    def split(self, values: Sequence[bytes]) -> CookieSplit:
        """Our token, and what is left for the upstream, byte for byte, with every cookie of ours taken out."""
        if len(values) == 1:
            quick = self._split_plain(values[0])
            if quick is not None:
                return quick
        return self._split_carefully(values)

    def set_header(self, token: str) -> str:
        """A Set-Cookie value. No Max-Age: the server decides how long a session lives, the browser's restart may end it."""
        return set_cookie(self.name, token, secure=self.secure)

    def clear_header(self) -> str:
        """A Set-Cookie value that deletes it."""
        return set_cookie(self.name, "", secure=self.secure, max_age=0)

    def _split_plain(self, value: bytes) -> CookieSplit | None:
        """The usual shape: one field that names ours once, at a cookie's start. None when it is anything else."""
        if _FAMILY not in value:
            # SECURITY: a case variant (`__host-Doorward_session`) must be compared too (C-37).
            return None if _FAMILY in value.lower() else CookieSplit(None, [value], False)
        start = value.find(self._lead)
        if start < 0 or value.lower().count(_FAMILY) != 1 or (start and value[start - 2 : start] != b"; "):
            return None
        end = value.find(b";", start)
        token = value[start + len(self._lead) :] if end < 0 else value[start + len(self._lead) : end]
        if not _TOKEN.fullmatch(token):
            return None
        rest = value[: max(start - 2, 0)] if end < 0 else value[:start] + value[end + 1 :].lstrip(b" ")
        return CookieSplit(token.decode(), [rest] if rest else [], False)

    def _split_carefully(self, values: Sequence[bytes]) -> CookieSplit:
        found: list[bytes | None] = []
        others: list[bytes] = []
        for value in values:
            kept = []
            for pair in value.split(b";"):
                if _FAMILY not in pair.lower() or not self._is_ours(pair):
                    kept.append(pair)
                elif self._is_candidate(pair):
                    found.append(self._token(pair))
            rest = b";".join(kept).strip(b" \t")
            if rest:
                others.append(rest)
        # SECURITY: cookie tossing: two candidates, in any order, prove nothing (C-37).
        token = found[0] if len(found) == 1 else None
        return CookieSplit(token.decode() if token else None, others, bool(found) and token is None)

    def _is_candidate(self, pair: bytes) -> bool:
        """Whether this cookie of ours could be the session's."""
        # SECURITY: any subdomain can set `doorward_session` for the whole site: on https it must neither sign in nor lock out (C-37).
        return pair.strip(b" \t").startswith(self._lead) if self.secure else self._bare in pair.lower()

    def _token(self, pair: bytes) -> bytes | None:
        name, _, value = pair.strip(b" \t").partition(b"=")
        return value if name + b"=" == self._lead and _TOKEN.fullmatch(value) else None

    @staticmethod
    def _is_ours(pair: bytes) -> bool:
        """Whether a browser, or a lenient server, would read this pair as a cookie of ours."""
        # SECURITY: `=doorward_session=x` is a nameless cookie whose text an upstream reads as ours (C-37).
        name = pair.strip(b" \t").lstrip(b"=").partition(b"=")[0].strip(b" \t\"'").lower()
        return name.removeprefix(b"__host-").removeprefix(b"__secure-").startswith(_FAMILY)
