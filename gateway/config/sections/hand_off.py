"""The `hand_off` of an app: how a person with a session here gets the upstream's own session, without a password.

`kind: http` lists the requests; `kind: nexudus` has defaults for them, in `gateway.hand_off.plan`.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config import values
from gateway.config.field_names import FRAMING_FIELDS
from gateway.config.placeholders import IN_HAND_OFF, listed
from gateway.config.sections.fields import Patience, Secret, Section, Wait, checked
from gateway.config.sections.responses import CookieName
from gateway.config.values import between

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAMED: Final = listed(IN_HAND_OFF)
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


def parse_pointer(text: str) -> str:
    """A JSON pointer (RFC 6901) to a member. Raises ValueError."""
    if len(text) > 200 or not _POINTER.fullmatch(text):
        raise ValueError("is not a JSON pointer; allowed: the way to one member, as /data/token")
    return text


def parse_filled(text: str) -> str:
    """A text with placeholders. Raises ValueError."""
    allowed = f"allowed: a text that may hold {_NAMED}"
    if len(text) > 2000 or not text.isprintable():
        raise ValueError(f"is too long or not printable; {allowed}")
    for name in _PLACEHOLDER.findall(text):
        if name not in IN_HAND_OFF[:-1] and not values.OF_DIRECTORY.fullmatch(name):
            raise ValueError(f"has an unknown placeholder; {allowed}")
    return text


def parse_path(text: str) -> str:
    """A path of the upstream, with a query where it needs one. Raises ValueError."""
    allowed = f"allowed: a path that may hold {_NAMED}, as /sso?ticket={{token}}"
    if not re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", text) or "#" in text or "\\" in text:
        raise ValueError(f"is not a path; {allowed}")
    return parse_filled(text)


def parse_url(text: str) -> str:
    """An http(s) URL whose host holds no placeholder. Raises ValueError."""
    allowed = f"allowed: an https URL that may hold {_NAMED} behind its host"
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    # SECURITY: a claim in the host would send the service's credentials to a host of the person's choice.
    if not good or "{" in parts.netloc or "@" in parts.netloc or parts.fragment or not text.isascii() or " " in text:
        raise ValueError(f"is not a URL; {allowed}")
    return parse_filled(text)


def parse_login_page(text: str) -> str:
    """A path glob, or a whole URL without a query. Raises ValueError."""
    if text.startswith(("https://", "http://")) and "?" not in text and "*" not in text:
        return parse_url(text)
    values.parse_route(f"GET {text}")
    return text


def parse_header(text: str) -> str:
    """The name of a header of a request of ours. Raises ValueError."""
    if not _HEADER.fullmatch(text) or text.lower() in FRAMING_FIELDS:
        raise ValueError("is not a header that can be given here; allowed: as Authorization or X-Api-Key")
    return text


Pointer = Annotated[str, AfterValidator(parse_pointer)]
Filled = Annotated[str, AfterValidator(parse_filled)]
UpstreamPath = Annotated[str, AfterValidator(parse_path)]


class Call(Section):
    """A request that Doorward makes. At most one of `form` and `json`; `headers` may hold secrets and placeholders."""

    method: Literal["GET", "POST", "PUT"] = "POST"
    headers: dict[Annotated[str, AfterValidator(parse_header)], Secret] = Field(default_factory=dict)
    form: dict[str, Filled] | None = None
    json_: dict[str, Any] | None = Field(default=None, alias="json")


class TokenCall(Call):
    """The request for the one-time token, which is at `pointer` in the JSON of its response."""

    url: Annotated[str, AfterValidator(parse_url)]
    pointer: Pointer = "/token"


class Redemption(Call):
    """The request that opens the upstream's session. Its response has cookies, or JSON with a bearer token."""

    method: Literal["GET", "POST", "PUT"] = "GET"
    path: UpstreamPath
    token_pointer: Pointer = "/access_token"  # noqa: S105 - where it stands
    expires_pointer: Pointer = "/expires_in"


class WhoAmI(Section):
    """A path of the upstream whose JSON names the session's owner: the member at `pointer` must be `equals`."""

    path: Annotated[str, checked(parse_path)]
    pointer: Pointer
    equals: Filled = "{email}"
    every: Wait = timedelta(minutes=5)


Often = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(between(1, 100, "1 to 100"))]


class HandOff(Section):
    kind: Literal["nexudus", "http"]
    via: Literal["server", "bearer", "browser"] = "server"
    session_cookies: tuple[CookieName, ...] = ()
    token: TokenCall | None = None
    redeem: Redemption | None = None
    login_pages: tuple[Annotated[str, AfterValidator(parse_login_page)], ...] = ()
    on_401: bool = False
    who_am_i: WhoAmI | None = None
    log_out: Annotated[str, checked(parse_path)] | None = None
    most: Often = 5
    within: Wait = timedelta(minutes=1)
    timeout: Patience = timedelta(seconds=10)
