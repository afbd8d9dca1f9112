"""Sessions, key rings and stores as the tests of this folder need them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import fields
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.identity.claims import Identity
from gateway.observability.counters import Durations
from gateway.proxy.identity_fields import specimen
from gateway.redis_client.client import SingleSource, connect
from gateway.redis_client.connection_factory import ConnectionFactory
from gateway.redis_client.invalidation import Sources
from gateway.redis_client.routed_client import RoutedClient
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore

HOST = "portal.example.com"
APP = "portal"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ISSUER = "https://login.example.com/"
KEY = "9W0mY3pVvT1cQk7XJb2sRz8dLhNfUoAe4iGxKqCw5tE"


def a_person(subject: str = "sub-7f3a", **changes: Any) -> Identity:
    return Identity(
        issuer=ISSUER, subject=subject, **{"email": f"{subject}@members.example", "groups": ("staff",), **changes}
    )


def a_session(subject: str = "sub-7f3a", **changes: Any) -> Session:
    fields: dict[str, Any] = {
        "key_host": HOST,
        "app": APP,
        "sid": SessionStore.new_sid(),
        "identity": a_person(subject),
        "provider_sid": "provider-sid-1",
        "auth_time": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        "acr": "urn:example:silver",
        "created_at": datetime.now(UTC),
        "idle": timedelta(hours=8),
        "lifetime": timedelta(days=7),
        "id_token": "eyJ.id-token.secret",
        "access_token": "access-token-secret",
        "refresh_token": "refresh-token-secret",
    }
    return Session(**{**fields, **changes})


def with_every_field(**changes: Any) -> Session:
    """A session of which every field, and every field of its identity, has a value that its default is not."""
    kinds = {"str": "{}", "datetime": NOON, "timedelta": HOUR, "bool": True, "int": 7}
    values: dict[str, Any] = {"identity": specimen()}
    for field in fields(Session):
        kind = str(field.type).removesuffix(" | None") if not isinstance(field.type, type) else field.type.__name__
        value = values.setdefault(field.name, kinds.get(kind.rpartition(".")[2]))
        values[field.name] = value.format(f"{field.name} %\u00eb") if isinstance(value, str) else value
    return Session(**{**values, "key_host": HOST, "app": APP, "created_at": datetime.now(UTC), **changes})


def a_store(
    redis: Redis, prefix: str, now: Callable[[], datetime] | None = None, keys: tuple[str, ...] = (KEY,)
) -> SessionStore:
    return SessionStore(redis, KeyRing(keys), prefix, now or (lambda: datetime.now(UTC)))


def settings(url: str) -> schema.Redis:
    return schema.Redis(url=SecretStr(url))


def a_client(url: str, pool_size: int = 8) -> Redis:
    return connect(settings(url), pool_size=pool_size, durations=Durations())


def a_fleet(url: str) -> RoutedClient:
    client = a_client(url)
    assert isinstance(client, RoutedClient)
    return client


def push_connections(url: str) -> Sources:
    """Who announces changes, for caches of stores that use other clients of the same server."""
    return SingleSource(ConnectionFactory(settings(url)), a_client(url))
