"""The pages of our own: how they look, where people find help, and texts in place of ours. For all apps, or for one."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from gateway.config import values
from gateway.config.sections.fields import File, Section

_REST: Final = r"[!#-;=?-~]*"
_SUPPORT: Final = re.compile(
    rf"https://[A-Za-z0-9.-]+(?::[0-9]{{1,5}})?(?:[/?#]{_REST})?"
    rf"|mailto:[A-Za-z0-9.!#$%*+/=^_{{|}}~-]+@[A-Za-z0-9.-]+(?:\?{_REST})?"
    r"|tel:\+?[0-9][0-9().-]{1,30}"
)


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 600:
        raise ValueError("is not a page's text; allowed: one line of plain text, at most 600 characters")
    return text


def _color(text: str) -> str:
    # SECURITY: a colour of another form would be a rule of the style sheet.
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        raise ValueError('is not a colour; allowed: "#" and six hexadecimal digits in quotation marks, as "#2156c9"')
    return text


def _support(text: str) -> str:
    # SECURITY: a link of another scheme, as javascript:, would run in the page.
    if not _SUPPORT.fullmatch(text) or len(text) > 500:
        allowed = "https://help.example.com/, mailto:help@example.com or tel:+351210000000"
        raise ValueError(f"is not a support link; allowed: an https, mailto or tel URL, as {allowed}")
    return text


Text = Annotated[str, AfterValidator(_text)]


Language = Literal["ar", "de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt"]


class PageSettings(Section):
    """`language` is that of readers who ask for none of ours; None: English. `texts` are by language and message ID."""

    title: Annotated[str, AfterValidator(values.parse_title)] | None = None  # None: the host's name
    logo: File | None = None
    color: Annotated[str, AfterValidator(_color)] | None = None
    support: Annotated[str, AfterValidator(_support)] | None = None
    language: Language | None = None
    texts: dict[Language, dict[str, Text]] = Field(default_factory=dict)
