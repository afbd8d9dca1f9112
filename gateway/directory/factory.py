"""The directory of the configured kind and its provisioner, built from their parts."""

import time
from collections.abc import Callable
from datetime import datetime

import aiohttp
from redis.asyncio import Redis

from gateway.config import schema
from gateway.directory.account import Directory
from gateway.directory.account_links import AccountLinks, realm_of
from gateway.directory.api.breaker import Breaker
from gateway.directory.api.budget import CallBudget
from gateway.directory.api.calls import ApiTransport, Planned
from gateway.directory.backends.http_api import HttpDirectory
from gateway.directory.backends.nexudus import NexudusDirectory
from gateway.directory.backends.scim import ScimDirectory
from gateway.directory.creation_markers import CreationMarkers
from gateway.directory.provisioner import Provisioner, ProvisioningPolicy
from gateway.observability.counters import Durations
from gateway.observability.events import Audit
from gateway.redis_client.leases import Leases
from gateway.sessions.keyring import KeyRing


def backend(settings: schema.RemoteDirectory, transport: ApiTransport) -> Directory:
    """The Directory of the configured kind."""
    if isinstance(settings, schema.Nexudus):
        return NexudusDirectory(settings, transport)
    if isinstance(settings, schema.Scim):
        return ScimDirectory(settings, transport)
    return HttpDirectory(settings, transport)


def open_directory(
    settings: schema.Directory,
    http: aiohttp.ClientSession,
    redis: Redis | None = None,
    prefix: str = "",
    *,
    hold_writes: bool = False,
    watch: Callable[[Planned], None] | None = None,
    durations: Durations | None = None,
) -> Directory | None:
    """The directory; None for `kind: none`. Without `redis` no call is counted in the budget that all workers share.

    `hold_writes`: a dry run. `watch` is called with every call before it is sent. `durations`: where calls are timed.
    """
    if isinstance(settings, schema.NoDirectory):
        return None
    budget = None
    if redis is not None and any(settings.budget.model_dump().values()):
        budget = CallBudget(redis, prefix, _realm(settings), settings.budget)
    held = hold_writes or settings.mode == "shadow"
    breaker = Breaker(time.monotonic)
    transport = ApiTransport(
        http=http, budget=budget, breaker=breaker, hold_writes=held, watch=watch, durations=durations or Durations()
    )
    return backend(settings, transport)


def open_links(settings: schema.RemoteDirectory, redis: Redis, prefix: str, ring: KeyRing) -> AccountLinks:
    """The links of the accounts of this directory."""
    return AccountLinks(redis, prefix, ring, _realm(settings))


def open_provisioner(
    settings: schema.Directory,
    directory: Directory | None,
    redis: Redis,
    prefix: str,
    ring: KeyRing,
    audit: Audit,
    now: Callable[[], datetime],
) -> Provisioner:
    """The provisioner; one without a directory for `kind: none`."""
    remote = None if isinstance(settings, schema.NoDirectory) else settings
    policy = ProvisioningPolicy() if remote is None else policy_of(remote)
    links = AccountLinks(redis, prefix, ring, "none" if remote is None else _realm(remote))
    leases = Leases(redis, prefix, time.monotonic)
    return Provisioner(
        directory, leases, audit, markers=CreationMarkers(redis, prefix), links=links, policy=policy, now=now
    )


def policy_of(settings: schema.RemoteDirectory) -> ProvisioningPolicy:
    """The settings that concern every kind of directory."""
    return ProvisioningPolicy(
        timeout=settings.timeout,
        shared=settings.linked_elsewhere == "allow",
        update=settings.update == "at_login",
    )


def _realm(settings: schema.RemoteDirectory) -> str:
    return realm_of(settings.kind, settings.base_url)
