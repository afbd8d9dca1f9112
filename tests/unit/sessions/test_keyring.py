"""The key ring: who can open what."""

import base64

import pytest
from pydantic import SecretStr

from gateway.sessions.keyring import KEY_BYTES, KeyRing, joined, new_key

CONTEXT = ("1", "doorward:s:abc", "portal.example.com", "portal")


def test_a_new_key_is_32_random_bytes_in_base64url() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(base64.urlsafe_b64decode(key + "=")) == KEY_BYTES and "=" not in key for key in keys)


def test_what_was_sealed_opens_in_its_context() -> None:
    ring = KeyRing([new_key()])
    assert ring.open(ring.seal(b"plain", CONTEXT), CONTEXT) == b"plain"
    assert ring.open(ring.seal(b"", CONTEXT), CONTEXT) == b""


def test_the_first_key_seals_and_all_of_them_open() -> None:
    old, new = new_key(), new_key()
    sealed = KeyRing([old]).seal(b"plain", CONTEXT)
    assert KeyRing([new, old]).open(sealed, CONTEXT) == b"plain"
    with pytest.raises(ValueError):
        KeyRing([old]).open(KeyRing([new, old]).seal(b"plain", CONTEXT), CONTEXT)


def test_two_sealings_of_the_same_text_have_nothing_in_common() -> None:
    ring = KeyRing([new_key()])
    assert ring.seal(b"plain", CONTEXT)[4:] != ring.seal(b"plain", CONTEXT)[4:]


@pytest.mark.parametrize(
    "other",
    [
        ("1", "doorward:s:abd", "portal.example.com", "portal"),
        ("2", "doorward:s:abc", "portal.example.com", "portal"),
        ("1", "doorward:s:abc", "evil.example.com", "portal"),
        ("1", "doorward:s:abc", "portal.example.com", "dashboard"),
        ("1", "doorward:s:abcp", "ortal.example.com", "portal"),
        ("1doorward:s:abc", "", "portal.example.com", "portal"),
        ("1", "doorward:s:abc", "portal.example.comportal"),
        ("1", "doorward:s:abc", "portal.example.com", "portal", ""),
    ],
)
def test_another_context_does_not_open_it(other: tuple[str, ...]) -> None:
    """C-08: not even one whose texts, put together, are the same."""
    ring = KeyRing([new_key()])
    with pytest.raises(ValueError):
        ring.open(ring.seal(b"plain", CONTEXT), other)


def test_texts_that_run_together_stay_apart() -> None:
    """C-08."""
    assert len({joined(("ab", "c")), joined(("a", "bc")), joined(("abc", "")), joined(("abc",))}) == 4


def test_no_altered_byte_opens() -> None:
    ring = KeyRing([new_key()])
    sealed = ring.seal(b"plain", CONTEXT)
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(ValueError):
            ring.open(bytes(altered), CONTEXT)
        with pytest.raises(ValueError):
            ring.open(sealed[:place], CONTEXT)


def test_a_key_for_one_purpose_opens_nothing_of_another() -> None:
    ring = KeyRing([new_key()])
    sealed = ring.purpose("session").seal(b"plain", CONTEXT)
    assert ring.purpose("session").open(sealed, CONTEXT) == b"plain"
    for other in (ring, ring.purpose("attempt")):
        with pytest.raises(ValueError):
            other.open(sealed, CONTEXT)


def test_marks_are_stable_keyed_and_one_for_each_key() -> None:
    old, new = new_key(), new_key()
    marks = KeyRing([new, old]).marks(("sub", "issuer", "subject"))
    assert marks == KeyRing([new, old]).marks(("sub", "issuer", "subject"))
    assert marks[1] == KeyRing([old]).marks(("sub", "issuer", "subject"))[0]
    assert marks[0] != marks[1]
    assert not set(marks) & set(KeyRing([new, old]).marks(("subi", "ssuer", "subject")))


@pytest.mark.parametrize(
    "key", ["", "short", "A" * 42, "A" * 44, "A" * 42 + "+" * 2, "ä" * 43, "A" * 43 + "\n", "=" * 43]
)
def test_a_key_of_another_shape_is_refused_without_being_quoted(key: str) -> None:
    """C-21."""
    with pytest.raises(ValueError) as refused:
        KeyRing([SecretStr(key)])
    assert not key or key not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_ring_needs_a_key() -> None:
    """C-21."""
    with pytest.raises(ValueError):
        KeyRing([])


def test_a_ring_shows_no_key() -> None:
    """C-48."""
    key = new_key()
    assert key not in repr(KeyRing([key]))
