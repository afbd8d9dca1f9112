"""Where a body ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.framing import LAST_CHUNK, ChunkedBody, FramingError, SizedBody, chunk, whole_chunked


def test_a_sized_body_ends_at_its_length_and_leaves_the_rest_for_the_next_message() -> None:
    body = SizedBody(5)
    assert (body.feed(b"he"), body.done) == (b"he", False)
    assert body.feed(b"lloGET / HTTP/1.1") == b"llo"
    assert body.done
    assert body.rest == b"GET / HTTP/1.1"


def test_a_chunked_body_is_read_byte_by_byte_as_at_once() -> None:
    wire = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\nNEXT"
    at_once = ChunkedBody()
    assert at_once.feed(wire) == b"hello world"
    assert at_once.done
    assert at_once.rest == b"NEXT"
    slowly = ChunkedBody()
    assert b"".join(slowly.feed(wire[i : i + 1]) for i in range(len(wire) - 4)) == b"hello world"
    assert slowly.done


@pytest.mark.parametrize(
    "wire",
    [
        b"+1\r\na\r\n0\r\n\r\n", b"0x1\r\na\r\n0\r\n\r\n", b"1_0\r\n" + b"a" * 16, b" 1\r\na\r\n", b"1 \r\na\r\n", b"1;" + b"x" * 65536 + b"\r\na\r\n",
        b"1\na\r\n", b"1\r\r;\na\r\n", b"FFFFFFFFFFFFFFFF1\r\na", b"\r\na\r\n", b"1;a\x00b\r\na\r\n", b"1\r\naX\r\n0\r\n\r\n", b"1\r\na\n0\r\n\r\n",
        b"-1\r\na\r\n", b"g\r\na\r\n",
    ],
)  # fmt: skip
def test_a_chunk_that_two_servers_could_read_differently_is_refused(wire: bytes) -> None:
    """B-14."""
    with pytest.raises(FramingError):
        ChunkedBody().feed(wire)


@pytest.mark.parametrize(
    "extension",
    [
        b";", b";;a", b";a;", b";=b", b";a=", b";a b", b";a=b c", b";a=b=c", b';a="b', b';a="b"c', b';a=b"', b';"a"=b', b';a="b\\', b';a="b\x7f"', b";a=b,c",
        b";a(b)", b";\xe9=1", b";a=\xe9", b" ;a", b"\t;a=b", b";a ", b";a=b ", b" a", b",a", b"=a", b":a", b";a=\"b\rc\"", b";" + b"a=b;" * 100,
    ],
)  # fmt: skip
def test_a_chunk_extension_that_is_none_is_refused(extension: bytes) -> None:
    """B-14, B-66: RFC 9112 section 7.1.1, and nothing besides."""
    with pytest.raises(FramingError):
        ChunkedBody().feed(b"1" + extension + b"\r\na\r\n0\r\n\r\n")
    with pytest.raises(FramingError):
        ChunkedBody().feed(b"1\r\na\r\n0" + extension + b"\r\n\r\n")


@pytest.mark.parametrize(
    "extension",
    [
        b";a", b";a=b", b";a=b;c;d=e", b'; a = "b c"', b';a="b;c=\xe9\\"\\\\"', b';a=""', b";a\t;b", b";a!#$%&'*+-.^_`|~9=1",
        b";chunk-signature=" + b"0" * 64, b";" + b"a=b;" * 100 + b"c",
    ],
)  # fmt: skip
def test_a_chunk_extension_is_read_over(extension: bytes) -> None:
    """B-66."""
    body = ChunkedBody()
    assert body.feed(b"1" + extension + b"\r\na\r\n0" + extension + b"\r\n\r\nNEXT") == b"a"
    assert body.done
    assert body.rest == b"NEXT"


def test_an_extension_as_long_as_a_line_may_be_is_refused_at_once() -> None:
    """B-66: a pattern that tries every way to split it would take for ever."""
    with pytest.raises(FramingError):
        ChunkedBody().feed(b"1;a" + b" \t" * 500 + b"\x00\r\n")
    with pytest.raises(FramingError):
        ChunkedBody().feed(b'1;a="' + b"\\a" * 500 + b"\r\n")


PIECES = st.sampled_from(
    [
        b"",
        b"a",
        b"0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"x" * 300,
        b"5\r\nhello\r\n",
        b"0",
        b"\r\n",
        b"1;e=1\r\nx\r\n",
        b"00\r\n\r\n",
        b"T: 1\r\n",
    ]
)


@given(st.lists(st.one_of(PIECES.map(chunk), PIECES), max_size=8), st.booleans())
def test_a_chunked_body_that_is_there_as_a_whole_is_read_as_the_decoder_reads_it(
    pieces: list[bytes], ends: bool
) -> None:
    """B-14, B-15: chunks that hold what looks like chunks, extensions, trailers, what comes behind the end."""
    wire = b"".join(pieces) + (LAST_CHUNK if ends else b"")
    body = ChunkedBody()
    try:
        read = body.feed(wire)
    except FramingError:
        read = None
    try:
        whole = whole_chunked(wire)
    except FramingError:
        whole = None
        assert read is None
    complete = read is not None and body.done and not body.rest
    assert whole is None or (complete and whole == read)
    assert whole == read or not complete or not read or not wire.endswith(b"\r\n" + LAST_CHUNK)


def test_trailers_are_bounded_and_dropped() -> None:
    """B-15: ten thousand trailers end in a refusal, not in memory."""
    body = ChunkedBody()
    body.feed(b"0\r\n")
    fed = 0
    with pytest.raises(FramingError):  # noqa: PT012
        while (fed := fed + len(body.feed(b"X-T: aaaaaaaaaa\r\n")) + 17) < 170_000:
            assert not body.done
    assert fed < 20_000


@pytest.mark.parametrize("trailer", [b"no colon\r\n", b" folded: 1\r\n", b"a b: 1\r\n", b"a: \x00\r\n", b"a: 1\n"])
def test_a_malformed_trailer_is_refused(trailer: bytes) -> None:
    """B-15."""
    with pytest.raises(FramingError):
        ChunkedBody().feed(b"0\r\n" + trailer + b"\r\n")


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 40), st.binary(max_size=20))
def test_what_is_chunked_comes_back_however_it_is_cut(parts: list[bytes], step: int, rest: bytes) -> None:
    wire = b"".join(chunk(part) for part in parts) + LAST_CHUNK
    body = ChunkedBody()
    out = b"".join(body.feed(wire[i : i + step]) for i in range(0, len(wire), step) if not body.done)
    assert body.done
    assert out == b"".join(parts)


def test_an_empty_chunk_is_never_written() -> None:
    assert chunk(b"") == b""
