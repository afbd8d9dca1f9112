"""More sessions like one that a real sign-in made: `python -m tests.bench.sessions REDIS COUNT FILE`.

The configuration's key and the cookie's token come on standard input, as two lines. FILE gets the tokens, one a line. Each
session belongs to a person of its own; all else, the provider's tokens too, is as large as in the one that is copied.
"""

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from gateway.config.schema import Redis
from gateway.redis_client.client import connect
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.bench.parties import HOST

_AT_ONCE = 32


def another(session: Session, number: int) -> Session:
    identity = replace(session.identity, subject=f"person-{number:06}", email=f"person-{number:06}@example.com")
    return replace(session, sid=SessionStore.new_sid(), identity=identity, provider_sid=SessionStore.new_sid())


async def issue(url: str, count: int, file: Path, key: str, token: str) -> None:
    settings = Redis()
    redis = connect(settings, url)
    store = SessionStore(redis, KeyRing([key]), settings.key_prefix, utc_now)
    stored = await store.fetch(store.key_of(token), HOST, "portal")
    assert stored is not None, "the session to copy is not there"
    waiting = iter(range(count))
    tokens: list[str] = []

    async def work() -> None:
        for number in waiting:
            tokens.append(await store.issue(another(stored.session, number)))

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    file.write_text("\n".join(tokens))
    await redis.aclose()


if __name__ == "__main__":
    given_key, given_token = sys.stdin.read().split()
    asyncio.run(issue(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), given_key, given_token))
