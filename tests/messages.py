"""Finds the messages of the pages in the source, and merges them into the catalogues: `make messages`.

A message is a call of `Message`, in Python or in a template, with its ID and its English as literals. A new message, or one whose English has
changed, is empty in the catalogues afterwards; tests/unit/languages fails until it is translated.
"""

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from gateway.languages.message import LANGUAGES, SOURCE

ROOT = Path(__file__).resolve().parents[1]
CATALOGUES = ROOT / "gateway/languages/catalogues"
TEMPLATE = CATALOGUES / "messages.pot"
METHODS = [("languages/**", "ignore"), ("**.py", "python"), ("pages/**.html", "jinja2")]
KEYWORDS = {"Message": ((1, "c"), 2)}
HEADER = "# The texts of Doorward's pages. `make messages` keeps this file in step with the source."


def extracted() -> Iterator[tuple[str, str, str]]:
    """(ID, English, file) of each message in the source."""
    found = extract_from_dir(str(ROOT / "gateway"), METHODS, keywords=KEYWORDS, comment_tags=())
    for file, _, text, _, context in sorted(found, key=lambda each: (each[0], each[1])):
        assert isinstance(text, str)
        assert context is not None
        yield context, text, f"gateway/{file}"


def read(path: Path, language: str | None = None) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=language)


def merge() -> None:
    """Write the template and the catalogues where a message has changed."""
    template = _empty()
    for name, text, file in extracted():
        template.add(text, context=name, locations=[(file, 1)])
    _write(template, TEMPLATE)
    for language in LANGUAGES:
        if language == SOURCE:
            continue
        path = CATALOGUES / f"{language}.po"
        catalogue = read(path, language) if path.exists() else _empty(language)
        catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
        catalogue.obsolete.clear()
        _write(catalogue, path)


def _empty(language: str | None = None) -> Catalog:
    """A catalogue whose header names no person and no moment but its own beginning."""
    return Catalog(
        language,
        project="Doorward",
        version="1",
        header_comment=HEADER,
        msgid_bugs_address="-",
        last_translator="-",
        language_team="-",
        fuzzy=False,
    )


def _write(catalogue: Catalog, path: Path) -> None:
    if not path.exists() or _contents(read(path)) != _contents(catalogue):
        with path.open("wb") as file:
            write_po(file, catalogue, width=120, include_lineno=False)


def _contents(catalogue: Catalog) -> list[tuple[object, ...]]:
    return [
        (each.context, each.id, each.string or "", [file for file, _ in each.locations])
        for each in catalogue
        if each.id
    ]


if __name__ == "__main__":
    merge()
