"""The `responses` of an app: what is removed from its upstream's responses. Nothing is, by default."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from gateway.config.sections.fields import Section

_ALLOWED: Final = 'allowed: a CSS selector, as form#login or a[href*="forgot"]'
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_PAIRS: Final = {")": "(", "]": "["}


def parse_selector(text: str) -> str:
    """A CSS selector that cannot end the rule it stands in. Raises ValueError."""
    if not text.strip() or len(text) > 300 or not text.isprintable():
        raise ValueError(f"is empty, too long or not printable; {_ALLOWED}")
    bare = _QUOTED.sub('""', text)
    # SECURITY: what closes the rule or the element would put the operator's typing into the page as markup or style (C-38).
    if re.search(r"[{}<;@\\]|/\*|\*/", bare) or "<" in text:
        raise ValueError(f"holds a brace, <, ;, @, a backslash or a comment outside quotes; {_ALLOWED}")
    if re.search(r"[\"']", bare.replace('""', "")) or not _balanced(bare):
        raise ValueError(f"has a quote or bracket without its partner; {_ALLOWED}")
    return text


def parse_cookie_name(text: str) -> str:
    """The name of a cookie of the upstream (RFC 6265 section 4.1.1). Raises ValueError."""
    if not _TOKEN.fullmatch(text):
        raise ValueError("is not a cookie's name; allowed: the name alone, as ASP.NET_SessionId")
    if "doorward_" in text.lower():
        raise ValueError("is a cookie of Doorward's own; allowed: a cookie that the upstream sets")
    return text


def _balanced(text: str) -> bool:
    open_: list[str] = []
    for character in text:
        if character in "([":
            open_.append(character)
        elif character in _PAIRS and (not open_ or open_.pop() != _PAIRS[character]):
            return False
    return not open_


CookieName = Annotated[str, AfterValidator(parse_cookie_name)]


class Responses(Section):
    """`hide`: CSS selectors of what pages do not show. `drop_cookies`: cookies that neither a browser nor the upstream gets."""

    hide: Annotated[tuple[Annotated[str, AfterValidator(parse_selector)], ...], Field(max_length=32)] = ()
    drop_cookies: tuple[CookieName, ...] = ()
