"""The `directory` section: the API that knows who is registered, and where accounts are created. `kind` chooses the model.

Every kind but `none` has the address of its API, what is done there (`mode`, `update`, `recheck`), the values of an account (`fields`,
`defaults`), and the number of calls (`budget`).
"""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from gateway.config import addresses, placeholders, values
from gateway.config.reading.directory_names import (
    parse_field_name,
    parse_nexudus_field,
    parse_nexudus_link,
    parse_scim_attribute,
)
from gateway.config.sections.directory_http import HttpAnswer, HttpHeader, HttpRequests, HttpStatuses, LinkValue
from gateway.config.sections.fields import File, Id, Name, Patience, Secret, Section, Tally

KINDS = ("nexudus", "scim", "http", "none")


def _parse_field(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("is not a value; allowed: a text with placeholders, a number, true or false")
    if isinstance(value, str):
        placeholders.parse(value)
    return value


FieldName = Annotated[str, AfterValidator(parse_field_name)]
FieldValue = Annotated[bool | int | float | str, BeforeValidator(_parse_field)]
Fields = dict[FieldName, FieldValue]
NexudusField = Annotated[str, AfterValidator(parse_nexudus_field)]
NexudusLink = Annotated[str, AfterValidator(parse_nexudus_link)]
Attribute = Annotated[str, AfterValidator(parse_scim_attribute)]


class Default(Section):
    """`fields` are values for what the claims leave out. The others select people: each list that is given must match with one entry."""

    groups: tuple[Name, ...] = ()
    email_domains: tuple[Annotated[str, AfterValidator(values.parse_domain)], ...] = ()
    apps: tuple[Name, ...] = ()
    fields: Fields = Field(default_factory=dict)


class NexudusDefault(Default):
    business_ids: tuple[Id, ...] = ()
    fields: dict[NexudusField, FieldValue] = Field(default_factory=dict)


class Budget(Section):
    """The calls of all gateways together; 0: no limit."""

    per_second: Tally = 0
    per_minute: Tally = 0
    per_hour: Tally = 0
    per_day: Tally = 0
    writes_per_minute: Tally = 0
    writes_per_day: Tally = 0


class NexudusBudget(Budget):
    """The vendor's limits."""

    per_second: Tally = 10
    per_minute: Tally = 120
    per_hour: Tally = 5000
    per_day: Tally = 200_000
    writes_per_minute: Tally = 60
    writes_per_day: Tally = 5000


class Remote(Section):
    """What every kind of directory but `none` has."""

    base_url: Annotated[str, AfterValidator(addresses.parse_web_url)]
    ca: File | None = None
    timeout: Patience = timedelta(seconds=10)
    mode: Literal["live", "shadow"] = "live"
    recheck: Literal["login", "refresh"] = "login"
    update: Literal["never", "at_login"] = "never"
    linked_elsewhere: Literal["refuse", "allow"] = "refuse"
    fields: Fields = Field(default_factory=dict)
    defaults: tuple[Default, ...] = ()
    budget: Budget = Budget()


class Nexudus(Remote):
    kind: Literal["nexudus"] = "nexudus"
    username: Name
    password: Secret
    business_ids: tuple[Id, ...]
    country_id: Id | None = None
    time_zone_id: Id | None = None
    create_login: bool = True
    link_field: NexudusLink | None = None
    link_value: LinkValue = "{link}"
    fields: dict[NexudusField, FieldValue] = Field(default_factory=dict)
    defaults: tuple[NexudusDefault, ...] = ()
    budget: NexudusBudget = NexudusBudget()


class Scim(Remote):
    kind: Literal["scim"] = "scim"
    token: Secret
    match: Attribute = "userName"
    link_field: Literal["externalId"] | None = "externalId"
    link_value: LinkValue = "{link}"
    fields: dict[Attribute, FieldValue] = Field(default_factory=dict)


class HttpApi(Remote):
    kind: Literal["http"] = "http"
    headers: dict[HttpHeader, Secret] = Field(default_factory=dict)
    username: Name | None = None
    password: Secret | None = None
    requests: HttpRequests
    answer: HttpAnswer
    statuses: HttpStatuses = HttpStatuses()


class NoDirectory(Section):
    """Every person of the provider counts as registered."""

    kind: Literal["none"] = "none"


def kind_of(section: Any) -> str:
    """The kind of a section. For what is no section it is `none`, whose model refuses it."""
    kind = section.get("kind", "none") if isinstance(section, dict) else getattr(section, "kind", "none")
    return kind if isinstance(kind, str) else ""


RemoteDirectory = Nexudus | Scim | HttpApi
Directory = Annotated[
    Annotated[Nexudus, Tag("nexudus")]
    | Annotated[Scim, Tag("scim")]
    | Annotated[HttpApi, Tag("http")]
    | Annotated[NoDirectory, Tag("none")],
    Discriminator(kind_of),
]
