"""The catalogues hold every message of the source, whole and in step; no text of a page stands outside them."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from babel import Locale
from babel.messages.plurals import get_plural

from gateway.config.sections.pages import Language
from gateway.languages.catalogue import Catalogue, load_catalogues, source_messages
from gateway.languages.message import LANGUAGES, SOURCE, Message, placeholders
from tests.messages import CATALOGUES, TEMPLATE, extracted, read

ROOT = Path(__file__).resolve().parents[3]
TRANSLATED = sorted({*LANGUAGES} - {SOURCE})


@cache
def texts() -> dict[str, str]:
    """The English of each message in the source, by its ID."""
    return {name: text for name, text, _ in extracted()}


def test_there_is_one_catalogue_for_each_language() -> None:
    assert {path.stem for path in CATALOGUES.glob("*.po")} == set(TRANSLATED)
    assert get_args(Language) == LANGUAGES


def test_the_list_of_messages_is_what_the_source_has() -> None:
    """`make messages` writes it."""
    assert dict(source_messages()) == texts()
    assert [message.context for message in read(TEMPLATE) if message.id and not message.context] == []


def test_an_id_stands_for_one_text() -> None:
    every: dict[str, set[str]] = {}
    for name, text, _ in extracted():
        every.setdefault(name, set()).add(text)
        assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", name)
    assert {name: found for name, found in every.items() if len(found) > 1} == {}


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_catalogue_has_every_message_and_no_other(language: str) -> None:
    """None is empty, fuzzy, obsolete, or a translation of an English that has changed."""
    catalogue = read(CATALOGUES / f"{language}.po", language)
    found = {message.context: message for message in catalogue if message.id}
    assert {name: message.id for name, message in found.items()} == texts()
    assert [name for name, message in found.items() if not message.string or message.fuzzy] == []
    assert not catalogue.obsolete
    assert not catalogue.fuzzy
    assert (catalogue.num_plurals, catalogue.plural_expr) == tuple(get_plural(language))


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_placeholders_addresses_and_kind_of_its_english(language: str) -> None:
    for message in read(CATALOGUES / f"{language}.po", language):
        if message.id:
            english, other = str(message.id), str(message.string)
            assert placeholders(other) == placeholders(english), message.context
            for fixed in ("http://", "https://", "15", "100-continue", "HTTP/1.1", "WebSocket"):
                assert english.count(fixed) == other.count(fixed), message.context
            assert other == other.strip()
            assert other.replace("\u00a0", " ").isprintable()
            ends = {"ar": ".؟:", "ja": "。？:"}.get(language, ".?:")
            assert (other[-1] in ends) == (english[-1] in ".?:"), message.context
            assert len(other) <= 2 * len(english) + 20, message.context


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_is_no_copy_of_the_english(language: str) -> None:
    texts = {str(message.id): str(message.string) for message in read(CATALOGUES / f"{language}.po", language)}
    assert {english for english, other in texts.items() if english and other == english} <= {"Code"}


def test_every_language_is_known_by_its_direction() -> None:
    directions = {tag: catalogue.direction for tag, catalogue in load_catalogues().items()}
    assert directions == {tag: "rtl" if tag == "ar" else "ltr" for tag in LANGUAGES}
    assert all(Locale.parse(tag).get_display_name("en") for tag in LANGUAGES)


def test_a_value_keeps_its_own_direction_in_a_text_from_right_to_left() -> None:
    message = Message("sign_in_expired.cookies", "cookies from {host}.").fill(host="portal.example.com:8443")
    assert "\u2068portal.example.com:8443\u2069" in load_catalogues()["ar"](message)
    assert str(message) == "cookies from portal.example.com:8443."


def test_a_text_of_an_operator_reads_nothing_but_the_values() -> None:
    """A placeholder is no format specification."""
    catalogue = Catalogue("en", {"m.x": "{host.__class__} {host!r} {0} {other} {host}"})
    assert catalogue(Message("m.x", "{host}").fill(host="{other}")) == "{host.__class__} {host!r} {0} {other} {other}"


# --- no text outside the catalogues -------------------------------------------------------------------------------------

#: What a page shows, by the parameter that takes it.
SHOWN = {"title", "message", "cause", "note", "label", "form_label"}
MAKERS = {"Content", "Link"}


def bare_texts(tree: ast.Module) -> list[str]:
    """Literals, plain or formatted, that are given to a page or to a refusal as a text."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            given = [each for each in node.keywords if each.arg in SHOWN and (name in MAKERS or each.arg == "cause")]
            values = [each.value for each in given] + (node.args if name in MAKERS else [])
            found += [ast.unparse(value) for value in values if isinstance(value, ast.Constant | ast.JoinedStr)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Message":
            found += [ast.unparse(each) for each in node.args if not isinstance(each, ast.Constant)]
    return found


def test_python_gives_pages_messages_and_no_bare_text() -> None:
    wrong = {}
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        if "demo" not in path.parts and (found := bare_texts(ast.parse(path.read_text()))):
            wrong[str(path)] = found
    assert wrong == {}


def test_the_rule_sees_a_bare_text() -> None:
    tree = ast.parse(
        "Link(label='Go', href=x)\nExpired(cause=f'{y} is wrong')\nMessage(name, 'x')\nLink(label=title, href=x)"
    )
    assert bare_texts(tree) == ["'Go'", "f'{y} is wrong'", "name"]


@pytest.mark.parametrize("path", sorted((ROOT / "gateway/pages/templates").glob("*.html")), ids=lambda path: path.name)
def test_a_template_has_no_words_of_its_own(path: Path) -> None:
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
    assert re.findall(r">[^<]*[^\W\d_][^<]*<", text) == []
    assert re.findall(r'\b(?:alt|title|placeholder|aria-label|value)="[^"]*\w[^"]*"', text) == []
