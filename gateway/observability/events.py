"""Security events: their names, and the one writer.

Each event is one JSON line and one count of `doorward_events_total{event,app}`. No event holds a secret: callers pass public handles (the
session's `sid`, the request id), and e-mail addresses are written only at `pii: full`, in no value and in no encoding otherwise.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.observability.logging import json_line
from gateway.observability.redaction import hide_addresses

LOGIN_STARTED: Final = "login.started"
LOGIN_SUCCEEDED: Final = "login.succeeded"
LOGIN_REFUSED: Final = "login.refused"
ACCOUNT_CREATED: Final = "account.created"
ACCOUNT_FOUND: Final = "account.found"
ACCOUNT_UPDATED: Final = "account.updated"
ACCOUNT_PLANNED: Final = "account.planned"
ACCOUNT_REFUSED: Final = "account.refused"
DIRECTORY_FAILED: Final = "directory.failed"
SESSION_REVOKED: Final = "session.revoked"
SESSION_EXPIRED: Final = "session.expired"
LOGOUT: Final = "logout"
ROUTE_BLOCKED: Final = "route.blocked"
ACCESS_DENIED: Final = "access.denied"
BREAK_GLASS_OPENED: Final = "break_glass.opened"
BREAK_GLASS_USED: Final = "break_glass.used"
BREAK_GLASS_CLOSED: Final = "break_glass.closed"
BREAK_GLASS_EXPIRED: Final = "break_glass.expired"
TOKEN_REFRESHED: Final = "token.refreshed"  # noqa: S105 - an event's name
TOKEN_REFRESH_FAILED: Final = "token.refresh_failed"  # noqa: S105 - an event's name
TOKEN_REVOCATION_FAILED: Final = "token.revocation_failed"  # noqa: S105 - an event's name
STORE_UNAVAILABLE: Final = "store.unavailable"
STORE_RECOVERED: Final = "store.recovered"
HAND_OFF_SUCCEEDED: Final = "hand_off.succeeded"
HAND_OFF_FAILED: Final = "hand_off.failed"
HAND_OFF_ENDED: Final = "hand_off.ended"
CONSOLE_DENIED: Final = "console.denied"
FORM_KEPT: Final = "form.kept"
FORM_LOST: Final = "form.lost"
FORM_SENT: Final = "form.sent"
SETTINGS_SAVED: Final = "settings.saved"
SETTINGS_CONFIRMED: Final = "settings.confirmed"
SETTINGS_ROLLED_BACK: Final = "settings.rolled_back"
SETTINGS_RESET: Final = "settings.reset"
SETTINGS_LOST: Final = "settings.lost"
SETTINGS_REFUSED: Final = "settings.refused"
SETTINGS_RESTORED: Final = "settings.restored"

EVENTS: Final = frozenset(
    {
        LOGIN_STARTED, LOGIN_SUCCEEDED, LOGIN_REFUSED, ACCOUNT_CREATED, ACCOUNT_FOUND, ACCOUNT_REFUSED, DIRECTORY_FAILED,
        ACCOUNT_UPDATED, ACCOUNT_PLANNED,
        SESSION_REVOKED, SESSION_EXPIRED, LOGOUT, ROUTE_BLOCKED, ACCESS_DENIED, TOKEN_REFRESHED, TOKEN_REFRESH_FAILED,
        TOKEN_REVOCATION_FAILED,
        STORE_UNAVAILABLE, STORE_RECOVERED,
        HAND_OFF_SUCCEEDED, HAND_OFF_FAILED, HAND_OFF_ENDED,
        BREAK_GLASS_OPENED, BREAK_GLASS_USED, BREAK_GLASS_CLOSED, BREAK_GLASS_EXPIRED,
        FORM_KEPT, FORM_LOST, FORM_SENT,
        CONSOLE_DENIED,
        SETTINGS_SAVED, SETTINGS_CONFIRMED, SETTINGS_ROLLED_BACK, SETTINGS_RESET, SETTINGS_LOST, SETTINGS_REFUSED, SETTINGS_RESTORED,
    }
)  # fmt: skip

Fact = str | int | float | bool | None
#: Different outcomes of events that are counted apart; all others count without their outcome.
OUTCOMES: Final = 500


class Audit:
    """Writes events as JSON lines through `write`, and counts them.

    `counts` by event and app; `outcomes` by event, app and the event's reason or rule. `keep(at, line)` gets each event too, `at` in
    seconds since 1970.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        pii_full: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        self.keep: Callable[[float, Mapping[str, Fact]], None] = lambda at, line: None
        self._write = write
        self._pii_full = pii_full
        self._now = now

    def emit(
        self,
        name: str,
        *,
        app: str,
        session: str | None = None,
        request_id: str | None = None,
        email: str | None = None,
        **facts: Fact,
    ) -> None:
        """Write one event. Raises KeyError for a name that is not in EVENTS, so that no typo becomes an event."""
        if name not in EVENTS:
            raise KeyError(name)
        self.counts[name, app] += 1
        line: dict[str, Fact] = {"event": name, "app": app}
        if session is not None:
            line["session"] = session
        if request_id is not None:
            line["request_id"] = request_id
        if email is not None and self._pii_full:
            line["email"] = email
        for key, value in facts.items():
            line[key] = hide_addresses(value) if isinstance(value, str) and not self._pii_full else value
        outcome = (name, app, str(line.get("reason") or line.get("rule") or ""))
        self.outcomes[outcome if outcome in self.outcomes or len(self.outcomes) < OUTCOMES else (name, app, "")] += 1
        at = self._now().timestamp()
        self._write(json_line(at, "info", "event", line).encode() + b"\n")
        self.keep(at, line)
