"""Text forms of single values: durations, sizes, routes, networks, keys, header templates, claim and group names.

Each `parse_*` raises ValueError as `what is wrong; allowed: what is allowed`, without the value, which may be a secret. Pure.
"""

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal, TypeVar
from urllib.parse import unquote_to_bytes

from gateway.config.field_names import is_reserved, reason_against, reason_against_trust
from gateway.config.placeholders import IN_HEADERS, listed

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

Bound = TypeVar("Bound", int, timedelta)
Workers = Literal["auto"] | int

# CONNECT and TRACE are missing: no rule decides about them, because the parser refuses them.
METHODS: Final = frozenset(
    {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL",
        "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "ACL", "BIND", "REBIND", "UNBIND", "CHECKOUT",
        "MERGE", "MKACTIVITY", "MKCALENDAR", "LINK", "UNLINK", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",
        "SOURCE", "M-SEARCH",
    }
)  # fmt: skip
#: A WebSocket handshake, among the methods of a compiled route: written WEBSOCKET, kept in a form that no request's method has.
WEBSOCKET: Final = "websocket"

#: What stands in logs as a rule where none of the configuration's decided.
_RULES_OF_OURS: Final = frozenset({"acr", "cors_preflight", "default", "own", "require", "target"})

OF_DIRECTORY: Final = re.compile(r"directory\.[a-z][a-z0-9_]{0,63}")
#: The rows of gateway/policy/servers.py, which `reads_like` chooses from.
READERS: Final = (
    "apache-multiviews", "aspnet-mvc", "codeigniter", "django", "django-rest", "drupal-7", "express", "fastify", "go", "iis", "laravel", "nginx",
    "php-fpm", "rack", "rails", "spring", "spring-suffix", "starlette", "symfony", "tomcat", "werkzeug", "wordpress", "yii",
)  # fmt: skip


_ROUTE: Final = "allowed: METHODS PATH-GLOB, as GET /assets/**, GET,POST /profile or * /admin/**"
_GLOB: Final = "allowed in a path: * inside a segment and ** as a whole segment, the rest as browsers send it"
_NEVER_SENT = re.compile(r"%(?:[01][0-9a-f]|7f|2f|5c|25[0-9a-f]{2})", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_MODE = re.compile(r"0?[0-7]{3}")

_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def parse_duration(value: object) -> timedelta:
    """`30s`, `15m`, `8h`, `7d`, `500ms` to timedelta; a timedelta stays. Raises ValueError with what is allowed."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a duration; allowed: a number with a unit, as 30s, 15m, 8h or 7d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def parse_per_minute(value: object) -> object:
    """`120/min` to int. Raises ValueError with what is allowed."""
    match = re.fullmatch(r"([0-9]{1,9})/min", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a rate; allowed: a number a minute, as 120/min")
    return int(match[1])


def parse_size(value: object) -> object:
    """`64KiB`, `1MiB`, or a plain number of bytes, to int. Raises ValueError with what is allowed."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"([0-9]{1,12})\s*(B|KiB|MiB|GiB)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a size; allowed: a number with a unit, as 64KiB or 1MiB")
    return int(match[1]) * _SIZES[match[2]]


def parse_mode(value: object) -> int:
    """A file's permissions in octal digits, as `0660`. Raises ValueError."""
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError(
            'is not a mode; allowed: three octal digits, with or without a 0 before them, in quotes, as "0660"'
        )
    return int(value, 8)


def parse_route(text: str) -> tuple[frozenset[str], str]:
    """`METHODS PATH-GLOB` to (upper-case methods, glob); no methods: any. Raises ValueError.

    What the canonical path of a request never holds is refused: such a rule looks like protection and matches nothing.
    """
    parts = text.split(" ")
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"is not a route: it needs methods, one space and a path; {_ROUTE}")
    methods = frozenset() if parts[0] == "*" else frozenset(parts[0].upper().split(","))
    if methods - METHODS:
        raise ValueError(f"names a method that is not known; {_ROUTE}")
    _check_glob(parts[1])
    return methods, parts[1]


def parse_entry(text: str) -> tuple[frozenset[str], str]:
    """`parse_route` for an entry of `public` or `rules`, which may have WEBSOCKET among its methods. Raises ValueError."""
    methods, blank, glob = text.partition(" ")
    names = methods.upper().split(",")
    others = ",".join(method for method in names if method != "WEBSOCKET")
    if "WEBSOCKET" not in names:
        return parse_route(text)
    known, glob = parse_route(f"{others or 'GET'}{blank}{glob}")
    if not known:
        raise ValueError(f"has * beside WEBSOCKET; {_ROUTE}")
    return (known if others else frozenset()) | {WEBSOCKET}, glob


