"""The style finds its place at the start of a page, whatever the page and however it is cut."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rewriting.prolog import LONGEST, StyleInserter

STYLE = b"<style>p{display:none!important}</style>"


def whole(page: bytes, *cuts: int) -> bytes:
    inserter = StyleInserter(STYLE)
    places = [0, *sorted(cut for cut in cuts if cut <= len(page)), len(page)]
    pieces = [page[start:end] for start, end in itertools.pairwise(places)]
    return b"".join(map(inserter.feed, pieces)) + inserter.end()


@pytest.mark.parametrize(
    "page",
    [
        b"<!doctype html><html><head>@<title>x</title></head><body>",
        b"<!DOCTYPE html PUBLIC '-//W3C//DTD'>\n<HTML lang=en>\n<HEAD profile='a>b'>@<meta charset=utf-8>",
        b"\xef\xbb\xbf  <!-- a > b --><!doctype html>@<title>no head</title>",
        b"<!-->@<p>an empty comment</p>",
        b"<!--->@<p>another</p>",
        b"<!-- ends oddly --!>@<body>",
        b'<!-- a -- b --><html data-x = "a>b" y=>@<body class=x>',
        b"<?xml version='1.0'?><html>@text",
        b"@text without any tag",
        b"@<header>not a head</header>",
        b"@</p>an end tag",
        b"<html/ class=a/b>@<svg>",
        b"<html ='>@'>'><head>",
        b'<html><head =a="b>c">@<link>',
        b"<head a='1'b=\"2>\"c>@<title>",
    ],
)
def test_the_style_stands_behind_the_head_or_before_what_is_drawn(page: bytes) -> None:
    before, _, after = page.partition(b"@")
    plain = before + after
    assert whole(plain) == before + STYLE + after
    for cut in range(len(plain) + 1):
        assert whole(plain, cut) == before + STYLE + after


@pytest.mark.parametrize(
    "page", [b"", b"  \n", b"<!doctype html>", b"<!-- open", b"<html", b"<html a='", b"<", b"\xef\xbb"]
)
def test_a_page_that_ends_before_the_place_stays_as_it_is(page: bytes) -> None:
    assert whole(page) == page
    assert whole(page, 1) == page


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_a_page_of_two_byte_characters_stays_as_it_is(mark: bytes) -> None:
    page = mark + b"<\0p\0>\0"
    assert [whole(page), whole(page, 1), whole(page, 2), whole(page[:1])] == [page, page, page, page[:1]]


def test_an_endless_prolog_is_not_held_for_ever() -> None:
    inserter = StyleInserter(STYLE)
    sent = 0
    for _ in range(LONGEST // 512 + 2):
        sent += 512
        if inserter.feed(b"<!--" + b"x" * 508 if sent == 512 else b"x" * 512):
            break
    assert sent <= LONGEST + 512


_PIECES = st.sampled_from(
    [b"<!--", b"-->", b"--!>", b"<!doctype html>", b"<html", b"<head", b">", b" a='", b'"', b"'", b"=", b"/", b" ", b"<p>", b"x", b"<", b"\xe9"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 120), max_size=6))
def test_the_cuts_make_no_difference_and_nothing_is_lost(page: bytes, cuts: list[int]) -> None:
    found = whole(page, *cuts)
    assert found == whole(page)
    assert found == page or re.sub(re.escape(STYLE), b"", found, count=1) == page
