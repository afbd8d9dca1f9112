"""The colours that a page needs beside the operator's one, so that every text can be read. Pure.

Contrast is that of WCAG 2.2 (success criterion 1.4.3): 4.5:1 for text.
"""

from dataclasses import dataclass
from typing import Final

Rgb = tuple[int, int, int]

READABLE: Final = 4.5
_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)
_TINT: Final = 0.1  # the accent's share of a tinted ground


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as `#rrggbb`: of links and buttons, of a button under the pointer, of the text on both, and of a tinted ground."""

    accent: str
    deep: str
    on_accent: str
    tint: str


def palette(color: str, ground: str) -> Palette:
    """The palette whose accent is the nearest to `color` that can be read on `ground`; both as `#rrggbb`."""
    given, behind = parse(color), parse(ground)
    towards = max(_WHITE, _BLACK, key=lambda end: contrast(end, behind))
    steps = (mix(given, towards, step / 100) for step in range(101))
    accent = next(shade for shade in steps if contrast(shade, mix(behind, shade, _TINT)) >= READABLE)
    # One of the two has 4.58:1 or more on any colour.
    text = max(_WHITE, _BLACK, key=lambda end: contrast(end, accent))
    deep = mix(accent, _BLACK if text == _WHITE else _WHITE, 0.15)
    return Palette(_hex(accent), _hex(deep), _hex(text), _hex(mix(behind, accent, _TINT)))


def parse(color: str) -> Rgb:
    """`#rrggbb` to red, green and blue."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`one` with that share of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Rgb) -> float:
    """The relative luminance, 0 to 1."""
    linear = [(value / 255) / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _hex(color: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
