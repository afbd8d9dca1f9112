"""`cors_preflight` of an app in its long form: the origins, methods and header fields of other sites' pages; Doorward answers preflights.

The values are written as browsers send them. WHATWG Fetch, "CORS protocol".
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag

from gateway.config.addresses import parse_origin
from gateway.config.sections.fields import Duration, Section
from gateway.config.values import between

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
#: Fetch calls these forbidden: no page can send them, and nothing passes them on.
_NEVER_SENT = frozenset(("CONNECT", "TRACE", "TRACK"))


def _origin(text: str) -> str:
    allowed = "allowed: origins as https://app.example.com, or * alone"
    if text == "*":
        return text
    if text.lower() == "null":
        # SECURITY: every sandboxed frame, data: URL and local file of any site has the origin `null` (C-79).
        raise ValueError(f"is the origin of every sandboxed frame and file, of any site; {allowed}")
    return parse_origin(text)


def _method(text: str) -> str:
    name = text.upper()
    allowed = "allowed: methods by name, as GET, PUT or DELETE"
    if not _TOKEN.fullmatch(name) or name == "*":
        raise ValueError(f"is not a method; {allowed}")
    if name in _NEVER_SENT:
        raise ValueError(f"is a method that no page can send; {allowed}")
    return name


def _header(text: str) -> str:
    if not _TOKEN.fullmatch(text) or text == "*":
        raise ValueError("is not the name of a header field; allowed: names, as Authorization or Content-Type")
    return text


def _some(what: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    def check(given: tuple[str, ...]) -> tuple[str, ...]:
        if not given:
            raise ValueError(f"is empty; allowed: at least one {what}")
        return given

    return check


_DAY = timedelta(days=1)


class CorsPreflight(Section):
    """`allow_methods` and `allow_headers`: beyond what any page may send (GET, HEAD, POST; see the guide)."""

    allow_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...], AfterValidator(_some("origin, as https://app.example.com"))
    ]
    allow_methods: tuple[Annotated[str, AfterValidator(_method)], ...] = ("GET", "HEAD", "POST")
    allow_headers: tuple[Annotated[str, AfterValidator(_header)], ...] = ()
    allow_credentials: bool = False
    max_age: Annotated[Duration, AfterValidator(between(0 * _DAY, _DAY, "0s to 1d"))] = timedelta(minutes=10)


def _word(value: object) -> object:
    if value not in ("pass", "refuse"):
        raise ValueError("is not one of the choices; allowed: pass, refuse, or a section with allow_origins")
    return value


def _form(value: Any) -> str:
    return "section" if isinstance(value, dict | CorsPreflight) else "word"


CorsPreflights = Annotated[
    Annotated[Literal["pass", "refuse"], BeforeValidator(_word), Tag("word")]
    | Annotated[CorsPreflight, Tag("section")],
    Discriminator(_form),
]
