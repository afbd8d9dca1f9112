"""`doorward check --online`: checks each dependency of the gateway once."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from redis.asyncio import Redis

from gateway.config.overlay import NOTHING_SAVED
from gateway.config.providers import dependency_of, providers_of
from gateway.config.schema import App, Config, ProviderKeys
from gateway.directory.factory import open_directory
from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.network import network_reason
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest
from gateway.gate.site import Site, app_routes
from gateway.http.header_policy import announces_connection_scheme
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.operations.claim_doubts import claim_doubts
from gateway.operations.client_authentication_trial import try_client_authentication
from gateway.policy.paths import parse_target
from gateway.proxy.pool import Pool
from gateway.proxy.subrequest import Credentials, FilledRequest, Reply, UpstreamClient
from gateway.redis_client.client import connect, push_sources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.self_test import advice, examine, read_servers
from gateway.redis_client.sightings import Sightings
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing

_PASSWORD_FIELD: Final = re.compile(rb"""<input[^>]*\stype\s*=\s*["']?password\b""", re.IGNORECASE)
_KEYS: Final = "keys"
_CLIENT_AUTHENTICATION: Final = "client authentication"
_CLAIMS: Final = "claims"


class CheckResult(NamedTuple):
    """One line of the check. `problem` is None where all is well; where `unknown` is set, it is what was seen, and no problem."""

    name: str
    problem: str | None = None
    unknown: bool = False


async def check_all(config: Config) -> list[CheckResult]:
    """A result for Redis, each provider's discovery, keys, client authentication and claims, the directory, and every upstream."""
    async with open_session(_directory_ca(config)) as directory_http:
        checks: list[Coroutine[Any, Any, list[CheckResult]]] = [_check("redis", _redis(config))]
        if config.has_sign_in:
            checks += [check_provider(config, name, keys) for name, keys in providers_of(config).items()]
        if config.directory.kind != "none":
            checks.append(_check("directory", _directory(config, directory_http)))
        checks += [_check_upstream(name, app) for name, app in config.apps.items()]
        return [result for results in await asyncio.gather(*checks) for result in results]


async def check_provider(config: Config, name: str, keys: ProviderKeys) -> list[CheckResult]:
    """Discovery, keys, client authentication and mapped claims, a line each; the keys are fetched from the `jwks_uri` of discovery."""
    called = dependency_of(name)
    # A private CA and a client certificate are their own provider's alone.
    async with open_session(keys.ca, keys.client_tls.files) as http:
        provider = Provider(keys, http, allow_insecure_http=config.allow_insecure_http)
        ((_, problem, _),) = await _check(called, provider.ping())
        if problem is not None and not problem.startswith("keys"):
            problem = f"{keys.authority_url}: {problem.removeprefix('discovery: ')}"
            failed = [CheckResult(f"{called} discovery", problem)]
            later = (_KEYS, _CLIENT_AUTHENTICATION, _CLAIMS)
            return failed + [
                CheckResult(f"{called} {each}", "not asked: discovery failed", unknown=True) for each in later
            ]
        results = [CheckResult(f"{called} discovery"), CheckResult(f"{called} {_KEYS}", problem)]
        results.append(await _check_client_authentication(config, name, keys, provider))
        return [*results, await _check_claims(config, name, keys, provider)]


async def _check_client_authentication(
    config: Config, name: str, keys: ProviderKeys, provider: Provider
) -> CheckResult:
    called = f"{dependency_of(name)} {_CLIENT_AUTHENTICATION}"
    trial = await try_client_authentication(config, name, keys, provider, control=True)
    if trial.verdict == "accepted":
        return CheckResult(called)
    return CheckResult(called, trial.seen, unknown=trial.verdict == "unknown")


async def _check_claims(config: Config, name: str, keys: ProviderKeys, provider: Provider) -> CheckResult:
    """What is known of the mapped claims; a running gateway's embedded store cannot be asked."""
    if config.redis.is_embedded:
        doubts = await claim_doubts(name, keys.claims, provider.metadata.claims_supported, None)
    else:
        async with _connected(config) as (redis, _):
            sightings = Sightings(redis, config.redis.key_prefix, lambda: datetime.now(UTC))
            doubts = await claim_doubts(name, keys.claims, provider.metadata.claims_supported, sightings)
    return CheckResult(f"{dependency_of(name)} {_CLAIMS}", "; ".join(doubts) or None, unknown=bool(doubts))


