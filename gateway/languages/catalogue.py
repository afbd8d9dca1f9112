"""The texts of one language, read from its Babel catalogue when a worker starts.

The catalogues are read as they are written, without a compiled form that could be older than its source.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from gateway.languages.message import LANGUAGES, SOURCE, Message

_FOLDER: Final = resources.files("gateway.languages").joinpath("catalogues")


class Catalogue:
    """`tag` is a BCP 47 tag, `direction` is `ltr` or `rtl`; `texts` are by message ID, and those that are missing are English."""

    def __init__(self, tag: str, texts: Mapping[str, str]) -> None:
        self.tag = tag
        self.direction = Locale.parse(tag, sep="-").text_direction
        self._texts = texts

    def with_texts(self, texts: Mapping[str, str]) -> "Catalogue":
        """This catalogue with other texts for some messages."""
        return Catalogue(self.tag, {**self._texts, **texts}) if texts else self

    def __call__(self, message: Message | str) -> str:
        """The text of a message with its values; a name, which is no message, as it is."""
        if isinstance(message, str):
            return message
        return message.in_words(self._texts.get(message.id, message.text), isolate=self.direction == "rtl")


@cache
def load_catalogues() -> Mapping[str, Catalogue]:
    """All catalogues by tag, read once by a process."""
    return {tag: Catalogue(tag, {} if tag == SOURCE else _translations(tag)) for tag in LANGUAGES}


def _translations(tag: str) -> dict[str, str]:
    with _FOLDER.joinpath(f"{tag}.po").open("rb") as file:
        catalogue = read_po(file, locale=tag)
    return {message.context: str(message.string) for message in catalogue if message.context and message.string}


@cache
def source_messages() -> Mapping[str, str]:
    """The English of every message by its ID."""
    with _FOLDER.joinpath("messages.pot").open("rb") as file:
        template: Catalog = read_po(file)
    return {message.context: str(message.id) for message in template if message.context}
