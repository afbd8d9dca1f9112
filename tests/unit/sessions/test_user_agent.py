"""What a session keeps of the User-Agent field, and the device that people read."""

import pytest

from gateway.sessions.user_agent import MAX_USER_AGENT, clean, device_of


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        (None, None),
        (b"", None),
        (b"  ", None),
        (b"Browser/1 (X11)", "Browser/1 (X11)"),
        (b"a\tb\x1b[2Jc\x7f", "ab[2Jc"),
        (b"caf\xc3\xa9\xff", "caf???"),
        (b"x" * 9000, "x" * MAX_USER_AGENT),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),  # pages escape it
    ],
)
def test_what_is_kept_is_printable_and_short(field: bytes | None, kept: str | None) -> None:
    assert clean(field) == kept


_MOZILLA = "Mozilla/5.0 "


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (_MOZILLA + "(Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox · Windows"),
        (
            _MOZILLA + "(Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 "
            "Safari/537.36 Edg/141.0.0.0",
            "Edge · Windows",
        ),
        (_MOZILLA + "(X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/141.0.0.0 Safari/537.36", "Chrome · Linux"),
        (_MOZILLA + "(Macintosh; Intel Mac OS X 10_15_7) Version/18.1 Safari/605.1.15", "Safari · macOS"),
        (_MOZILLA + "(iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile Safari/604.1", "Safari · iPhone"),
        (_MOZILLA + "(iPad; CPU OS 18_1 like Mac OS X) CriOS/141.0 Mobile/15E148 Safari/604.1", "Chrome · iPad"),
        (_MOZILLA + "(Linux; Android 14) SamsungBrowser/26.0 Chrome/122.0 Safari/537.36", "Samsung Internet · Android"),
        (_MOZILLA + "(X11; CrOS x86_64 14541.0.0) Chrome/141.0 Safari/537.36 OPR/120", "Opera · ChromeOS"),
        ("curl/8.14.1", ""),
        ("a Linux program", "Linux"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_device_is_its_browser_and_system_as_far_as_known(agent: str | None, device: str) -> None:
    assert device_of(agent) == device
