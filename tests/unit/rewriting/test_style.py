"""One style, allowed by its hash in whatever policy an application sends."""

import base64
import hashlib

import pytest

from gateway.rewriting.style import HidingStyle

STYLE = HidingStyle(["form#login", 'a[href*="forgot"]', ".größe"])


def test_each_selector_has_a_rule_of_its_own_in_plain_ascii() -> None:
    assert STYLE.element == (
        b"<style>form#login{display:none!important}"
        b'a[href*="forgot"]{display:none!important}'
        b".gr\\f6 \\df e{display:none!important}</style>"
    )


def test_the_source_is_the_hash_of_what_stands_in_the_element() -> None:
    inside = STYLE.element.removeprefix(b"<style>").removesuffix(b"</style>")
    assert STYLE.source == b"'sha256-" + base64.b64encode(hashlib.sha256(inside).digest()) + b"'"


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (b"script-src 'self'", b"script-src 'self'"),
        (b"style-src 'self'", b"style-src 'self' HASH"),
        (b"style-src 'none'; img-src *", b"style-src HASH; img-src *"),
        (b"default-src 'self' https:", b"default-src 'self' https:; style-src-elem 'self' https: HASH"),
        (b"default-src 'none'", b"default-src 'none'; style-src-elem HASH"),
        (b"style-src 'self' 'unsafe-inline'", b"style-src 'self' 'unsafe-inline'"),
        (b"style-src 'unsafe-inline' 'nonce-abc'", b"style-src 'unsafe-inline' 'nonce-abc' HASH"),
        (b"style-src-elem 'self'; style-src 'none'", b"style-src-elem 'self' HASH; style-src 'none'"),
        (b"STYLE-SRC 'self'; style-src *", b"style-src 'self' HASH; style-src *"),
        (b"style-src 'self', default-src 'self'", b"style-src 'self' HASH,default-src 'self'; style-src-elem 'self' HASH"),
        (b"", b""),
    ],
)  # fmt: skip
def test_a_policy_gets_the_one_source_where_it_needs_it(policy: bytes, allowed: bytes) -> None:
    assert STYLE.allow(policy) == allowed.replace(b"HASH", STYLE.source)
