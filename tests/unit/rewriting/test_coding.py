"""Content codings are undone piece by piece, and a bomb ends."""

import gzip
import zlib

import pytest

from gateway.errors.dependencies import UpstreamFault
from gateway.rewriting.coding import MOST_AT_ONCE, Decoder, can_decode

TEXT = b"a page " * 400


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"x-gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        (b"gzip", gzip.compress(TEXT) + b"\0" * 20),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
    ],
    ids=["gzip", "two members", "padded", "deflate", "bare deflate"],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_body_comes_out_as_it_was(coding: bytes, data: bytes, step: int) -> None:
    decoder = Decoder(coding)
    out = b"".join(decoder.feed(data[start : start + step]) for start in range(0, len(data), step))
    assert out + decoder.end() == TEXT


def test_brotli_is_left_to_others() -> None:
    assert not can_decode(b"br")


def test_a_bomb_ends() -> None:
    """D-20: a small piece must not become more than can be held."""
    with pytest.raises(UpstreamFault):
        Decoder(b"gzip").feed(gzip.compress(b"\0" * (MOST_AT_ONCE + 1)))


@pytest.mark.parametrize("data", [b"no gzip at all", gzip.compress(TEXT)[:-4]], ids=["another", "cut short"])
def test_what_is_no_such_coding_is_a_fault(data: bytes) -> None:
    decoder = Decoder(b"gzip")
    with pytest.raises(UpstreamFault):
        decoder.feed(data) + decoder.end()
