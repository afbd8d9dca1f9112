"""What tests read from Redis, in the types that a client with `decode_responses=False` replies in."""

from typing import Any

from redis.asyncio import Redis


async def stored(redis: Redis, name: str | bytes) -> bytes:
    """The string at this key, which is there."""
    value = await redis.get(name)
    assert isinstance(value, bytes), f"{name!r} holds {value!r}"
    return value


async def command(redis: Redis, *words: str | bytes | int) -> Any:
    """The reply to a command that the client has no method for."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]
