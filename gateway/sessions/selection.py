"""Which sessions an operator means: by person, app, address, age, sign-in at the provider.

No I/O. Every kind that is given must match; none given matches all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from gateway.config.schema import Network
from gateway.sessions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`sids` are public handles; `older_than` and `newer_than` count from the sign-in; e-mail addresses match in any case."""

    sids: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    issuer: str | None = None
    subject: str | None = None
    apps: frozenset[str] = frozenset()
    networks: Sequence[Network] = ()
    provider_sid: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def holds(self, session: Session, now: datetime) -> bool:
        who = session.identity
        return (
            (not self.sids or session.sid in self.sids)
            and (not self.emails or (who.email or "").casefold() in self.emails)
            and (self.issuer is None or who.issuer == self.issuer)
            and (self.subject is None or who.subject == self.subject)
            and (not self.apps or session.app in self.apps)
            and (not self.networks or self._from_there(session.address))
            and (self.provider_sid is None or session.provider_sid == self.provider_sid)
            and self._as_old(now - session.created_at)
        )

    def _as_old(self, age: timedelta) -> bool:
        return (self.older_than is None or age > self.older_than) and (self.newer_than is None or age < self.newer_than)

    def _from_there(self, address: str | None) -> bool:
        try:
            where = ip_address(address or "")
        except ValueError:
            return False
        return any(where in network for network in self.networks)
