"""Which language a page has, for what a browser sends."""

import pytest

from gateway.languages.negotiation import LONGEST, LONGEST_UI_LOCALES, PreferredLanguages, lookup, read_ui_locales


def negotiate(fields: list[bytes], offered: tuple[str, ...], default: str) -> str:
    return PreferredLanguages(fields).choose(offered, default)


OFFERED = ("ar", "de", "en", "fr", "pt", "zh-hant")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("de", "de"),
        ("de-CH", "de"),
        ("DE-ch", "de"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("nl,fr;q=0.5", "fr"),
        ("en;q=0.4, fr;q=0.8, de;q=0.6", "fr"),
        ("en;q=0.5, de", "de"),
        ("fr;q=0.8,de;q=0.8", "fr"),
        ("zh-Hant-TW", "zh-hant"),
        ("zh-Hans", "en"),
        ("de-x-nothing", "de"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("de-AT, de;q=0, fr;q=0.1", "fr"),
        ("fr ; q = 0.5 , de ; q=0.7", "de"),
        ("*", "en"),
        ("sv, *;q=0.5, de;q=0.1", "en"),
        ("", "en"),
        ("xx", "en"),
        ("de;q=2", "en"),
        ("de;q=0.1234", "en"),
        ("d\xe9,fr", "fr"),
        ("de_DE", "en"),
        (";;;,,,q=1", "en"),
        ("../../etc/passwd,de", "de"),
    ],
)
def test_the_best_of_the_offered_languages_is_chosen(accept: str, chosen: str) -> None:
    assert negotiate([accept.encode("latin-1")], OFFERED, "en") == chosen


def test_several_header_fields_are_one_list() -> None:
    assert negotiate([b"sv", b"fr;q=0.2", b"de;q=0.3"], OFFERED, "en") == "de"


def test_no_more_than_a_bounded_part_of_the_header_is_read() -> None:
    assert negotiate([b"sv," * 19 + b"de"], OFFERED, "en") == "de"
    assert negotiate([b"sv," * 20 + b"de"], OFFERED, "en") == "en"
    assert negotiate([b" " * LONGEST + b"de"], OFFERED, "en") == "en"
    assert negotiate([b"a-" * 200_000], OFFERED, "en") == "en"


def test_tags_of_a_request_are_looked_up_in_their_order() -> None:
    assert lookup(["sv", "de-at", "fr"], OFFERED) == "de"
    assert lookup(["sv"], OFFERED) is None
    assert lookup([], OFFERED) is None


@pytest.mark.parametrize(
    ("ui_locales", "chosen"),
    [("de", "de"), ("sv fr-CA de", "fr"), ("PT-br", "pt"), ("zh-Hant-TW", "zh-hant"), ("sv", "ar"), ("", "ar")],
)
def test_ui_locales_come_before_what_the_browser_asks_for(ui_locales: str, chosen: str) -> None:
    assert PreferredLanguages([b"ar,de;q=0"], read_ui_locales(ui_locales)).choose(OFFERED, "en") == chosen


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("de en", ("de", "en")),
        ("de  de-CH-1996 de", ("de", "de-CH-1996")),
        ("zh-cmn-Hans-CN sl-rozaj-biske-1994 en-a-bbb-x-a es-419", ("zh-cmn-Hans-CN", "sl-rozaj-biske-1994", "en-a-bbb-x-a", "es-419")),
        ("d e1 de_DE de; en-x fr-a * abcdefghi de-", ()),
        ("de\r\nX: y de\ten \u017ft \u212ao de\n en", ("en",)),
        (None, ()),
        ("de " * (LONGEST_UI_LOCALES // 3) + "e", ("de",)),
        ("de " * (LONGEST_UI_LOCALES // 3) + "en", ()),
    ],
)  # fmt: skip
def test_ui_locales_are_a_bounded_list_of_language_tags(text: str | None, tags: tuple[str, ...]) -> None:
    """A-34."""
    assert read_ui_locales(text) == tags
