"""Calls to a provider that are written down, for a login test: what was sent and what came back, without secrets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import aiohttp

from gateway.oidc.calls import Calls, ProviderResponse
from gateway.oidc.strict_json import parse_object

_SECRETS: Final = frozenset(
    {
        "access_token", "client_assertion", "client_secret", "code", "code_verifier", "id_token", "refresh_token", "request", "state", "token",
    }
)  # fmt: skip
_LONGEST: Final = 20_000
_DEEPEST: Final = 10
_QUIET: Final = ("keys",)  # public and long


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """`sent` are the parameters of a form, `received` the members of a JSON response; secrets are masked in both."""

    what: str
    method: str
    url: str
    sent: Mapping[str, str]
    status: int
    received: Any


class RecordingCalls(Calls):
    """Calls as they are, and a record of each that got a response."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        super().__init__(http)
        self.records: list[RecordedCall] = []

    async def _call(
        self, what: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> ProviderResponse:
        response = await super()._call(what, method, url, headers, body)
        sent = masked_parameters(parse_qsl((body or b"").decode("ascii", "replace"), keep_blank_values=True))
        received = None if what in _QUIET else _received(response)
        self.records.append(
            RecordedCall(what=what, method=method, url=url, sent=sent, status=response.status, received=received)
        )
        return response


def masked_parameters(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name, secrets masked."""
    return {name: mask(name, value) for name, value in pairs}


def mask(name: str, value: Any, levels: int = _DEEPEST) -> Any:
    """A JSON value, in which each text whose name is that of a secret is replaced by its length; `levels` of nesting are kept."""
    if isinstance(value, dict | list) and levels == 0:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {each: mask(each, inner, levels - 1) for each, inner in value.items()}
    if isinstance(value, list):
        return [mask(name, each, levels - 1) for each in value]
    # SECURITY: a story is read by people and kept in Redis: no token, code or client secret is in it (C-48).
    return f"({len(value)} characters)" if name in _SECRETS and isinstance(value, str) else value


def _received(response: ProviderResponse) -> Any:
    if len(response.body) > _LONGEST:
        return f"({len(response.body)} bytes)"
    try:
        return mask("", parse_object(response.body))
    except ValueError:
        return f"({len(response.body)} bytes of {response.content_type})"
