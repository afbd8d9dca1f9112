"""The browser of a session by its `User-Agent` (RFC 9110 section 10.1.5): a text that any client makes up, shown to people and never decided by.

Pure.
"""

import re
from typing import Final

MAX_USER_AGENT: Final = 200  # bytes of UTF-8

# The first that is found counts: most browsers also name those that they once wanted to be taken for.
_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(?:OPR|OPT|Opera)/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS)/|\bChromium/")),
    ("Safari", re.compile(r"\bVersion/.*\bSafari/")),
)
_SYSTEMS: Final = (
    ("iPhone", re.compile(r"\biPhone\b")),
    ("iPad", re.compile(r"\biPad\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("macOS", re.compile(r"\bMac OS X\b|\bMacintosh\b")),
    ("Linux", re.compile(r"\bLinux\b|\bX11\b")),
)


def clean(field: bytes | None) -> str | None:
    """A field's value as a session keeps it: printable, at most MAX_USER_AGENT bytes; None where nothing is left."""
    if field is None:
        return None
    text = field[:MAX_USER_AGENT].decode("ascii", "replace").replace("\ufffd", "?")
    return "".join(letter for letter in text if letter.isprintable()).strip() or None


def device_of(user_agent: str | None) -> str:
    """`Firefox · Windows`: browser and system as far as they are known; empty where neither is."""
    text = user_agent or ""
    found = (next((name for name, known in names if known.search(text)), None) for names in (_BROWSERS, _SYSTEMS))
    return " \u00b7 ".join(name for name in found if name is not None)
