"""Sign-ins that wait for their account."""

from datetime import UTC, datetime

from redis.asyncio import Redis

from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.pending_sign_in import PendingSignIn, PendingSignIns
from tests.unit.sessions.made import HOST, a_session

WAITING = PendingSignIn(
    session=a_session(),
    claims={"sub": "mia"},
    issued_at=1,
    return_to="/bookings",
    began=datetime(2026, 1, 1, tzinfo=UTC),
)


async def test_a_waiting_sign_in_is_found_by_its_token_under_its_host(redis: Redis, prefix: str) -> None:
    pending = PendingSignIns(redis, prefix, KeyRing([new_key()]))
    token = await pending.keep(WAITING)
    assert await pending.find(token, HOST) == WAITING
    await pending.drop(token)
    assert await pending.find(token, HOST) is None


async def test_it_is_worth_nothing_under_another_host(redis: Redis, prefix: str) -> None:
    """C-09: a token that was carried from one app to another opens nothing there."""
    pending = PendingSignIns(redis, prefix, KeyRing([new_key()]))
    token = await pending.keep(WAITING)
    assert await pending.find(token, "dashboard.example.com") is None
    assert await pending.find(token, HOST) == WAITING


async def test_a_record_that_was_copied_under_another_token_opens_nothing(redis: Redis, prefix: str) -> None:
    """C-08, C-09: by somebody who can write to Redis, and has a token of their own."""
    pending = PendingSignIns(redis, prefix, KeyRing([new_key()]))
    await pending.keep(WAITING)
    (theirs,) = [name async for name in redis.scan_iter(match=prefix + "*")]
    token = await pending.keep(WAITING)
    (own,) = [name async for name in redis.scan_iter(match=prefix + "*") if name != theirs]
    await redis.copy(theirs, own, replace=True)
    assert await pending.find(token, HOST) is None