def _check_glob(glob: str) -> None:
    if not glob.startswith("/"):
        raise ValueError(f"has a path that does not start with a slash; {_ROUTE}")
    if not glob.isprintable() or re.search(r"[?#\\\[\]{}<>\"^`|]", glob):
        raise ValueError(
            f'has a character in its path that means nothing there (?#\\[]{{}}<>"^`| or an invisible one); {_GLOB}'
        )
    if "//" in glob:
        raise ValueError(f"has an empty segment (//) in its path, which never arrives; {_GLOB}")
    if re.search(r"%(?![0-9A-Fa-f]{2})", glob) or _NEVER_SENT.search(glob):
        raise ValueError(
            f"has an escape in its path that is malformed or always refused (%2F, %5C, %00, %25XX); {_GLOB}"
        )
    try:
        decoded = unquote_to_bytes(glob).decode()
    except UnicodeDecodeError:
        raise ValueError(f"has escapes in its path that are not UTF-8; {_GLOB}") from None
    for segment in decoded.split("/"):
        if segment.partition(";")[0] in (".", ".."):
            raise ValueError(f"has a dot segment in its path, which never arrives; {_GLOB}")
        # SECURITY: `/public**` would open /publicity and /public-admin too: patterns end at segment borders (C-05).
        if "**" in segment and segment != "**":
            raise ValueError(f"has ** beside other characters in a segment; {_GLOB}")


def parse_network(value: object) -> object:
    """A CIDR or a single address to a network. Raises ValueError."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    allowed = "allowed: an address or a CIDR, as 10.0.0.0/8 or ::1"
    if not isinstance(value, str):
        raise ValueError(f"is not a network; {allowed}")
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"is not a network; {allowed}") from None
    raise ValueError(f"has bits set beyond its prefix length; {allowed}")


def parse_workers(value: object) -> object:
    """`auto` or a number. Raises ValueError."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value) else value
    if value == "auto" or (isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 256):
        return number
    raise ValueError("is not a number of processes; allowed: auto, or 1 to 256")


def parse_key(text: str) -> bytes:
    """A key of the key ring: 32 bytes as base64url, with or without its padding. Raises ValueError."""
    allowed = "allowed: 32 random bytes as base64url, 43 characters (`doorward keys new` makes one)"
    if not re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", text):
        raise ValueError(f"is not base64url; {allowed}")
    bare = text.rstrip("=")
    if len(bare) != 43:
        raise ValueError(f"is not a key of 32 bytes; {allowed}")
    return base64.urlsafe_b64decode(bare + "=")