async def _check(name: str, check: Coroutine[Any, Any, None]) -> list[CheckResult]:
    try:
        await check
    except Refusal as refusal:
        return [CheckResult(name, refusal.detail or refusal.code)]
    except OSError as error:
        return [CheckResult(name, network_reason(error))]
    except (RuntimeError, ValueError) as error:
        return [CheckResult(name, str(error))]
    return [CheckResult(name)]


async def _check_upstream(name: str, app: App) -> list[CheckResult]:
    """A line for each address that accepts no connection, or one for all of them."""
    called = f"apps.{name}.upstream"
    refusals = await Pool(name, app).probe()
    return [CheckResult(called, refusal.detail) for refusal in refusals] or [CheckResult(called)]


async def _redis(config: Config) -> None:
    if config.redis.is_embedded and config.redis.data_dir is not None:
        await asyncio.to_thread(EmbeddedValkey(config.redis.data_dir).check_folder)
    async with _connected(config) as (redis, url):
        sources = push_sources(redis, config.redis, url)
        await examine(redis, sources, config.redis.key_prefix, console=config.console is not None)


async def advise(config: Config) -> list[str]:
    """Warnings about settings that fail later: of the Redis server, and of upstreams that authenticate connections."""
    sites = {route.name: Site(route, config) for route in app_routes(config)}
    lines = [line for name, site in sites.items() async for line in _advise_upstream(config, name, site)]
    if config.redis.is_embedded:
        return lines
    async with _connected(config) as (redis, _):
        return [*lines, *advice(await read_servers(redis)), *await _saved_over(config, redis)]


async def _saved_over(config: Config, redis: Redis) -> list[str]:
    """That settings are saved over this file, which every other line here is about."""
    store = SettingsStore(redis, KeyRing(config.keys), config.redis.key_prefix)
    try:
        value = await store.read()
        saved = store.open(value).in_force(time.time()) if value else NOTHING_SAVED
    except StoreUnavailable:
        return []  # `check_all` reports it
    except ValueError as error:
        return [f"settings: the record in Redis is not used: {error}"]
    keys = ", ".join(sorted(saved.values))
    told = f"settings: version {saved.version} is saved over this file ({keys}): `doorward settings show` has what is in force"
    return [told] if saved.values else []


async def _advise_upstream(config: Config, name: str, site: Site) -> AsyncIterator[str]:
    """Warnings about what the upstream answers to a GET of `/` without an identity."""
    app = site.app
    pool = Pool(name, app)
    client = UpstreamClient(pool, app.hosts[0], (), app.timeouts.response_headers.total_seconds())
    try:
        reply = await client.send(FilledRequest(method="GET", target="/"), Credentials())
    except Refusal:
        return  # `check_all` reports it
    finally:
        pool.close()
    if site.enabled and app.hand_off is None and (login := _own_login(site, reply)):
        yield (
            f'apps.{name}.upstream {login}: a person who is signed in here gets the page "The application asks for its own login" unless the '
            f"application takes them from the identity headers or from X-Doorward-Jwt-Assertion; where it cannot, set apps.{name}.hand_off"
        )
    # NTLM and Negotiate authenticate a connection, not a request (B-61).
    if config.trusted_proxies and any(announces_connection_scheme(field, value) for field, value in reply.fields):
        yield (
            f"apps.{name}.upstream authenticates connections (NTLM, Negotiate), and trusted_proxies are set: over a proxy's connection, "
            "which carries many people, no person can sign in at it; let browsers come to Doorward directly, or have it ask in another way"
        )


def _own_login(site: Site, reply: Reply) -> str | None:
    """How the upstream asks for its own login although its password routes are closed; None: it does not, or they are open."""
    if not site.password_routes.closed:
        return None
    if reply.location:
        url = urlsplit(reply.location.decode("latin-1"))
        try:
            blocked = site.blocked_page(parse_target(f"/{url.path.lstrip('/')}".encode("latin-1")))
        except BadRequest:
            return None
        return f"sends / to its own login page {url.path}" if blocked is not None else None
    return "shows a password form at /" if _PASSWORD_FIELD.search(reply.body) else None


@asynccontextmanager
async def _connected(config: Config) -> AsyncIterator[tuple[Redis, str | None]]:
    """A client, and the URL of the embedded server, which is started for it."""
    valkey = None
    if config.redis.is_embedded:
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


async def _directory(config: Config, http: aiohttp.ClientSession) -> None:
    directory = open_directory(config.directory, http)
    assert directory is not None
    try:
        await directory.ping()
    finally:
        await directory.close()


def _directory_ca(config: Config) -> Path | None:
    return None if config.directory.kind == "none" else config.directory.ca
