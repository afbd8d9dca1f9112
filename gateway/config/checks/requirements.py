"""What a `require` restricts, and what in it contradicts itself. Pure."""

from collections.abc import Iterator

from gateway.config.reading.problems import Finding
from gateway.config.schema import Require, Rule


def empty_lists(key: str, require: Require) -> Iterator[Finding]:
    """A finding for each list of a `require` that is there and empty. `key`: that of the `require`."""
    for name in ("groups", "emails", "email_domains"):
        if name in require.model_fields_set and not getattr(require, name):
            # SECURITY: an empty allow-list reads as no access and would be applied as no restriction (C-21).
            yield Finding(key=f"{key}.{name}", what="is empty", allowed="allowed: at least one entry, or no such key")


def requires(require: Require) -> bool:
    """Whether a `require` restricts anything."""
    return bool(require.groups or require.emails or require.email_domains)


def restricts_persons(rule: Rule) -> bool:
    """Whether a rule asks something of a person with a session."""
    return requires(rule.require) or rule.max_age is not None or bool(rule.acr)
