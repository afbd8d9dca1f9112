"""Which of our languages a reader asks for. Pure.

Quality values of RFC 9110 section 12.5.4, the lookup of RFC 4647 section 3.4, `ui_locales` of OpenID Connect Core 1.0 section 3.1.2.1.
"""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: So many bytes and ranges of a header are read; browsers send a tenth of that.
LONGEST: Final = 1_000
MOST: Final = 20
#: Of a `ui_locales` in characters: it travels in the `state`. A longer one is ignored.
LONGEST_UI_LOCALES: Final = 100
_RANGE: Final = re.compile(
    r"\s*([a-z]{1,8}(?:-[a-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?", re.IGNORECASE
)
#: A langtag of RFC 5646 section 2.1: language, extlang, script, region, variants, extensions, private use.
_TAG: Final = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class PreferredLanguages:
    """What a reader prefers: the tags of `ui_locales`, in their order; then `accept_language`, the values of that header field."""

    accept_language: Sequence[bytes] = ()
    ui_locales: tuple[str, ...] = ()

    def choose(self, offered: Container[str], default: str) -> str:
        """The tag of the first language that the reader prefers and that is offered; the default for a `*`, for none and for nonsense."""
        named = lookup([tag.lower() for tag in self.ui_locales], offered)
        if named is not None:
            return named
        header = b",".join(self.accept_language)[:LONGEST].decode("latin-1")
        weighted = [(q, tag) for tag, q in _ranges(header)]
        refused = {tag for q, tag in weighted if not q}
        wanted = [tag for q, tag in sorted(weighted, key=lambda each: -each[0]) if q and tag not in refused]
        return lookup(wanted, offered, refused) or default


NO_PREFERENCE: Final = PreferredLanguages()


def read_ui_locales(text: str | None) -> tuple[str, ...]:
    """The language tags of a `ui_locales`, which spaces separate; what is no tag is left out, and a text that is too long altogether."""
    # SECURITY: it reaches the provider, a sealed state and links of pages: nothing but tags, and few.
    if text is None or len(text) > LONGEST_UI_LOCALES:
        return ()
    return tuple(dict.fromkeys(tag for tag in text.split(" ") if _TAG.fullmatch(tag)))


def lookup(wanted: Sequence[str], offered: Container[str], refused: Container[str] = ()) -> str | None:
    """The first language that is offered, the most specific form of each range before the shorter ones; None where nothing fits."""
    for tag in wanted:
        if tag == "*":
            return None
        for form in _shortened(tag):
            if form in offered and form not in refused:
                return form
    return None


def _ranges(text: str) -> Iterator[tuple[str, float]]:
    """(range in lower case, weight); what is no range is left out."""
    for part in text.split(",", MOST)[:MOST]:
        match = _RANGE.fullmatch(part)
        if match is not None:
            yield match[1].lower(), float(match[2] or 1)


def _shortened(tag: str) -> Iterator[str]:
    """`zh-Hant-x-a` becomes itself, `zh-Hant`, `zh`: a single letter at the end goes with what follows it."""
    parts = tag.split("-")
    while parts:
        yield "-".join(parts)
        parts.pop()
        if parts and len(parts[-1]) == 1:
            parts.pop()
