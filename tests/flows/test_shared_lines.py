"""What a worker wrote about a session for an upstream is found by whoever reads that session next: signed once, for the whole fleet."""

import json

from joserfc import jwt
from joserfc.jwk import KeySet
from msgspec.structs import replace

from tests.fakes.house import House
from tests.fakes.recorder import Recorded
from tests.fakes.redis_commands import stored
from tests.fakes.waiting import eventually


def key_of(house: House, cookie: str) -> str:
    return house.worker.store.key_of(cookie.partition("=")[2])


def beside(house: House, cookie: str) -> str:
    return f"{house.worker.config.redis.key_prefix}a:{key_of(house, cookie)}"


async def arrived(house: House, cookie: str) -> Recorded:
    """What the upstream gets of a request whose session the worker does not know."""
    house.worker.cache.forget(key_of(house, cookie))
    assert (await house.ask("/", cookie=cookie)).status == 200
    return house.upstream.requests[-1]


async def shared(house: House, cookie: str) -> bytes:
    """The assertion that was left for others."""

    async def left() -> bytes:
        proof = (await arrived(house, cookie)).values("x-doorward-jwt-assertion")[0]
        return proof if await house.worker.redis.exists(beside(house, cookie)) else b""

    await eventually(left)
    return (await arrived(house, cookie)).values("x-doorward-jwt-assertion")[0]


async def claims_of(house: House, proof: bytes) -> dict[str, object]:
    keys = KeySet.import_key_set(json.loads((await house.ask("/.well-known/doorward/jwks.json")).body))
    claims: dict[str, object] = jwt.decode(proof.decode(), keys, algorithms=["ES256"]).claims
    return claims


async def test_a_session_is_signed_once_for_all_who_read_it(house: House) -> None:
    cookie = await house.session(groups=["members"], name="Bób")
    proof = await shared(house, cookie)
    requests = [await arrived(house, cookie) for _ in range(3)]
    assert {request.values("x-doorward-jwt-assertion")[0] for request in requests} == {proof}
    assert requests[0].values("x-forwarded-name") == [b"B%C3%B3b"]
    assert requests[0].values("x-forwarded-groups") == [b"members"]
    assert (await claims_of(house, proof))["groups"] == ["members"]
    assert 0 < await house.worker.redis.pttl(beside(house, cookie)) <= 240_000


async def test_what_is_left_for_others_is_unreadable_to_them_without_the_keys(house: House) -> None:
    """C-48."""
    cookie = await house.session(email="bob@secret.example")
    proof = await shared(house, cookie)
    sealed = await stored(house.worker.redis, beside(house, cookie))
    assert b"bob@secret.example" not in sealed
    assert proof[-40:] not in sealed


async def test_a_person_who_changed_is_never_told_of_as_they_were(house: House) -> None:
    """C-31, A-74: the record was written anew, and what was written from the one before is still there."""
    cookie = await house.session(groups=["members", "staff"])
    before, key, store = await shared(house, cookie), key_of(house, cookie), house.worker.store
    stored = await store.fetch(key, house.host(), "portal")
    assert stored is not None
    identity = replace(stored.session.identity, groups=("members",))
    assert await store.rewrite(key, stored, replace(stored.session, identity=identity))
    assert await house.worker.redis.exists(beside(house, cookie))
    request = await arrived(house, cookie)
    assert request.values("x-forwarded-groups") == [b"members"]
    assert request.values("x-doorward-jwt-assertion")[0] != before
    assert (await claims_of(house, request.values("x-doorward-jwt-assertion")[0]))["groups"] == ["members"]


async def test_nobody_is_told_of_with_what_was_left_for_somebody_else(house: House) -> None:
    """C-08: copied, mangled and foreign values beside a record count for nothing."""
    bob, eve = await house.session(), await house.session(subject="eve", email="eve@example.com")
    await shared(house, bob)
    redis = house.worker.redis
    sealed = await stored(redis, beside(house, bob))
    for value in (sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", b"x" * 100_000, sealed[:20]):
        await redis.set(beside(house, eve), value)
        request = await arrived(house, eve)
        assert request.values("x-forwarded-email") == [b"eve@example.com"]
        assert (await claims_of(house, request.values("x-doorward-jwt-assertion")[0]))["sub"] == "eve"
    await redis.delete(beside(house, eve))
    await redis.lpush(beside(house, eve), "x")
    assert (await arrived(house, eve)).values("x-forwarded-email") == [b"eve@example.com"]


async def test_a_signed_out_person_is_out_whatever_was_left(house: House) -> None:
    """C-44."""
    cookie = await house.session()
    await shared(house, cookie)
    await house.worker.store.revoke(key_of(house, cookie))
    assert await house.worker.redis.exists(beside(house, cookie))
    house.worker.cache.forget(key_of(house, cookie))
    assert (await house.ask("/", cookie=cookie)).status == 401
