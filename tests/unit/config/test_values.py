"""Text forms of single values."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from gateway.config import values


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("15m", 900), ("8h", 28_800), ("7d", 604_800), ("0s", 0)]
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "30", 30, "30 s", "1h30m", "-5s", "1.5h", "5S", None, True, "5w", "٣s"])
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="allowed: a number with a unit"):
        values.parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65_536), ("1 MiB", 1_048_576), ("12B", 12), (4096, 4096)])
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text: object, size: int) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize(("text", "mode"), [("0660", 0o660), ("600", 0o600), ("0666", 0o666)])
def test_a_mode_is_octal_digits_in_quotes(text: str, mode: int) -> None:
    assert values.parse_mode(text) == mode


@pytest.mark.parametrize("text", ["", 660, 0o660, "0o660", "1777", "0680", "rw-rw----", None, "0660 ", "٠٦٦٠"])
def test_anything_else_is_no_mode(text: object) -> None:
    """A number would be read as an octal or a decimal one, by the version of YAML."""
    with pytest.raises(ValueError, match="allowed: three octal digits"):
        values.parse_mode(text)


@pytest.mark.parametrize("text", ["", "64KB", "64kib", "1.5MiB", True, None, "-1B"])
def test_anything_else_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="allowed: a number with a unit"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "methods", "glob"),
    [
        ("GET /assets/**", {"GET"}, "/assets/**"),
        ("get,post /profile", {"GET", "POST"}, "/profile"),
        ("* /admin/**", set(), "/admin/**"),
        ("PROPFIND /dav/*.txt", {"PROPFIND"}, "/dav/*.txt"),
        ("* /", set(), "/"),
        ("* /**/x/**", set(), "/**/x/**"),
        ("* /caf%C3%A9/é", set(), "/caf%C3%A9/é"),
    ],
)
def test_a_route_is_methods_and_a_path(text: str, methods: set[str], glob: str) -> None:
    assert values.parse_route(text) == (frozenset(methods), glob)


def test_an_entry_may_name_a_websocket_handshake_and_no_request_has_that_method() -> None:
    """C-19."""
    assert values.parse_entry("WEBSOCKET /live") == (frozenset((values.WEBSOCKET,)), "/live")
    assert values.parse_entry("get,websocket /x/**") == (frozenset(("GET", values.WEBSOCKET)), "/x/**")
    assert values.parse_entry("* /x") == (frozenset(), "/x")
    assert values.WEBSOCKET not in values.METHODS
    assert values.WEBSOCKET.upper() != values.WEBSOCKET
    for text in ("*,WEBSOCKET /x", "WEBSOCKET", "WEBSOCKET x", "WEBSOCKETS /x", "WEBSOCKET,GTE /x", "WEBSOCKET  /x"):
        with pytest.raises(ValueError, match="; allowed"):
            values.parse_entry(text)
    with pytest.raises(ValueError, match="a method that is not known"):
        values.parse_route("WEBSOCKET /login")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/assets",
        "GET",
        "GET  /x",
        "GET /x ",
        "GET /a b",
        "GTE /x",
        "GET,* /x",
        "GET, /x",
        "CONNECT /x",
        "GET x",
        "GET http://h/x",
        "GET /x?y=1",
        "GET /x#y",
        "GET /x%",
        "GET /x%zz",
        "GET /x%2Fy",
        "GET /x%5cy",
        "GET /x%00",
        "GET /x%252e",
        "GET /x%ff",
        "GET //x",
        "GET /x//y",
        "GET /x/../y",
        "GET /./x",
        "GET /%2e%2e/x",
        "GET /..;a/x",
        "GET /[ab]",
        "GET /{a,b}",
        "GET /x\\y",
        "GET /x\ty",
        "GET /x\n",
        "GET /x\x7f",
        "GET /***",
    ],
)
def test_a_rule_that_could_never_match_as_it_reads_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="; allowed"):
        values.parse_route(text)


@pytest.mark.parametrize("text", ["* /public**", "* /**public", "* /a/b**/c"])
def test_a_pattern_ends_at_a_segments_border(text: str) -> None:
    """C-05: /public** would open /publicity."""
    with pytest.raises(ValueError, match=r"\*\* beside other characters"):
        values.parse_route(text)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "::1", "192.0.2.7", "2001:db8::/32"])
def test_a_network_is_an_address_or_a_cidr(text: str) -> None:
    assert str(values.parse_network(text)).startswith(text.partition("/")[0])


@pytest.mark.parametrize("text", ["10.0.0.1/8", "nginx", "10.0.0.0/33", "", 7, None])
def test_a_network_with_host_bits_or_a_name_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="allowed: an address or a CIDR"):
        values.parse_network(text)


@pytest.mark.parametrize(("given", "taken"), [("auto", "auto"), (1, 1), ("4", 4), (256, 256)])
def test_workers_are_auto_or_a_number(given: object, taken: object) -> None:
    assert values.parse_workers(given) == taken


@pytest.mark.parametrize("given", [0, 257, -1, True, "many", "0", 1.5, None])
def test_no_workers_and_too_many_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match="allowed: auto, or 1 to 256"):
        values.parse_workers(given)


def test_a_key_is_32_bytes_with_or_without_padding() -> None:
    bare = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"
    assert len(values.parse_key(bare)) == 32
    assert values.parse_key(bare + "=") == values.parse_key(bare)


@pytest.mark.parametrize("text", ["", "short", "A" * 42, "A" * 44, "A" * 42 + "+", "A" * 42 + "é", "A" * 43 + "\n"])
def test_a_short_or_foreign_key_is_refused(text: str) -> None:
    """C-21."""
    with pytest.raises(ValueError, match="allowed: 32 random bytes"):
        values.parse_key(text)


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "cookie",
        "Authorization",
        "Content-Length",
        "content-type",
        "Connection",
        "Transfer-Encoding",
        "Upgrade",
        "Forwarded",
        "X-Forwarded-User",
        "x-forwarded-anything",
        "X-Doorward-Extra",
        "X-Auth-Request-User",
        "X-Real-IP",
        "X-Request-Id",
        "X-HTTP-Method-Override",
        "Proxy-Authorization",
        "X_Forwarded_User",
        "X.Portal",
        "X Portal",
        "X-Portal:",
        "",
        "X-é",
    ],
)
def test_an_extra_header_never_takes_a_name_that_means_something(name: str) -> None:
    """C-30."""
    with pytest.raises(ValueError, match="allowed: a name of your own"):
        values.parse_header_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-User", "x_forwarded_user", "X-Doorward-Jwt-Assertion", "X-Auth-Request-User", "X-Forwarded-For", "X.Forwarded.Host", "X-Real-IP", "X-Request-Id",
        "SCRIPT_NAME", "Script-Name", "script.name", "PATH_INFO", "REQUEST_URI", "REMOTE_USER", "Remote-User", "CONTENT_TYPE", "Content-Length", "HTTPS", "Proxy",
        "Connection", "Transfer_Encoding", "Te", "Cookie", "Host", "Authorization", "Upgrade", "Sec-WebSocket-Key", "Expect", "Destination", "PHP_AUTH_USER",
        "X-Original-URL", "X_Rewrite_URL", "X-HTTP-Method-Override", "X_HTTP_Method", "X-Method-Override", "X-Forwarded-Prefix", "X-Host", "X-Accel-Mapping",
        "X-Middleware-Subrequest", "", "a b", "ä", "a:b", "_", "-x", "x" * 65,
    ],
)  # fmt: skip
def test_a_client_may_never_send_what_is_ours_or_changes_what_is_asked_for(name: str) -> None:
    """C-63."""
    with pytest.raises(ValueError, match="allowed: a field of the application's own"):
        values.parse_client_header(name)


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-User", "X-Doorward-Jwt-Assertion", "X-Auth-Request-User", "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Request-Id", "Script-Name",
        "Path-Info", "Content-Length", "Transfer-Encoding", "Connection", "Cookie", "Host", "Authorization", "Upgrade", "Sec-WebSocket-Key", "Destination",
        "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Prefix", "X-Forwarded-Uri", "PHP-Auth-User", "my_field", "X.Thing", "", "a b", "-x",
        "x" * 65,
    ],
)  # fmt: skip
def test_a_trusted_proxy_may_never_say_what_is_ours_or_changes_what_is_asked_for(name: str) -> None:
    """C-63, C-30."""
    with pytest.raises(ValueError, match="allowed: a field by which the proxies in front"):
        values.parse_trusted_header(name)


@pytest.mark.parametrize(
    "name",
    [
        "X-SSL-Client-Verify",
        "X-Forwarded-Tls-Client-Cert",
        "True-Client-IP",
        "Remote-User",
        "Remote-Addr",
        "X-Host",
        "X-Our-Own",
        "Client-Cert",
    ],
)
def test_a_trusted_proxy_may_name_persons_certificates_and_addresses(name: str) -> None:
    assert values.parse_trusted_header(name) == name


@pytest.mark.parametrize("name", ["X-Scope-OrgID", "my_field", "iv-user", "SM_USER", "X-Client-Cert", "X-Thing", "a.b"])
def test_any_other_field_can_be_let_through(name: str) -> None:
    assert values.parse_client_header(name) == name


def test_a_template_holds_text_and_known_placeholders() -> None:
    assert values.parse_template("{directory.id}/{email}") == {"directory.id", "email"}
    assert values.parse_template("fixed") == frozenset()


@pytest.mark.parametrize(
    "text", ["", "{mail}", "{}", "{email", "email}", "{{email}}", "a\r\nX-Admin: 1", "é", "{claims.x}"]
)
def test_a_template_with_anything_else_is_refused(text: str) -> None:
    """C-33: a line break of the configuration would be a header of its own."""
    with pytest.raises(ValueError, match="allowed: printable ASCII"):
        values.parse_template(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (values.parse_email, "a@b@company.com"),
        (values.parse_email, "@company.com"),
        (values.parse_email, "ana"),
        (values.parse_email, "ana@company.com\n"),
        (values.parse_email, ""),
        (values.parse_domain, "@company.com"),
        (values.parse_domain, "*.company.com"),
        (values.parse_domain, "cömpany.com"),
        (values.parse_domain, ""),
        (values.parse_domain, "company.com."),
        (values.parse_name, ""),
        (values.parse_name, " staff"),
        (values.parse_name, "a\nb"),
        (values.parse_scope, "openid email"),
        (values.parse_scope, ""),
        (values.parse_client_id, "a\nb"),
        (values.parse_client_id, " x"),
        (values.parse_key_prefix, ""),
        (values.parse_key_prefix, "door*"),
        (values.parse_title, " "),
        (values.parse_title, "a\nb"),
        (values.parse_app_name, "Portal"),
        (values.parse_app_name, "a__b"),
        (values.parse_app_name, ""),
        (values.parse_app_name, "a.b"),
        (values.parse_pack_name, "../nexudus"),
    ],
)
def test_names_in_rules_are_exact_and_visible(parse: Callable[[str], str], text: str) -> None:
    """A-59, C-21."""
    with pytest.raises(ValueError, match="; allowed: "):
        parse(text)
