"""The brokers of a worker: one for each app with a `hand_off`."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import aiohttp

from gateway.audit import Audit
from gateway.config.hand_off import HandOff
from gateway.config.schema import Config
from gateway.directory.account import Account, Directory
from gateway.hand_off.broker import Broker
from gateway.hand_off.plan import Plan, resolve, upstream_hosts
from gateway.hand_off.records import HandOffRecords, RedisCommands
from gateway.hand_off.seals import Seals
from gateway.hand_off.tokens import CalledTokens, DirectoryTokens, TokenSource
from gateway.identity import Identity
from gateway.leases import Leases
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession


def brokers_of(
    config: Config,
    *,
    ring: KeyRing,
    redis: RedisCommands,
    leases: Leases,
    directory: Directory | None,
    known: Callable[[Identity], Awaitable[Account | None]],
    http: aiohttp.ClientSession,
    audit: Audit,
    now: Callable[[], datetime],
    alive: Callable[[LiveSession], Awaitable[bool]],
) -> dict[str, Broker]:
    """By app. `known` finds the account of somebody whose session does not say it; `http` is for the APIs that `token` names; `alive` as for
    Broker."""
    records = HandOffRecords(redis, ring, config.redis.key_prefix, now)
    brokers = {}
    for name, app in config.apps.items():
        settings = app.hand_off
        if settings is None or not config.openid.enabled:
            continue
        plan = resolve(settings, upstream_hosts(app.upstream))
        brokers[name] = Broker(
            name,
            plan,
            Seals(ring, name, plan.session_cookies),
            tokens=_tokens(settings, plan, directory, known, http),
            records=records,
            leases=leases,
            audit=audit,
            now=now,
            alive=alive,
        )
    return brokers


def _tokens(
    settings: HandOff,
    plan: Plan,
    directory: Directory | None,
    known: Callable[[Identity], Awaitable[Account | None]],
    http: aiohttp.ClientSession,
) -> TokenSource | None:
    if settings.token is not None:
        return CalledTokens(settings.token, http)
    return DirectoryTokens(directory, known) if directory is not None and plan.needs_token else None
