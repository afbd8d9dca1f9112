"""The `directory` section: who is registered, and where people are created."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from gateway.config import addresses, values
from gateway.config.fields import Id, Name, Patience, Secret, Section


class Directory(Section):
    kind: Annotated[Literal["nexudus", "none"], BeforeValidator(values.parse_directory_kind)] = "none"
    base_url: Annotated[str, AfterValidator(addresses.parse_web_url)] | None = None
    username: Name | None = None
    password: Secret | None = None
    business_ids: tuple[Id, ...] = ()
    country_id: Id | None = None
    time_zone_id: Id | None = None
    create_login: bool = True
    timeout: Patience = timedelta(seconds=10)
