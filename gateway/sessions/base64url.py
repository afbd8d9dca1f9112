"""base64url without padding (RFC 4648 section 5, RFC 7515 appendix C). Pure."""

import base64


def encode(raw: bytes) -> str:
    """Letters, digits, hyphens and underscores."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: bytes) -> bytes:
    """Raises ValueError for any text that `encode` does not return."""
    raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    # The last character may have bits that no byte needs, and so several spellings.
    if encode(raw).encode("ascii") != text:
        raise ValueError("not base64url, or not its one spelling")
    return raw
