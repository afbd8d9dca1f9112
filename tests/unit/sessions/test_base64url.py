"""base64url has one spelling for the same bytes."""

import pytest

from gateway.sessions import base64url


@pytest.mark.parametrize("raw", [b"", b"f", b"fo", b"foo", b"\xfb\xff\xfe"])
def test_what_is_encoded_is_decoded(raw: bytes) -> None:
    assert base64url.decode(base64url.encode(raw).encode()) == raw


@pytest.mark.parametrize("text", [b"Zg==", b"Zh", b"Z", b"-_+/", b"Zm9v\n", b" Zm9v", b"Zm9\xff"])
def test_no_other_spelling_of_the_same_bytes_is_decoded(text: bytes) -> None:
    """A-86."""
    with pytest.raises(ValueError, match=r"."):
        base64url.decode(text)
