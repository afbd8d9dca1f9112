"""Answers of our own, as bytes."""

import pytest

from gateway.proxy.local_reply import Plain, serialise


@pytest.mark.parametrize("value", ["/a\r\nSet-Cookie: planted=1", "/a\nX: 1", "/a\rX: 1", "\n"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_line_break_in_a_field_is_never_written(value: str, place: str) -> None:
    """C-38: whoever made the page, a field is one line."""
    field = ("Location", value) if place == "value" else (value, "x")
    with pytest.raises(ValueError, match="line break"):
        serialise(Plain(302, [field]), head_only=False, keep_alive=True)


def test_a_page_has_its_length_and_says_how_the_connection_goes_on() -> None:
    page = Plain(426, [("Upgrade", "websocket")], b"five!")
    head, _, body = serialise(page, head_only=False, keep_alive=False).partition(b"\r\n\r\n")
    assert body == b"five!"
    assert head.splitlines()[2:] == [b"Upgrade: websocket", b"Content-Length: 5", b"Connection: Upgrade, close"]
    assert b"onnection" not in serialise(Plain(200, []), head_only=True, keep_alive=True)
