"""Which Authorization fields carry a password, or the proof of one.

The invariant: a value passes only when each scheme in it, read plainly, is known to carry no password, and when no password scheme begins at
any place where some server could look for one. RFC 9110 section 11.4, RFC 7617; the names are in `config.schemes`. Pure.
"""

import re
from collections.abc import Iterable
from typing import Final

from gateway.config.schemes import is_known_otherwise, password_scheme

_TCHAR: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_UNPLAIN = re.compile(rb"[^\t\x20-\x7e]")
#: After quotes and empty list elements: a name, and whether it is that of a parameter.
_START = re.compile(rb"[\s\"';]*(?P<name>" + _TCHAR + rb"+)(?P<parameter>[ \t]*=)?")
#: For servers that search the value for it.
_BASIC = re.compile(rb"basic[ \t]+[^ \t]", re.IGNORECASE)
# SECURITY: it matches at every quote, to the end of the value where no quote ends it: no part of 64 KiB is read twice (C-78).
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_LIST_STARTS = b" \t,"
#: A token68, or a longer one as it is sent without a scheme.
_BARE = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_WSSE: Final = b"x-wsse"
_REASONS: Final = {"basic": "HTTP Basic authentication carries a password"}

#: (name for logs, reason)
Found = tuple[str, str]


def password_in(fields: Iterable[tuple[bytes, bytes]], allowed: frozenset[str]) -> Found | None:
    """The first password in these fields `(lower-case name, value)`. `allowed`: schemes of the app's own, in lower case."""
    for name, value in fields:
        found = ("wsse", "X-WSSE carries the proof of a password") if name == _WSSE else _found(value, allowed)
        if found is not None:
            return found
    return None


def _found(value: bytes, allowed: frozenset[str]) -> Found | None:
    # SECURITY: some servers take a no-break space for a blank, and letters beyond ASCII for plain ones (C-78).
    if _UNPLAIN.search(value):
        return "unreadable", "Authorization holds more than printable ASCII"
    # SECURITY: scripts that search the value for `Basic` find it behind another scheme, without a comma (C-78).
    if _BASIC.search(value):
        return "basic", _REASONS["basic"]
    # SECURITY: in any case, spacing and place of any Authorization field (C-12, C-78).
    for place, part in enumerate(value.split(b",")):
        if (start := _START.match(part)) is None:
            continue
        name = password_scheme(start["name"].decode())
        if name is not None and (name == "basic" or not place or start["parameter"] is None):
            return name, _REASONS.get(name, f"the authentication scheme {name} carries a password, or the proof of one")
    return _unknown(value.strip(_LIST_STARTS), allowed)


def _unknown(value: bytes, allowed: frozenset[str]) -> Found | None:
    """A scheme that is not known to carry no password. A lone token without a scheme passes: it is the application's own."""
    # SECURITY: a scheme that is not known may carry a password, as NLAuth does, which was in no list (C-78).
    if not value or _BARE.fullmatch(value):
        return None
    for place, part in enumerate(_QUOTED.sub(b'""', value).split(b",")):
        start = _START.match(part)
        if start is None:
            if place:
                continue
            return "unknown", "Authorization does not begin with an authentication scheme"
        name = start["name"].decode().lower()
        alone = not part[start.end() :].strip() or start["parameter"] is not None
        if not (is_known_otherwise(name) or name in allowed or (place and alone)):
            return "unknown", f"the authentication scheme {name[:64]!r} may carry a password"
    return None
