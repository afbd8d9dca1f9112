"""Subrequests with a person's facts in them, and values in the JSON of the replies.

Pure. The invariant: a fact adds no parameter, path segment, header field or JSON member: it is encoded for the place
where it stands. A missing fact is a refusal, not an empty text. RFC 6901 (JSON pointers), RFC 3986 section 2.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from gateway.config.sections.hand_off import Call
from gateway.errors.hand_off import HandOffFailed, NoUpstreamLogin
from gateway.identity.claims import Identity
from gateway.proxy.subrequest import FilledRequest

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_ONE_LINE = re.compile(r"[\t\x20-\x7e]*")


def facts_of(identity: Identity, **more: str) -> dict[str, str]:
    """The values of the placeholders; without those that are not known."""
    facts = identity.facts() | {f"directory.{name}": value for name, value in identity.directory.items()}
    return {name: value for name, value in facts.items() if value} | more


def fill(template: str, facts: Mapping[str, str], encode: Callable[[str], str] = str) -> str:
    """Replace the placeholders by encoded facts. Raises NoUpstreamLogin for a fact that this person does not have."""

    def value(match: re.Match[str]) -> str:
        found = facts.get(match[1])
        if found is None:
            raise NoUpstreamLogin(f"{{{match[1]}}} is not known of this person")
        return encode(found)

    return _PLACEHOLDER.sub(value, template)


def in_url(value: str) -> str:
    """A fact as one part of a path or query: no character of it separates parts (RFC 3986 section 2.1)."""
    return quote(value, safe="")


def all_known(template: str, facts: Mapping[str, str]) -> bool:
    """Whether there is a fact for each placeholder."""
    return all(name in facts for name in _PLACEHOLDER.findall(template))


def outgoing(call: Call, target: str, facts: Mapping[str, str]) -> FilledRequest:
    """The request that a call of the configuration describes; `target` is the template of its path or URL.

    Raises NoUpstreamLogin, HandOffFailed.
    """
    headers = {name: fill(secret.get_secret_value(), facts) for name, secret in call.headers.items()}
    for name, value in headers.items():
        # SECURITY: a name with a line break must not become a header of its own (C-38).
        if not _ONE_LINE.fullmatch(value):
            raise HandOffFailed("unusable_fact", f"the header {name} would hold more than printable ASCII")
    body = b""
    if call.form is not None:
        body = urlencode({name: fill(value, facts) for name, value in call.form.items()}).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif call.json_ is not None:
        body = json.dumps(_filled(call.json_, facts)).encode()
        headers["Content-Type"] = "application/json"
    address = fill(target, facts, in_url)
    return FilledRequest(method=call.method, target=address, headers=tuple(headers.items()), body=body)


def _filled(value: Any, facts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, facts)
    if isinstance(value, dict):
        return {name: _filled(member, facts) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, facts) for member in value]
    return value


def at_pointer(document: Any, pointer: str) -> Any:
    """The value that a JSON pointer refers to; None when there is none (RFC 6901)."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit() and len(name) < 6:
            document = document[int(name)] if int(name) < len(document) else None
        else:
            return None
    return document
