"""Sessions for operators: what may be shown of one, a page of those that match, one by its handle, and their end.

Nothing here reads all sessions at once: the commands go through batches, and a page looks at a bounded number of keys.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.sessions.keyring import KeyRing
from gateway.sessions.scan import Entry, SessionFilter, SessionScan
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.sessions.user_agent import device_of

Facts = dict[str, str | int | bool | None]

_ROWS: Final = 50  # of a page; the last batch may give more
_LOOKED_AT: Final = 20_000  # keys for a page
_CURSOR = re.compile(r"[0-9]{1,4}\.[0-9]{1,20}")


def facts_of(session: Session, idle_left: timedelta, now: datetime, *, emails: bool) -> Facts:
    """What may be shown of a session, field by field, so that a field added later is not disclosed by accident."""
    who = session.identity
    return {
        "sid": session.sid,
        "app": session.app,
        "host": session.key_host,
        "provider": session.provider,
        "issuer": who.issuer,
        "subject": who.subject,
        **({"email": who.email} if emails else {}),
        "provider_sid": session.provider_sid,
        "address": session.address,
        "user_agent": session.user_agent,
        "signed_in_at": session.created_at.isoformat(timespec="seconds"),
        "expires_at": session.expires_at.isoformat(timespec="seconds"),
        "idle_seconds_left": max(0, int(min(idle_left, session.remaining(now)).total_seconds())),
        "acr": session.acr,
        "has_refresh_token": session.refresh_token is not None,
    }


def shown_of(entry: Entry, now: datetime, *, emails: bool) -> Facts | None:
    """`facts_of` an entry, with what people recognise: the name, the device, the last use. None for a record that no key opens."""
    session = entry.session
    if session is None:
        return None
    who = session.identity
    used = now - (session.idle - entry.idle_left) if entry.idle_left < session.remaining(now) else None
    return facts_of(session, entry.idle_left, now, emails=emails) | {
        "name": who.name or who.preferred_username,
        "device": device_of(session.user_agent),
        # A request prolongs the idle timeout at most once in a while, so this is a little older than the last request.
        "last_used_at": None if used is None else max(used, session.created_at).isoformat(timespec="seconds"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """`cursor` continues the search, "" where it has ended; `looked_at` keys were looked at for this page."""

    entries: list[Entry]
    cursor: str
    looked_at: int


class SessionWork:
    """What commands and pages do with sessions. `now` is aware. All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self.scan = SessionScan(redis, ring, prefix)
        self._store = SessionStore(redis, ring, prefix)

    async def page(self, chosen: SessionFilter, now: datetime, cursor: str = "") -> SessionPage:
        """The next sessions that match, those of a page newest first. Raises ValueError for a cursor that no page gave."""
        if cursor and not _CURSOR.fullmatch(cursor):
            raise ValueError("the cursor is not one of this list; allowed: none, to begin again")
        found: list[Entry] = []
        looked_at = 0
        async with aclosing(self.scan.from_cursor(chosen, cursor)) as batches:
            async for entries, following in batches:
                looked_at += len(entries)
                cursor = following
                found += [
                    entry for entry in entries if entry.session is not None and chosen.matches(entry.session, now)
                ]
                if len(found) >= _ROWS or looked_at >= _LOOKED_AT:
                    break
        found.sort(key=_signed_in_at, reverse=True)
        return SessionPage(entries=found, cursor=cursor, looked_at=looked_at)

    async def find(self, sid: str) -> Entry | None:
        """A session by its public handle; it reads up to all of them."""
        async with aclosing(self.scan.batches(SessionFilter())) as batches:
            async for entries in batches:
                for entry in entries:
                    if entry.session is not None and entry.session.sid == sid:
                        return entry
        return None

    async def revoke(
        self,
        chosen: SessionFilter,
        batches: AsyncIterator[list[Entry]],
        now: datetime,
        events: Audit,
        by: str,
        **facts: str,
    ) -> AsyncGenerator[list[Session], None]:
        """End the sessions of `batches` that match, now, in every process; those of each batch that ended. One event for each.

        A record that no key opens ends only with all sessions. The caller reads on until it has enough.
        """
        async for entries in batches:
            ended = await self._store.revoke_many(_selected(entries, chosen, now))
            for session in ended:
                email = session.identity.email
                events.emit(audit.SESSION_REVOKED, app=session.app, session=session.sid, email=email, by=by, **facts)
            yield ended


def _selected(entries: list[Entry], chosen: SessionFilter, now: datetime) -> list[str]:
    return [
        entry.key
        for entry in entries
        if (chosen.everything if entry.session is None else chosen.matches(entry.session, now))
    ]


def _signed_in_at(entry: Entry) -> datetime:
    assert entry.session is not None
    return entry.session.created_at
