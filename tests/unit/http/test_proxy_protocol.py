"""The PROXY protocol's headers: read to their last byte, and never beyond."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.proxy_protocol import HeaderMalformed, measure, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


def line(source: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return f"PROXY TCP{source.version} {source} {source} 1 65535\r\n".encode()


def block(source: ipaddress.IPv4Address | ipaddress.IPv6Address, more: bytes = b"") -> bytes:
    body = source.packed * 2 + b"\x00\x01\x00\x02" + more
    return SIGNATURE + bytes([0x21, 0x11 if source.version == 4 else 0x21]) + len(body).to_bytes(2) + body


@given(source=ADDRESSES, more=st.binary(max_size=40), after=st.binary(max_size=60), cut=st.integers(0, 200))
def test_a_header_is_measured_alike_however_much_of_it_is_there(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, more: bytes, after: bytes, cut: int
) -> None:
    for header in (line(source), block(source, more)):
        size, complete = measure(header + after)
        assert (size, complete) == (len(header), True)
        part = header[: cut % len(header)]
        assert measure(part) == (len(part), False)


@given(source=ADDRESSES)
def test_both_versions_say_the_same(source: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """C-34: an IPv4-mapped address is its IPv4 form."""
    mapped = source.ipv4_mapped if isinstance(source, ipaddress.IPv6Address) else None
    assert parse(line(source)) == parse(block(source)) == str(mapped or source)


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: SIGNATURE + tail) | st.binary(max_size=100).map(lambda tail: b"PROXY " + tail))  # fmt: skip
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    try:
        size, complete = measure(data)
        assert 0 <= size <= len(data)
        if not complete:
            assert size == len(data)
            return
        said = parse(data[:size])
    except HeaderMalformed:
        return
    assert said is None or ipaddress.ip_address(said)


@pytest.mark.parametrize("seen", [b"", b"P", b"PROXY", b"\r", SIGNATURE[:11], SIGNATURE + b"\x21"])
def test_a_beginning_is_not_judged_too_early(seen: bytes) -> None:
    assert measure(seen) == (len(seen), False)


def test_a_line_break_inside_a_line_of_version_1_does_not_hide_an_address() -> None:
    with pytest.raises(HeaderMalformed):
        parse(b"PROXY UNKNOWN \x00\r\n")
    with pytest.raises(HeaderMalformed):
        parse(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nPROXY TCP4 9.9.9.9 9.9.9.9 1 2\r\n")
