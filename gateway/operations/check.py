"""`doorward check --online`: checks each dependency of the gateway once."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from gateway.config.providers import dependency_of, providers_of
from gateway.config.schema import App, Config, ProviderKeys
from gateway.directory.factory import open_directory
from gateway.errors.refusal import Refusal
from gateway.http.header_policy import announces_connection_scheme
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.proxy.pool import Pool
from gateway.proxy.subrequest import Credentials, FilledRequest, UpstreamClient
from gateway.redis_client.client import connect, push_sources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.self_test import advice, examine

CheckResult = tuple[str, str | None]


async def check_all(config: Config) -> list[CheckResult]:
    """`(name, problem or None)` for the provider, its keys, Redis, the directory and every upstream."""
    async with open_session(_directory_ca(config)) as directory_http:
        checks: list[Coroutine[Any, Any, list[CheckResult]]] = [_check("redis", _redis(config))]
        if config.openid.enabled:
            checks += [_check_provider(config, name, keys) for name, keys in providers_of(config).items()]
        if config.directory.kind != "none":
            checks.append(_check("directory", _directory(config, directory_http)))
        checks += [_check(f"apps.{name}.upstream", Pool(name, app).probe()) for name, app in config.apps.items()]
        return [result for results in await asyncio.gather(*checks) for result in results]


async def _check_provider(config: Config, name: str, keys: ProviderKeys) -> list[CheckResult]:
    """Discovery and keys, a line each; the keys are fetched from the `jwks_uri` of discovery."""
    ((called, problem),) = await _check(dependency_of(name), _provider(config, keys))
    if problem is None:
        return [(f"{called} discovery", None), (f"{called} keys", None)]
    if problem.startswith("keys"):
        return [(f"{called} discovery", None), (f"{called} keys", problem)]
    return [
        (f"{called} discovery", f"{keys.authority_url}: {problem}"),
        (f"{called} keys", "not asked: discovery failed"),
    ]


async def _check(name: str, check: Coroutine[Any, Any, None]) -> list[CheckResult]:
    try:
        await check
    except Refusal as refusal:
        return [(name, refusal.detail or refusal.code)]
    except (OSError, RuntimeError, ValueError) as error:
        return [(name, f"{type(error).__name__}: {error}")]
    return [(name, None)]


async def _redis(config: Config) -> None:
    async with _connected(config) as (redis, url):
        await examine(redis, push_sources(redis, config.redis, url), config.redis.key_prefix)


async def advise(config: Config) -> list[str]:
    """Warnings about settings that fail later: of the Redis server, and of upstreams that authenticate connections."""
    lines = [line for name, app in config.apps.items() async for line in _authenticated(config, name, app)]
    if config.redis.url.get_secret_value() == "embedded":
        return lines
    async with _connected(config) as (redis, _):
        return lines + [line async for line in advice(redis)]


async def _authenticated(config: Config, name: str, app: App) -> AsyncIterator[str]:
    """A warning when the upstream's `/` asks for NTLM or Negotiate, which authenticate a connection, not a request (B-61)."""
    if not config.trusted_proxies:
        return
    pool = Pool(name, app)
    client = UpstreamClient(pool, app.hosts[0], (), app.timeouts.response_headers.total_seconds())
    try:
        reply = await client.send(FilledRequest(method="GET", target="/"), Credentials())
    except Refusal:
        return  # `check_all` reports it
    finally:
        pool.close()
    if any(announces_connection_scheme(field, value) for field, value in reply.fields):
        yield (
            f"apps.{name}.upstream authenticates connections (NTLM, Negotiate), and trusted_proxies are set: over a proxy's connection, "
            "which carries many people, no person can sign in at it; let browsers come to Doorward directly, or have it ask in another way"
        )


@asynccontextmanager
async def _connected(config: Config) -> AsyncIterator[tuple[Redis, str | None]]:
    """A client, and the URL of the embedded server, which is started for it."""
    valkey = None
    if config.redis.url.get_secret_value() == "embedded":
        valkey = EmbeddedValkey(None)
        await asyncio.to_thread(valkey.start)
    url = valkey.url if valkey is not None else None
    redis = connect(config.redis, url)
    try:
        yield redis, url
    finally:
        await redis.aclose()
        if valkey is not None:
            await asyncio.to_thread(valkey.stop)


async def _provider(config: Config, keys: ProviderKeys) -> None:
    async with open_session(keys.ca) as http:  # a private CA is its own provider's alone
        await Provider(keys, http, allow_insecure_http=config.allow_insecure_http).ping()


async def _directory(config: Config, http: aiohttp.ClientSession) -> None:
    directory = open_directory(config.directory, http)
    assert directory is not None
    try:
        await directory.ping()
    finally:
        await directory.close()


def _directory_ca(config: Config) -> Path | None:
    return None if config.directory.kind == "none" else config.directory.ca
