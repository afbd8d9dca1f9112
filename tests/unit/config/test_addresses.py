"""Listeners, hosts, upstreams and URLs."""

from collections.abc import Callable

import pytest

from gateway.config import addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4180", "127.0.0.1", 4180),
        ("[::1]:0", "::1", 0),
        ("localhost:80", "localhost", 80),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_a_listener_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    listen = addresses.parse_listen(text)
    assert (listen.host, listen.port, listen.path) == (host, port, None)


def test_a_listener_may_be_a_unix_socket() -> None:
    listen = addresses.parse_listen("unix:/run/doorward.sock")
    assert listen.path == "/run/doorward.sock"
    assert listen.on_loopback


@pytest.mark.parametrize(
    "text",
    ["", "4180", ":4180", "127.0.0.1", "127.0.0.1:65536", "*:80", "unix:", "unix:run.sock", "::1:80", "127.1:80"],
)
def test_anything_else_is_no_listener(text: str) -> None:
    with pytest.raises(ValueError, match="; allowed: "):
        addresses.parse_listen(text)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "127.0.0.1:80", False),
    ],
)
def test_listeners_overlap_where_both_cannot_be_bound(one: str, other: str, overlap: bool) -> None:
    assert addresses.parse_listen(one).overlaps(addresses.parse_listen(other)) is overlap


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Portal.Example.COM", "portal.example.com"),
        ("portal.localhost:4180", "portal.localhost:4180"),
        ("[::1]:4180", "[::1]:4180"),
        ("192.0.2.1", "192.0.2.1"),
        ("xn--caf-dma.example", "xn--caf-dma.example"),
    ],
)
def test_a_host_is_compared_in_lower_case(text: str, host: str) -> None:
    """C-13."""
    assert addresses.parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "a/b",
        "a@evil",
        "a, b",
        "a:99999",
        "a:0x50",
        "a:0",
        "a:",
        "[::1",
        "a\x00",
        "*.example.com",
        "https://a",
        "a..b",
        "-a",
        "a.",
        "café.example",
        "a_b",
        "256.1.1.1",
        "010.0.0.1",
    ],
)
def test_a_host_that_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: name or name:port"):
        addresses.parse_host(text)


@pytest.mark.parametrize("name", ["localhost", "portal.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_names_are_only_those_that_can_mean_nothing_else(name: str) -> None:
    assert addresses.is_loopback_name(name)


@pytest.mark.parametrize(
    "name", ["localhost.example.com", "localhost.", "127.0.0.1.evil.com", "10.0.0.1", "127.1", "::2", ""]
)
def test_names_that_look_like_loopback_are_not(name: str) -> None:
    assert not addresses.is_loopback_name(name)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("https://portal.internal/", "https://portal.internal"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("unix:/run/portal.sock", "unix:/run/portal.sock"),
    ],
)
def test_an_upstream_is_an_origin_or_a_socket(text: str, taken: str) -> None:
    assert addresses.parse_upstream(text) == taken


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.com:443/", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(text: str, taken: str) -> None:
    """C-19."""
    assert addresses.parse_origin(text) == taken


@pytest.mark.parametrize(
    "text", ["", "null", "*", "app.example.com", "https://a/b", "https://*.example.com", "https://u@a", "wss://a"]
)
def test_anything_else_is_no_origin(text: str) -> None:
    """C-19."""
    with pytest.raises(ValueError, match="; allowed: "):
        addresses.parse_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8001",
        "ftp://a",
        "http://",
        "http://a/b",
        "http://u:p@a",
        "http://a?x",
        "http://a#x",
        "http://a:0",
        "http://a:99999",
        "http://a b",
        "unix:x",
        "http://[::1",
        "http://a\\b",
    ],
)
def test_anything_else_is_no_upstream(text: str) -> None:
    with pytest.raises(ValueError, match="; allowed: "):
        addresses.parse_upstream(text)


@pytest.mark.parametrize(
    "text",
    [
        "login.example.com",
        "https://login.example.com@evil.example/",
        "https://login.example.com/?x",
        "https://login.example.com/#x",
        "https://login.example.com/.well-known/openid-configuration",
        "file:///etc/passwd",
        "https:///x",
        " https://login.example.com",
    ],
)
def test_an_authority_is_a_plain_url(text: str) -> None:
    """A-69."""
    with pytest.raises(ValueError, match="; allowed: "):
        addresses.parse_authority(text)


def test_an_authority_is_kept_to_the_letter() -> None:
    """A-17: the issuer is compared exactly, so that a slash must neither come nor go."""
    assert addresses.parse_authority("https://login.example.com/") == "https://login.example.com/"
    assert addresses.parse_authority("https://login.example.com") == "https://login.example.com"


def test_a_log_out_url_may_hold_three_placeholders() -> None:
    url = "https://login.example.com/v2/logout?client_id={client_id}&returnTo={return_to}&id={id_token_hint}"
    assert addresses.parse_log_out_url(url) == url


@pytest.mark.parametrize(
    "text",
    ["https://{client_id}/x", "https://a/?x={state}", "https://a/?x={", "/logout", "https://a/?x#y", "https://u@a/"],
)
def test_a_log_out_url_with_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="; allowed: "):
        addresses.parse_log_out_url(text)


@pytest.mark.parametrize(
    "parse",
    [addresses.parse_upstream, addresses.parse_authority, addresses.parse_log_out_url],
)
def test_a_url_that_is_refused_is_not_repeated(parse: Callable[[str], str]) -> None:
    """C-48: it may hold a password."""
    with pytest.raises(ValueError) as refused:
        parse("gopher://someone:hunter2@example.com/{x}")
    assert "hunter2" not in str(refused.value)
