"""The `redis` section: where sessions are kept."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from gateway.config import addresses, values
from gateway.config.fields import File, Section


def _redis_url(value: SecretStr) -> SecretStr:
    return SecretStr(addresses.parse_redis_url(value.get_secret_value()))


class RedisTls(Section):
    ca: File | None = None
    certificate: File | None = None
    key: File | None = None


class Redis(Section):
    url: Annotated[SecretStr, AfterValidator(_redis_url)] = SecretStr("embedded")  # a URL may hold a password
    data_dir: File | None = None
    key_prefix: Annotated[str, AfterValidator(values.parse_key_prefix)] = "doorward:"
    tls: RedisTls = RedisTls()