def refuse_repetition(key: bytes) -> None:
    """Raises ValueError for a key that repeats a few bytes: all zeros, `ababab...`. Of 2^128 random keys one does."""
    # SECURITY: such a key is a placeholder that others can guess: they could read and make every session (C-21).
    if any(key[period:] == key[:-period] for period in range(1, len(key) // 2 + 1)):
        raise ValueError("repeats the same bytes; allowed: 32 random bytes (`doorward keys new` makes a key)")


def normalise_header(name: str) -> str:
    """A field name as CGI-like upstreams compare it: in lower case, everything but letters and digits a hyphen (C-30)."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())


def parse_header_name(name: str) -> str:
    """The name of an extra header to the upstream. Raises ValueError for one that HTTP or Doorward gives a meaning."""
    allowed = "allowed: a name of your own of letters, digits and hyphens, as X-Portal-Customer"
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"is not a usable header name; {allowed}")
    if is_reserved(normalise_header(name)):
        raise ValueError(f"is a reserved header name; {allowed}")
    return name


def parse_client_header(name: str) -> str:
    """The name of a field that clients may send although it is dropped otherwise. Raises ValueError."""
    allowed = "allowed: a field of the application's own, as X-Scope-OrgID or my_field"
    if not _TOKEN.fullmatch(name) or not name[0].isalnum():
        raise ValueError(f"is not a usable field name; {allowed}")
    reason = reason_against(normalise_header(name))
    if reason is not None:
        raise ValueError(f"{reason}; {allowed}")
    return name


def parse_trusted_header(name: str) -> str:
    """The name of a field that is believed from trusted proxies. Raises ValueError."""
    allowed = "allowed: a field by which the proxies in front name a person, a certificate or an address, as X-SSL-Client-Verify"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", name):
        raise ValueError(f"is not a name of letters, digits and hyphens; {allowed}")
    reason = reason_against_trust(normalise_header(name))
    if reason is not None:
        raise ValueError(f"{reason}; {allowed}")
    return name


def parse_template(text: str, known: tuple[str, ...] = IN_HEADERS) -> frozenset[str]:
    """The names in a template's placeholders, as `directory.id`. Raises ValueError for unknown ones and for stray braces."""
    allowed = f"allowed: printable ASCII with the placeholders {listed(known)}"
    if not text or len(text) > 2000 or not (text.isascii() and text.isprintable()):
        raise ValueError(f"is empty, too long or holds more than printable ASCII; {allowed}")
    names = frozenset(re.findall(r"\{([^{}]*)\}", text))
    unknown = names - set(known)
    if "directory.NAME" in known:
        unknown = frozenset(name for name in unknown if not OF_DIRECTORY.fullmatch(name))
    if unknown:
        raise ValueError(f"has an unknown placeholder; {allowed}")
    if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", text)):
        raise ValueError(f"has a brace that belongs to no placeholder; {allowed}")
    return names


def parse_email(text: str) -> str:
    """An address in an access rule: exactly one @ (A-59). Raises ValueError."""
    local, at, domain = text.partition("@")
    if not at or not local or not re.fullmatch(r"[^\s@,;<>]+", local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("is not an e-mail address; allowed: one address with one @, as ana@example.com")
    return text


def parse_domain(text: str) -> str:
    """A domain in an access rule, matched exactly. Raises ValueError."""
    if not _DOMAIN.fullmatch(text):
        raise ValueError(
            "is not a domain; allowed: what stands after the @, as example.com (no @, no *, other scripts as xn--)"
        )
    return text


def parse_name(text: str) -> str:
    """A group, a claim's name, an acr value: something visible, without blanks at its ends. Raises ValueError."""
    if not text or text != text.strip() or not text.isprintable() or len(text) > 512:
        # SECURITY: an empty entry would be met by an empty claim, or by every person (C-21).
        raise ValueError("is empty, too long, or has blanks or invisible characters; allowed: a visible name")
    return text


@lru_cache(maxsize=64)
def _pattern_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(".*".join(map(re.escape, glob.split("*"))) for glob in globs), re.DOTALL)


def keeps_group(globs: tuple[str, ...], group: str) -> bool:
    """Whether a `groups_filter` keeps this group: one of its entries is the group, `*` for any characters. Without entries all are kept."""
    return not globs or _pattern_of(globs).fullmatch(group) is not None


def parse_scope(text: str) -> str:
    """One scope token (RFC 6749 section 3.3). Raises ValueError."""
    if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", text):
        raise ValueError("is not a scope; allowed: one word each, as [openid, email, profile]")
    return text


def parse_audience(text: str) -> str:
    """An `aud`, exactly as the provider writes it. Raises ValueError."""
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise ValueError(
            "is not an audience; allowed: 1 to 512 printable ASCII characters without blanks, exactly as in aud"
        )
    return text


def between(low: Bound, high: Bound, words: str) -> Callable[[Bound], Bound]:
    """A check that a value lies in bounds, both included."""

    def check(value: Bound) -> Bound:
        if not low <= value <= high:
            raise ValueError(f"is out of bounds; allowed: {words}")
        return value

    return check


def refuse_bool(value: object) -> object:
    """Raises ValueError for true and false, which Python takes for 1 and 0 (`yes` and `on` are true in YAML)."""
    if isinstance(value, bool):
        raise ValueError("is a true/false value; allowed: a whole number")
    return value


def refuse_empty(value: object) -> object:
    """Raises ValueError for an empty path, which would be the current folder."""
    if value == "":
        raise ValueError("is empty; allowed: a path, or no such key")
    return value


def parse_key_prefix(text: str) -> str:
    """What every key in Redis starts with. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9:._/{}-]{1,64}", text):
        raise ValueError("is not a key prefix; allowed: 1 to 64 letters, digits and :._/{}-")
    return text


def parse_client_id(text: str) -> str:
    """RFC 6749 appendix A.1; empty stays empty. Raises ValueError."""
    if not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?|", text):
        raise ValueError("is not a client id; allowed: what the provider shows, printable ASCII")
    return text


def parse_key_id(text: str) -> str:
    """A `kid` (RFC 7515 section 4.1.4). Raises ValueError."""
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", text):
        raise ValueError("is not a key id; allowed: the kid that the provider knows, printable ASCII without blanks")
    return text


def parse_title(text: str) -> str:
    """The name on our pages. Raises ValueError."""
    if not text.strip() or not text.isprintable() or len(text) > 100:
        raise ValueError("is not a title; allowed: one line of at most 100 characters")
    return text


def parse_app_name(text: str) -> str:
    """The name of an app, as it stands in logs and metrics. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9](?:_?[a-z0-9-]){0,62}", text):
        raise ValueError("is not an app's name; allowed: lower-case letters, digits, - and single _, as members_portal")
    return text


def parse_provider_name(text: str) -> str:
    """The name of a provider, as it stands in addresses, logs and metrics. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9](?:-?[a-z0-9]){0,62}", text) or text == "openid":
        raise ValueError("is not a provider's name; allowed: lower-case letters, digits and single -, but not openid")
    return text


def parse_rule_name(text: str) -> str:
    """The name of an access rule, as it stands in logs and events. Raises ValueError."""
    # SECURITY: a rule that is called `require` would count as the app's own, which break-glass opens (C-73).
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", text) or text in _RULES_OF_OURS:
        allowed = (
            f"allowed: letters, digits and . _ - between them, at most 64, but not {', '.join(sorted(_RULES_OF_OURS))}"
        )
        raise ValueError(f"is not a rule's name; {allowed}")
    return text


def parse_reader(text: str) -> str:
    """The name of a kind of server that paths are read like. Raises ValueError with all of them."""
    if text not in READERS:
        raise ValueError(f"is no kind of server that is known; allowed: {', '.join(READERS)}")
    return text


def parse_pack_name(text: str) -> str:
    """The name of a rule pack; `checks.files` looks for the pack. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9_-]{1,64}", text):
        raise ValueError(
            "is not a rule pack's name; allowed: a name as nexudus, a file as ./doors.yaml, a rule, or a list of these"
        )
    return text
