"""A login attempt as the `state` of the authorization request: sealed, bound to the host and to the browser's cookie.

Nothing of an attempt is stored, so a client without a session cannot fill Redis (C-49). Any key of the ring opens a state, so a change of
keys ends no attempt. A link that is too long for a `state` is kept in Redis (`sessions.long_links`), and the state has its key.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from gateway.config.sections.openid import DEFAULT_PROVIDER
from gateway.gate.site import AppRoute
from gateway.oidc.authorization import AttemptFacts
from gateway.oidc.strict_json import parse_object
from gateway.sessions import base64url
from gateway.sessions.keyring import KeyRing

LONGEST: Final = 1536  # characters of a state: it comes back in a URL, beside the code
_VERSION: Final = 2
_LOGIN_TEST_VERSION: Final = 3
_SECOND: Final = 1_000_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedState:
    """`binding` is the fingerprint of the browser's cookie, `link` the key of a long link in Redis."""

    facts: AttemptFacts
    nonce: str = field(repr=False)
    binding: bytes
    link: str | None = None


class LoginStates:
    """Seals and opens."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring.purpose("login state")

    def seal(self, opened: OpenedState) -> str:
        """The `state`: visible ASCII. It may be longer than LONGEST."""
        facts = opened.facts
        sealed = self._ring.seal(_encode(opened), _context(facts.host, facts.app))
        return base64url.encode(sealed)

    def open(self, state: str, route: AppRoute) -> OpenedState | None:
        """None for any text that was not sealed here for this host."""
        if len(state) > 4 * LONGEST or not state.isascii():
            return None
        try:
            # SECURITY: a second spelling of the same bytes would be another attempt, and not used yet: this decoder accepts one.
            sealed = base64url.decode(state.encode("ascii"))
            return _decode(self._ring.open(sealed, _context(route.host, route.name)), route)
        except (ValueError, TypeError, KeyError):
            return None


def with_short_link(opened: OpenedState, link: str | None) -> OpenedState:
    """The same for a link that is too long: its key, and what the person gets when the record is lost, which is the page without its query."""
    path = opened.facts.return_to.partition("#")[0].partition("?")[0]
    facts = replace(opened.facts, return_to=path if len(path) <= LONGEST // 4 else "/", step_up_for=None)
    return replace(opened, facts=facts, link=link)


def _context(host: str, app: str) -> tuple[str, ...]:
    # SECURITY: a state is worth nothing on another host, which has the same keys.
    return ("login state", host, app)


def _encode(opened: OpenedState) -> bytes:
    facts = opened.facts
    values: dict[str, Any] = {
        # SECURITY: an earlier release would issue a session for a login test: it opens no state of this version (C-85).
        "v": _VERSION if facts.login_test is None else _LOGIN_TEST_VERSION,
        "n": opened.nonce,
        "w": opened.binding.hex(),
        "r": facts.return_to,
        "t": int(facts.started_at.timestamp()),
    }
    optional = {
        "m": facts.max_age,
        "l": list(facts.acr) or None,
        "f": facts.step_up_for,
        "p": facts.provider if facts.provider != DEFAULT_PROVIDER else None,
        "b": None if facts.begun is None else int(facts.begun * _SECOND),
        "u": " ".join(facts.ui_locales) or None,
        "k": opened.link,
        "o": facts.prompt,
        "x": facts.replaces,
        "a": 1 if facts.begun_again else None,
        "y": facts.login_test,
    }
    values |= {name: value for name, value in optional.items() if value is not None}
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()


def _decode(raw: bytes, route: AppRoute) -> OpenedState:
    """Our own sealed bytes. Raises ValueError, KeyError or TypeError for another version's."""
    values = parse_object(raw)
    if values["v"] not in (_VERSION, _LOGIN_TEST_VERSION):
        raise ValueError("another version")
    facts = AttemptFacts(
        app=route.name,
        host=route.host,
        return_to=values["r"],
        started_at=datetime.fromtimestamp(values["t"], UTC),
        max_age=values.get("m"),
        acr=tuple(values.get("l", ())),
        step_up_for=values.get("f"),
        provider=values.get("p", DEFAULT_PROVIDER),
        begun=None if "b" not in values else values["b"] / _SECOND,
        ui_locales=tuple(values.get("u", "").split()),
        prompt=values.get("o"),
        begun_again="a" in values,
        login_test=values.get("y"),
        replaces=values.get("x"),
    )
    return OpenedState(facts=facts, nonce=values["n"], binding=bytes.fromhex(values["w"]), link=values.get("k"))
