"""What operators and limits do, on a cluster and under sentinels: every primary is read, every script stays with its key."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from gateway.redis_client.once import Once
from gateway.redis_client.routed_client import RoutedClient
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.scan import SessionFilter, SessionScan
from gateway.sessions.session_limit import SessionLimit
from tests.unit.sessions.made import APP, HOST, ISSUER, KEY, a_session, a_store

NEW = new_key()


async def found(census: SessionScan, selection: SessionFilter) -> list[str]:
    now = datetime.now(UTC)
    sessions = [entry.session async for entries in census.batches(selection) for entry in entries]
    return sorted(session.identity.subject for session in sessions if session and selection.matches(session, now))


async def test_sessions_on_every_primary_are_listed_counted_and_sealed_anew(fleet: RoutedClient, prefix: str) -> None:
    old, both = a_store(fleet, prefix), a_store(fleet, prefix, keys=(NEW, KEY))
    census = SessionScan(fleet, KeyRing((NEW, KEY)), prefix)
    keys = [old.key_of(await old.issue(a_session(f"p{number:02}"))) for number in range(30)]
    assert await found(census, SessionFilter()) == [f"p{number:02}" for number in range(30)]
    assert await found(census, SessionFilter(issuer=ISSUER, subject="p07")) == ["p07"]
    assert await census.size() >= 30
    assert await both.reseal(keys[:10]) == 10
    counts: Counter[int | None] = Counter()
    async for some in census.sealed_by():
        counts += some
    assert counts == {0: 10, 1: 20}
    new = a_store(fleet, prefix, keys=(NEW,))
    assert [await new.fetch(key, HOST, APP) is not None for key in keys] == [True] * 10 + [False] * 20
    assert len(await both.revoke_many(keys)) == 30
    assert await found(census, SessionFilter()) == []


async def test_a_limit_is_exact_when_logins_come_at_once(fleet: RoutedClient, prefix: str) -> None:
    store = a_store(fleet, prefix, keys=(NEW, KEY))
    places = SessionLimit(fleet, KeyRing((NEW, KEY)), prefix, lambda: datetime.now(UTC))

    async def login(refuse: bool, subject: str) -> bool:
        session = a_session(subject)
        key = store.key_of(await store.issue(session))
        over = await places.take(key, session, 3, refuse=refuse)
        await store.revoke_many([key] if over is None else over)
        return over is not None

    for refuse, subject in ((True, "ana"), (False, "ben")):
        let_in = await asyncio.gather(*(login(refuse, subject) for _ in range(12)))
        assert sum(let_in) == (3 if refuse else 12)
        assert len(await store.revoke_person(ISSUER, subject)) == 3


async def test_notes_and_marks_are_found_again(fleet: RoutedClient, prefix: str) -> None:
    """A-23, A-31."""
    marks, endings = Once(fleet, prefix), LogoutMarkers(fleet, KeyRing((KEY,)), prefix)
    minute, now = timedelta(minutes=1), datetime.now(UTC)
    for number in range(10):
        assert await marks.begin(f"m{number}", minute)
        assert await marks.begin(f"m{number}", minute)
        await marks.finish(f"m{number}", minute)
        assert not await marks.begin(f"m{number}", minute)
        await endings.write(ISSUER, sid=f"s{number}", sub=None, issued_at=now)
        session = a_session(provider_sid=f"s{number}")
        assert await endings.covers(session, int(now.timestamp()))
        assert not await endings.covers(session, int(now.timestamp()) + 1)
        assert not await endings.covers(a_session(provider_sid="another"), 0)
    bare, told = a_session("ana", provider_sid=None), a_session("ana", provider_sid="told")
    await endings.write(ISSUER, sid="other", sub="ana", issued_at=now)
    assert [await endings.covers(session, 0) for session in (bare, told)] == [True, False]
    await endings.write(ISSUER, sid=None, sub="ana", issued_at=now)
    assert [await endings.covers(session, 0) for session in (bare, told)] == [True, True]
