"""Decodes a content coding piece by piece, for a body that must be read. RFC 9110 section 8.4.1.

The request asked for no coding, so this is for upstreams that ignore Accept-Encoding.
"""

import zlib
from typing import Final

from gateway.errors.dependencies import UpstreamFault

#: Content-Encoding to zlib's window bits; deflate has two forms.
_KINDS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
MOST_AT_ONCE: Final = 4 * 1024 * 1024  # bytes that one piece may decode to, because they are held in memory


def can_decode(coding: bytes) -> bool:
    """Whether there is a decoder for a Content-Encoding, in lower case."""
    return coding in _KINDS


class Decoder:
    """Decodes one body. Both methods raise UpstreamFault for data that is not in the coding, or expands too far."""

    def __init__(self, coding: bytes) -> None:
        self._coding = coding
        self._stream = zlib.decompressobj(_KINDS[coding])
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """The decoded bytes of one piece."""
        if not self._begun and self._coding == b"deflate" and data:
            # Browsers accept a raw deflate stream as `deflate` too: its first byte is never that of a zlib header.
            self._stream = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
        self._begun = self._begun or bool(data)
        out = bytearray()
        try:
            while data:
                out += self._stream.decompress(data, max(MOST_AT_ONCE - len(out), 1))
                # SECURITY: a few bytes that decode to gigabytes must not fill the memory (D-20).
                if self._stream.unconsumed_tail:
                    raise UpstreamFault(f"a piece of {self._coding.decode()} became more than {MOST_AT_ONCE} bytes")
                data = self._stream.unused_data.lstrip(b"\0")  # some upstreams pad it
                if data and self._coding == b"deflate":
                    raise UpstreamFault("bytes after the end of a deflate body")
                if data:
                    self._stream = zlib.decompressobj(_KINDS[self._coding])  # gzip may have several members
        except zlib.error as error:
            raise UpstreamFault(f"the body is not {self._coding.decode()}") from error
        return bytes(out)

    def end(self) -> bytes:
        """The end of the body; empty."""
        if self._begun and not self._stream.eof:
            raise UpstreamFault(f"the {self._coding.decode()} body is cut short")
        return b""
