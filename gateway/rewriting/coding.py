"""Undoes a content coding piece by piece, for a body that must be read.

The upstream was asked for none, so this is for upstreams that do not listen. RFC 9110 section 8.4.1.
"""

import zlib
from typing import Final

from gateway.errors.dependencies import UpstreamFault

#: Content-Encoding to the window bits that zlib wants; deflate comes in two forms.
_KINDS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
MOST_AT_ONCE: Final = (
    4 * 1024 * 1024
)  # what one piece may become: everything else of it would have to be held in memory


def can_decode(coding: bytes) -> bool:
    return coding in _KINDS


class Decoder:
    """Both methods raise UpstreamFault for what is no such coding, or a bomb."""

    def __init__(self, coding: bytes) -> None:
        self._coding = coding
        self._stream = zlib.decompressobj(_KINDS[coding])
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        if not self._begun and self._coding == b"deflate" and data:
            # Browsers take a bare deflate stream for `deflate`, too: its first byte is never that of a zlib header.
            self._stream = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
        self._begun = self._begun or bool(data)
        out = bytearray()
        try:
            while data:
                out += self._stream.decompress(data, max(MOST_AT_ONCE - len(out), 1))
                # SECURITY: a few bytes that become gigabytes must not fill the memory (D-20).
                if self._stream.unconsumed_tail:
                    raise UpstreamFault(f"a piece of {self._coding.decode()} became more than {MOST_AT_ONCE} bytes")
                data = self._stream.unused_data.lstrip(b"\0")  # some pad it
                if data and self._coding == b"deflate":
                    raise UpstreamFault("bytes after the end of a deflate body")
                if data:
                    self._stream = zlib.decompressobj(_KINDS[self._coding])  # gzip may have several members
        except zlib.error as error:
            raise UpstreamFault(f"the body is not {self._coding.decode()}") from error
        return bytes(out)

    def end(self) -> bytes:
        if self._begun and not self._stream.eof:
            raise UpstreamFault(f"the {self._coding.decode()} body is cut short")
        return b""
