"""Which fields travel, and what is said about the client."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.header_policy import (
    FieldKinds,
    Kind,
    client_address,
    connection_options,
    forwarding_block,
    is_trusted,
    parse_address,
    trusted_forwarding_block,
    valid_request_id,
)
from gateway.identity.headers import normalise_name

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"Accept", Kind.FORWARD), (b"X-Thing", Kind.FORWARD), (b"host", Kind.HOST), (b"CONTENT-LENGTH", Kind.CONTENT_LENGTH), (b"Cookie", Kind.COOKIE),
        (b"Te", Kind.DROP), (b"Keep-Alive", Kind.DROP), (b"Proxy-Authorization", Kind.DROP), (b"Trailer", Kind.DROP), (b"HTTP2-Settings", Kind.DROP),
        (b"Upgrade-Insecure-Requests", Kind.FORWARD), (b"Authorization", Kind.AUTHORIZATION), (b"Content-Encoding", Kind.CONTENT_ENCODING),
        (b"Sec-WebSocket-Key", Kind.WEBSOCKET), (b"X-HTTP-Method-Override", Kind.OVERRIDE), (b"X-Request-ID", Kind.REQUEST_ID),
    ],
)  # fmt: skip
def test_a_name_decides_what_happens_to_a_field(name: bytes, kind: Kind) -> None:
    """B-49, B-35."""
    kinds = FieldKinds(frozenset())
    assert kinds.of(name) is kind
    assert kinds.of(name) is kind  # remembered


@pytest.mark.parametrize(
    "name",
    [
        b"X-Original-URL", b"X-Rewrite-URL", b"X-Forwarded-Uri", b"X-Forwarded-Path", b"X-Envoy-Original-Path", b"X-Forwarded-Prefix", b"x_original_url",
        b"X-Original-URI", b"X-Script-Name", b"X-Forwarded-Method",
    ],
)  # fmt: skip
def test_a_field_that_names_another_path_never_travels(name: bytes) -> None:
    """C-01."""
    assert FieldKinds(frozenset()).of(name) is Kind.DROP


@pytest.mark.parametrize(
    "name",
    [b"Content_Length", b"Transfer.Encoding", b"content_type", b"X_Request_Id", b"Sec_WebSocket_Key", b"my_field", b"a+b", b"a~", b"$WSRU", b"!~Passenger", b"_"],
)  # fmt: skip
def test_a_name_with_more_than_letters_digits_and_hyphens_is_dropped(name: bytes) -> None:
    """C-30, C-60."""
    assert FieldKinds(frozenset()).of(name) is Kind.DROP


def test_the_names_an_app_adds_are_ours_too() -> None:
    """C-30."""
    kinds = FieldKinds(frozenset({normalise_name(b"X-Customer-Id")}))
    assert kinds.of(b"x_customer.ID") is Kind.DROP
    assert FieldKinds(frozenset()).of(b"X-Customer-Id") is Kind.FORWARD


def test_the_table_of_names_is_bounded() -> None:
    """C-47: names that never come again cost time, not memory."""
    kinds = FieldKinds(frozenset())
    for number in range(10_000):
        kinds.of(b"X-%d" % number)
        kinds.of(b"Y" * (65 + number % 10))
    assert len(kinds._table) <= 4096
    assert kinds.of(b"X_Forwarded_User") is Kind.DROP


def test_connection_options_are_read_from_all_fields_without_case() -> None:
    """B-48."""
    assert connection_options([b"close, X-Hop", b"\tKEEP-alive ,,"]) == {b"close", b"x-hop", b"keep-alive"}


@pytest.mark.parametrize("value", [b"", b"a b", b"a\tb", b'a"b', b"a" * 129, b"caf\xe9", b"a{b}"])
def test_a_request_id_that_could_spoil_a_log_is_not_taken_over(value: bytes) -> None:
    """C-48."""
    assert not valid_request_id(value)
    assert valid_request_id(b"0af7651916cd43dd-8448eb211c80319c")


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("fd00::1%eth0", True), ("", False), ("unix:", False), ("10.0.0.1.evil", False)],
)  # fmt: skip
def test_a_trusted_proxy_is_known_by_its_address_in_either_form(peer: str, trusted: bool) -> None:
    """C-34."""
    assert is_trusted(peer, PROXIES) is trusted


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("1.1.1.1", [b"9.9.9.9"], "1.1.1.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", [b"8.8.8.8, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
        ("10.0.0.1", [b"8.8.8.8", b"9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", [b"9.9.9.9, evil"], "10.0.0.1"),
        ("10.0.0.1", [b"evil, 9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", [b"::ffff:9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", [b'"[2001:db8::1]"'], "2001:db8::1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(peer: str, chain: list[bytes], client: str) -> None:
    """C-34."""
    assert client_address(peer, chain, PROXIES) == client


def test_a_strangers_word_is_not_in_the_forwarding_fields() -> None:
    """C-16, C-17."""
    assert forwarding_block("1.1.1.1", "https", b"a.example", 443).split(b"\r\n") == [
        b"X-Forwarded-For: 1.1.1.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: a.example",
        b"X-Forwarded-Port: 443",
        b"X-Real-IP: 1.1.1.1",
    ]


def test_a_trusted_proxys_chain_is_kept_and_lengthened_and_nothing_else_of_it() -> None:
    """C-16, C-17, C-34."""
    said = [
        (b"X-Forwarded-Proto", b"gopher"), (b"x-forwarded-for", b"8.8.8.8"), (b"X-Forwarded-For", b"9.9.9.9"), (b"X-Forwarded-Host", b"evil"), (b"X-Real-IP", b"6.6.6.6"),
    ]  # fmt: skip
    block = trusted_forwarding_block("10.0.0.1", said, "https", b"a.example", 443, PROXIES)
    assert block.split(b"\r\n") == [
        b"X-Forwarded-For: 8.8.8.8, 9.9.9.9, 10.0.0.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: a.example",
        b"X-Forwarded-Port: 443",
        b"X-Real-IP: 9.9.9.9",
    ]


@given(
    peer=st.sampled_from(("10.0.0.1", "fd00::9", "1.2.3.4", "::ffff:10.9.9.9", "")),
    chain=st.lists(st.binary(max_size=40) | st.ip_addresses().map(lambda address: str(address).encode()), max_size=6),
)
def test_whatever_a_chain_says_the_client_is_an_address_or_the_peer_itself(peer: str, chain: list[bytes]) -> None:
    """C-34."""
    client = client_address(peer, chain, PROXIES)
    assert client == peer or str(parse_address(client)) == client
    if not is_trusted(peer, PROXIES):
        assert client == peer
