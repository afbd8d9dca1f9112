"""Texts of pages that a configuration replaces: each names a message, and has no placeholder that the message lacks."""

import difflib
from collections.abc import Iterator, Mapping

from gateway.config.reading.problems import Finding
from gateway.config.schema import Config
from gateway.languages.catalogue import source_messages
from gateway.languages.message import placeholders


def findings(config: Config) -> Iterator[Finding]:
    """Everything in `texts`, of all apps and of one, that no page would show as it is meant."""
    sections = {"pages": config.pages, **{f"apps.{name}.pages": app.pages for name, app in config.apps.items()}}
    for place, section in sections.items():
        for language, texts in section.texts.items():
            for name, text in texts.items():
                # The list of messages is read only where it is needed.
                yield from _wrong(f"{place}.texts.{language}.{name}", name, text, source_messages())


def _wrong(key: str, name: str, text: str, known: Mapping[str, str]) -> Iterator[Finding]:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        allowed = f"nearest: {near[0]}" if near else "allowed: the IDs in gateway/languages/catalogues/messages.pot"
        yield Finding(key=key, what="is not the ID of a message", allowed=allowed)
        return
    has = placeholders(known[name])
    extra = sorted(placeholders(text) - has)
    if extra:
        allowed = ", ".join(f"{{{each}}}" for each in sorted(has)) or "no placeholder"
        yield Finding(key=key, what=f"has {{{extra[0]}}}, which this message does not", allowed=f"allowed: {allowed}")
