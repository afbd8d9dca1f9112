"""The annotated types that the sections are made of: what one value must be.

Durations are `timedelta`, sizes are in bytes, secrets are `SecretStr`.
"""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo, field_validator

from gateway.config import values
from gateway.config.values import between


def checked(parse: Callable[[str], object]) -> AfterValidator:
    """A validator that keeps the text as it is written, and refuses what `parse` refuses."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def _secret(value: SecretStr) -> SecretStr:
    # SECURITY: an empty secret protects nothing: an unset variable must stop the start (C-21).
    if not value.get_secret_value().strip():
        raise ValueError("is empty; allowed: the secret, as ${NAME} or file:PATH")
    return value


def _key(value: SecretStr) -> SecretStr:
    values.refuse_repetition(values.parse_key(value.get_secret_value()))
    return SecretStr(value.get_secret_value().rstrip("="))


Duration = Annotated[timedelta, BeforeValidator(values.parse_duration)]
_SECOND, _DAY = timedelta(milliseconds=1), timedelta(days=1)
Wait = Annotated[Duration, AfterValidator(between(_SECOND, _DAY, "more than nothing, at most 1d"))]
Lasting = Annotated[Duration, AfterValidator(between(_SECOND, 400 * _DAY, "more than nothing, at most 400d"))]
Age = Annotated[Duration, AfterValidator(between(timedelta(seconds=1), 400 * _DAY, "1s to 400d"))]
Skew = Annotated[Duration, AfterValidator(between(0 * _DAY, timedelta(minutes=10), "0s to 10m"))]
Notice = Annotated[Duration, AfterValidator(between(0 * _DAY, timedelta(minutes=10), "0s to 10m"))]
Patience = Annotated[Duration, AfterValidator(between(_SECOND, timedelta(minutes=2), "more than nothing, at most 2m"))]
Size = Annotated[int, BeforeValidator(values.parse_size)]
HeadSize = Annotated[Size, AfterValidator(between(1024, 1024**2, "1KiB to 1MiB"))]
BodySize = Annotated[Size, AfterValidator(between(256, 16 * 1024**2, "256B to 16MiB"))]
LogQueue = Annotated[Size, AfterValidator(between(16 * 1024, 1024**3, "16KiB to 1GiB"))]
Count = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(between(8, 10_000, "8 to 10000"))]
ConnectionCount = Annotated[
    int, BeforeValidator(values.refuse_bool), AfterValidator(between(1, 1_000_000, "1 to 1000000"))
]
Places = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(between(1, 1000, "1 to 1000"))]
Tally = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(between(0, 10**9, "0 to 1000000000"))]
Rate = Annotated[Size, AfterValidator(between(0, 1024**2, "0 to 1MiB, the bytes of one second"))]
PerMinute = Annotated[
    int, BeforeValidator(values.parse_per_minute), AfterValidator(between(1, 1_000_000, "1/min to 1000000/min"))
]
Id = Annotated[
    int, BeforeValidator(values.refuse_bool), AfterValidator(between(1, 2**63, "the number of a record, 1 or more"))
]
Network = IPv4Network | IPv6Network
GivenNetwork = Annotated[Network, BeforeValidator(values.parse_network)]
Mode = Annotated[int, BeforeValidator(values.parse_mode)]
Workers = Annotated[values.Workers, BeforeValidator(values.parse_workers)]
File = Annotated[Path, BeforeValidator(values.refuse_empty)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Key = Annotated[SecretStr, AfterValidator(_key)]
Name = Annotated[str, AfterValidator(values.parse_name)]
Route = Annotated[str, checked(values.parse_route)]
Entry = Annotated[str, checked(values.parse_entry)]
Surface = Literal["portal", "dashboard", "shared"]


class Section(BaseModel):
    """A section of the file: frozen, without unknown keys, and without values in its errors; one value may stand for a list of one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def as_list(cls, value: object, info: ValidationInfo) -> object:
        """A lone value as a list of one, wherever a list is allowed; anything else as it is."""
        listed = get_origin(cls.model_fields[str(info.field_name)].annotation) is tuple
        return (value,) if listed and value is not None and not isinstance(value, list | tuple) else value
