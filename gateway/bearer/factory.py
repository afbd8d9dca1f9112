"""From the configuration to the BearerTokens of a worker."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from redis.asyncio import Redis

from gateway.bearer.ended import EndedTokens
from gateway.bearer.tokens import BearerTokens
from gateway.bearer.verification import DirectoryCheck, TokenVerifier
from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.account import Account
from gateway.identity.claims import Identity
from gateway.redis_client.invalidation import Sources
from gateway.sessions.keyring import KeyRing


def open_tokens(
    config: Config,
    redis: Redis,
    ring: KeyRing,
    find: Callable[[Identity], Awaitable[Account | None]],
    sources: Sources,
) -> BearerTokens:
    """`find` gives the account of a person, without creating or linking one; `sources` announce the ends of tokens."""

    def asked(app: str) -> bool:
        return registration(config.openid, config.apps[app].surface, config.directory.kind) != "skip"

    ended = EndedTokens(redis, ring, config.redis.key_prefix)
    verifier = TokenVerifier(ended, DirectoryCheck(find=find, asked=asked), time.monotonic, lambda: datetime.now(UTC))
    return BearerTokens(verifier, ended, sources, time.monotonic)
