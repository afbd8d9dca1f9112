"""The pages of our own: how they look, where people find help, and texts in place of ours. For all apps, or for one."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from gateway.config import values
from gateway.config.sections.fields import File, Section
from gateway.errors import access, dependencies, hand_off, requests, signing_in
from gateway.errors.refusal import Refusal

#: The codes of the pages that are no refusals.
_OWN_CODES: Final = frozenset({"choose_provider", "setting_up", "sign_out", "signed_out", "signed_in", "form_ready"})
_CODES: Final = _OWN_CODES | {
    kind.code
    for module in (access, dependencies, hand_off, requests, signing_in)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Refusal)
}
_REST: Final = r"[!#-;=?-~]*"
_SUPPORT: Final = re.compile(
    rf"https://[A-Za-z0-9.-]+(?::[0-9]{{1,5}})?(?:[/?#]{_REST})?"
    rf"|mailto:[A-Za-z0-9.!#$%*+/=^_{{|}}~-]+@[A-Za-z0-9.-]+(?:\?{_REST})?"
    r"|tel:\+?[0-9][0-9().-]{1,30}"
)


def _code(text: str) -> str:
    if text not in _CODES:
        raise ValueError("is no page's code; allowed: the code at the foot of a page, as not_registered")
    return text


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 600:
        raise ValueError("is not a page's text; allowed: one line of at most 600 characters")
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


class PageText(Section):
    title: Annotated[str, AfterValidator(values.parse_title)] | None = None
    message: Text | None = None


class PageSettings(Section):
    title: Annotated[str, AfterValidator(values.parse_title)] | None = None  # None: the host's name
    logo: File | None = None
    color: Annotated[str, AfterValidator(_color)] | None = None
    support: Annotated[str, AfterValidator(_support)] | None = None
    texts: dict[Annotated[str, AfterValidator(_code)], PageText] = Field(default_factory=dict)
