"""A text that a page shows. Its ID is stable, its English stands in the source, other languages stand in the catalogues. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

#: The language of the messages in the source.
SOURCE: Final = "en"
#: BCP 47 tags of the source and of all languages that have a catalogue.
LANGUAGES: Final = ("ar", "de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_ISOLATED: Final = "\u2068{}\u2069"  # first strong isolate, pop directional isolate (UAX 9)


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is unique, as `access_denied.title`; `text` is the English, with `{name}` for each of the `values`.

    Babel finds messages by this name, so `id` and `text` are literals wherever one is made.
    """

    id: str
    text: str
    values: Mapping[str, str] = field(default_factory=dict)

    def fill(self, **values: str) -> "Message":
        """The same message with the values of its placeholders."""
        return replace(self, values=values)

    def in_words(self, text: str, *, isolate: bool = False) -> str:
        """`text` with the values; `isolate` keeps the direction of a value, as an address in Arabic, from that of the text around it."""
        form = _ISOLATED if isolate else "{}"
        # A placeholder is no format specification: a text of a configuration reads no attribute of a value.
        return _PLACEHOLDER.sub(lambda match: form.format(self.values.get(match[1], match[0])), text)

    def __str__(self) -> str:
        """The English with its values, as programs and logs have it."""
        return self.in_words(self.text)


def placeholders(text: str) -> frozenset[str]:
    """The names in braces."""
    return frozenset(_PLACEHOLDER.findall(text))
