"""`doorward check --online`: each thing that the door depends on, asked once."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import aiohttp

from gateway.config.schema import Config
from gateway.directory.nexudus import NexudusDirectory
from gateway.errors import Refusal
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.proxy.pool import Pool
from gateway.sessions.client import connect
from gateway.sessions.embedded import EmbeddedValkey
from gateway.sessions.keyring import KeyRing
from gateway.sessions.store import SessionStore

Answer = tuple[str, str | None]


async def ask_everything(config: Config) -> list[Answer]:
    """`(name, problem or None)` for the provider, its keys, Redis, the directory and every upstream."""
    async with open_session(config.openid.ca) as http, open_session() as directory_http:
        questions: list[Coroutine[Any, Any, Answer]] = [_ask("redis", _redis(config))]
        if config.openid.enabled:
            questions.append(_ask("provider", _provider(config, http)))
        if config.directory.kind == "nexudus":
            questions.append(_ask("directory", _directory(config, directory_http)))
        questions += [_ask(f"apps.{name}.upstream", Pool(name, app).probe()) for name, app in config.apps.items()]
        return list(await asyncio.gather(*questions))


async def _ask(name: str, question: Coroutine[Any, Any, None]) -> Answer:
    try:
        await question
    except Refusal as refusal:
        return name, refusal.detail or refusal.code
    except (OSError, RuntimeError, ValueError) as error:
        return name, f"{type(error).__name__}: {error}"
    return name, None


async def _redis(config: Config) -> None:
    valkey = None
    if config.redis.url.get_secret_value() == "embedded":
        valkey = EmbeddedValkey(None)
        await asyncio.to_thread(valkey.start)
    redis = connect(config.redis, valkey.url if valkey is not None else None)
    try:
        await SessionStore(redis, KeyRing(config.keys), config.redis.key_prefix).ping()
    finally:
        await redis.aclose()
        if valkey is not None:
            await asyncio.to_thread(valkey.stop)


async def _provider(config: Config, http: aiohttp.ClientSession) -> None:
    provider = Provider(config.openid, http, allow_insecure_http=config.allow_insecure_http)
    await provider.ping()


async def _directory(config: Config, http: aiohttp.ClientSession) -> None:
    directory = NexudusDirectory(config.directory, http)
    try:
        await directory.ping()
    finally:
        await directory.close()
