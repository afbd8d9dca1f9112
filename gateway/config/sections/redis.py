"""The `redis` section: where sessions are kept."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from gateway.config import values
from gateway.config.redis_url import parse_redis_url
from gateway.config.sections.fields import File, Secret, Section
from gateway.config.values import parse_duration


def _redis_url(value: SecretStr) -> SecretStr:
    parse_redis_url(value.get_secret_value())
    return value


def parse_outage(value: object) -> object:
    """How long cached sessions are served while Redis is away: zero for `refuse`, 5 minutes for `serve_cached for 5m`. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"refuse|serve_cached for (\S+)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a policy; allowed: refuse, or serve_cached for a time, as serve_cached for 5m")
    if match[1] is None:
        return timedelta(0)
    try:
        lasting = parse_duration(match[1])
    except ValueError:
        lasting = None
    if not isinstance(lasting, timedelta) or not timedelta(seconds=1) <= lasting <= timedelta(days=1):
        raise ValueError("names a time that cannot be used; allowed: serve_cached for 1s up to 1d, as 5m")
    return lasting


class RedisTls(Section):
    ca: File | None = None
    certificate: File | None = None
    key: File | None = None


class RedisSentinel(Section):
    """The sentinels' own user and password; those of the Redis servers are in the URL."""

    username: str | None = None
    password: Secret | None = None


class Redis(Section):
    url: Annotated[SecretStr, AfterValidator(_redis_url)] = SecretStr("embedded")  # a URL may hold a password
    data_dir: File | None = None
    key_prefix: Annotated[str, AfterValidator(values.parse_key_prefix)] = "doorward:"
    tls: RedisTls = RedisTls()
    sentinel: RedisSentinel = RedisSentinel()
    outage: Annotated[timedelta, BeforeValidator(parse_outage)] = timedelta(0)  # none: refuse

    @property
    def is_embedded(self) -> bool:
        return self.url.get_secret_value() == "embedded"
