"""The style that hides the elements of an app's `responses.hide`, and the policies that must allow it.

Pure. The style is plain ASCII, so it is right in every character encoding that begins with ASCII. Content Security Policy Level 3, sections
2.3 (source lists), 6.7.2 (which directive governs an inline style) and 8.3 (hashes).
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

_GOVERNS_INLINE_STYLE: Final = (b"style-src-elem", b"style-src", b"default-src")


class HidingStyle:
    """A style for these selectors: `element` for the page, `source` its hash for a policy."""

    def __init__(self, selectors: Sequence[str]) -> None:
        # A rule each: a selector that a browser does not support invalidates no other.
        rules = "".join(f"{_ascii(selector)}{{display:none!important}}" for selector in selectors)
        self.element: Final = f"<style>{rules}</style>".encode("ascii")
        self.source: Final = b"'sha256-%b'" % base64.b64encode(hashlib.sha256(rules.encode("ascii")).digest())

    def allow(self, policies: bytes) -> bytes:
        """The value of a Content-Security-Policy field, with this one style allowed in each of its policies."""
        return b",".join(_allowed(policy, self.source) for policy in policies.split(b","))


def _ascii(selector: str) -> str:
    """Other characters as CSS escapes, which end with a blank."""
    return "".join(letter if letter.isascii() else f"\\{ord(letter):x} " for letter in selector)


def _allowed(policy: bytes, source: bytes) -> bytes:
    directives = [directive.strip(b" \t") for directive in policy.split(b";")]
    found: dict[bytes, int] = {}
    for place, directive in enumerate(directives):
        name = directive.partition(b" ")[0].lower()
        found.setdefault(name, place)  # of two directives of one name, the first counts
    governing = next((name for name in _GOVERNS_INLINE_STYLE if name in found), None)
    if governing is None:
        return policy
    sources = directives[found[governing]].split()[1:]
    if _allows_inline(sources):
        return policy
    listed = [one for one in sources if one.lower() != b"'none'"]
    if governing == b"default-src":
        # The fallback governs all kinds of sources; only styles get one more.
        directives.append(b" ".join((b"style-src-elem", *listed, source)))
    else:
        directives[found[governing]] = b" ".join((governing, *listed, source))
    return b"; ".join(directive for directive in directives if directive)


def _allows_inline(sources: Sequence[bytes]) -> bool:
    """Whether the list allows any inline style: a hash or a nonce disables 'unsafe-inline'."""
    low = [source.lower() for source in sources]
    strict = any(one.startswith((b"'nonce-", b"'sha256-", b"'sha384-", b"'sha512-")) for one in low)
    return b"'unsafe-inline'" in low and not strict
