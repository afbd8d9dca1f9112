"""How the pages of one app look and what they say: title, logo, colour, support link, catalogues with the operator's texts."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from gateway.config.schema import PageSettings
from gateway.languages.catalogue import Catalogue
from gateway.languages.message import SOURCE
from gateway.languages.negotiation import PreferredLanguages
from gateway.pages.color import palette

LOGO_LIMIT: Final = 256 * 1024
_LOGO_STARTS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
_CARD: Final = ("#ffffff", "#19212b")  # `--card` of colors.css, in light and in dark


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """`title` "": the host's name stands there. `logo` is a data URI, `support` a URL; "" without one. `style_hash` is the CSP's source."""

    title: str
    logo: str
    support: str
    style: str
    style_hash: str
    language: str
    catalogues: Mapping[str, Catalogue]

    def catalogue(self, languages: PreferredLanguages) -> Catalogue:
        """The texts in the reader's language."""
        return self.catalogues[languages.choose(self.catalogues, self.language)]


def theme_of(catalogues: Mapping[str, Catalogue], common: PageSettings, own: PageSettings | None = None) -> Theme:
    """The theme of an app: its `own` settings, and the `common` ones where it has none. Raises ValueError for an unusable logo."""
    own = own or PageSettings()
    logo, color = own.logo or common.logo, own.color or common.color
    style = colors_of(color) + _template("page.css")
    return Theme(
        title=own.title or common.title or "",
        logo=logo_uri(logo) if logo is not None else "",
        support=own.support or common.support or "",
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        language=own.language or common.language or SOURCE,
        catalogues={tag: _replaced(catalogue, common, own) for tag, catalogue in catalogues.items()},
    )


def _replaced(catalogue: Catalogue, common: PageSettings, own: PageSettings) -> Catalogue:
    """A catalogue with the operator's texts, those of the app before the common ones."""
    given = (texts for settings in (common, own) for tag, texts in settings.texts.items() if tag == catalogue.tag)
    for texts in given:
        catalogue = catalogue.with_texts(texts)
    return catalogue


def colors_of(color: str | None) -> str:
    """The style's variables, in light and in dark, with the operator's colour where there is one."""
    return _template("colors.css") + (_colors(color) if color is not None else "")


def _template(name: str) -> str:
    return resources.files("gateway.pages").joinpath("templates", name).read_text("utf-8")


def _colors(color: str) -> str:
    """The style's lines for the operator's colour. Nothing of the text goes in: the colours are computed from it."""
    rules = [
        f":root {{ --accent: {c.accent}; --tone: {c.accent}; --accent-deep: {c.deep}; --on-accent: {c.on_accent}; --tint: {c.tint}; }}"
        for c in (palette(color, card) for card in _CARD)
    ]
    return f"{rules[0]}\n@media (prefers-color-scheme: dark) {{ {rules[1]} }}\n"


def logo_uri(path: Path) -> str:
    """The logo as a data URI. Raises ValueError when it is not PNG, JPEG, GIF, WebP or SVG, or over 256 KiB."""
    try:
        with path.open("rb") as file:
            data = file.read(LOGO_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > LOGO_LIMIT:
        raise ValueError("is too large; allowed: up to 256 KiB")
    kind = _image_type(data)
    if kind is None:
        raise ValueError("is not an image; allowed: PNG, JPEG, GIF, WebP or SVG")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _image_type(data: bytes) -> str | None:
    """The type by content, not by file name: with a wrong type browsers show a broken picture."""
    for start, kind in _LOGO_STARTS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in data.lower():
        return "image/svg+xml"
    return None
