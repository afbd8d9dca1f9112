"""The configuration's shape: one model a section; the attribute names are the YAML keys.

Durations are `timedelta`, sizes are bytes, secrets are `SecretStr`. Models are frozen and refuse unknown keys. Here is what
one value must be; what values must be together is in `consistency` and `safety`. Every key is explained in
`config/gateway.example.yaml`.
"""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, SecretStr, Tag

from gateway.config import addresses, values
from gateway.config.values import between


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    """The value stays as it was written; `parse` only refuses."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def _secret(value: SecretStr) -> SecretStr:
    # SECURITY: an empty secret is a door without a lock: an unset variable must stop the start (C-21).
    if not value.get_secret_value().strip():
        raise ValueError("is empty; allowed: the secret, as ${NAME} or file:PATH")
    return value


def _key(value: SecretStr) -> SecretStr:
    values.parse_key(value.get_secret_value())
    return SecretStr(value.get_secret_value().rstrip("="))


def _redis_url(value: SecretStr) -> SecretStr:
    return SecretStr(addresses.parse_redis_url(value.get_secret_value()))


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str | dict) else value


def _kind_of_entry(value: Any) -> str:
    return "pack" if isinstance(value, str) else "rule"


Duration = Annotated[timedelta, BeforeValidator(values.parse_duration)]
_SECOND, _DAY = timedelta(milliseconds=1), timedelta(days=1)
Wait = Annotated[Duration, AfterValidator(between(_SECOND, _DAY, "more than nothing, at most 1d"))]
Lasting = Annotated[Duration, AfterValidator(between(_SECOND, 400 * _DAY, "more than nothing, at most 400d"))]
Skew = Annotated[Duration, AfterValidator(between(0 * _DAY, timedelta(minutes=10), "0s to 10m"))]
Patience = Annotated[Duration, AfterValidator(between(_SECOND, timedelta(minutes=2), "more than nothing, at most 2m"))]
Size = Annotated[int, BeforeValidator(values.parse_size)]
HeadSize = Annotated[Size, AfterValidator(between(1024, 1024**2, "1KiB to 1MiB"))]
BodySize = Annotated[Size, AfterValidator(between(256, 16 * 1024**2, "256B to 16MiB"))]
Count = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(between(8, 10_000, "8 to 10000"))]
Crowd = Annotated[int, BeforeValidator(values.refuse_bool), AfterValidator(between(1, 1_000_000, "1 to 1000000"))]
Rate = Annotated[Size, AfterValidator(between(0, 1024**2, "0 to 1MiB, the bytes of one second"))]
Id = Annotated[
    int, BeforeValidator(values.refuse_bool), AfterValidator(between(1, 2**63, "the number of a record, 1 or more"))
]
Network = IPv4Network | IPv6Network
GivenNetwork = Annotated[Network, BeforeValidator(values.parse_network)]
Workers = Annotated[values.Workers, BeforeValidator(values.parse_workers)]
File = Annotated[Path, BeforeValidator(values.refuse_empty)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Key = Annotated[SecretStr, AfterValidator(_key)]
Name = Annotated[str, AfterValidator(values.parse_name)]
Route = Annotated[str, _checked(values.parse_route)]
Surface = Literal["portal", "dashboard", "shared"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Limits(Section):
    head: HeadSize = 64 * 1024
    headers: Count = 200
    watched_body: BodySize = 64 * 1024
    connections: Crowd = 10_000
    connections_per_address: Crowd = 2_000
    head_timeout: Wait = timedelta(seconds=30)
    idle_timeout: Wait = timedelta(seconds=75)
    minimum_rate: Rate = 240
    rate_window: Wait = timedelta(seconds=20)


class Tls(Section):
    certificate: File | None = None
    key: File | None = None


class RedisTls(Section):
    ca: File | None = None
    certificate: File | None = None
    key: File | None = None


class Redis(Section):
    url: Annotated[SecretStr, AfterValidator(_redis_url)] = SecretStr("embedded")  # a URL may hold a password
    data_dir: File | None = None
    key_prefix: Annotated[str, AfterValidator(values.parse_key_prefix)] = "doorward:"
    tls: RedisTls = RedisTls()


class ClaimNames(Section):
    subject: Name = "sub"
    email: Name = "email"
    name: Name = "name"
    groups: Name = "groups"
    preferred_username: Name = "preferred_username"


class OpenID(Section):
    enabled: bool = True
    create_users: bool = False
    prevent_password_login: bool = False
    prevent_dashboard_password_login: bool = False
    log_out_url: Annotated[str, _checked(addresses.parse_log_out_url)] | None = None
    authority_url: Annotated[str, AfterValidator(addresses.parse_authority)] = ""
    client_id: Annotated[str, AfterValidator(values.parse_client_id)] = ""
    client_secret: Secret | None = None
    unregistered_when_sso_only: Literal["create", "refuse"] | None = None
    client_authentication: Literal[
        "client_secret_basic", "client_secret_basic_raw", "client_secret_post", "private_key_jwt", "none"
    ] = "client_secret_basic"
    client_private_key: Secret | None = None
    scopes: tuple[Annotated[str, AfterValidator(values.parse_scope)], ...] = ("openid", "email", "profile")
    claims: ClaimNames = ClaimNames()
    require_verified_email: Literal["always", "when_present", "never"] = "when_present"
    clock_skew: Skew = timedelta(seconds=30)
    ca: File | None = None


class Require(Section):
    groups: tuple[Name, ...] = ()
    emails: tuple[Annotated[str, AfterValidator(values.parse_email)], ...] = ()
    email_domains: tuple[Annotated[str, AfterValidator(values.parse_domain)], ...] = ()


class Rule(Section):
    match: tuple[Route, ...]
    public: bool = False
    require: Require = Require()
    max_age: Lasting | None = None
    acr: tuple[Name, ...] = ()


class PasswordWhen(Section):
    """All that are given must hold: field name -> the value that is a password request, `*`: any but an empty one."""

    form: dict[str, str] = Field(default_factory=dict)
    json_: dict[str, str] = Field(default_factory=dict, alias="json")
    query: dict[str, str] = Field(default_factory=dict)
    header: dict[str, str] = Field(default_factory=dict)


class PasswordKnown(Section):
    """Field name -> the values that are no password request; any other value, and none at all, is refused."""

    form: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class PasswordRule(Section):
    match: Route
    when: PasswordWhen | None = None
    known: PasswordKnown = PasswordKnown()
    kind: Literal["password", "account", "passwordless", "enumeration"] = "password"
    answer: Literal["sign_in", "refuse"] = "refuse"
    reason: str = ""
    source: str = ""


class SessionLimits(Section):
    idle: Lasting = timedelta(hours=8)
    lifetime: Lasting = timedelta(days=7)


class Timeouts(Section):
    connect: Wait = timedelta(seconds=5)
    response_headers: Wait = timedelta(seconds=60)
    idle: Wait = timedelta(minutes=5)


class UpstreamTls(Section):
    ca: File | None = None
    server_name: Annotated[str, AfterValidator(values.parse_domain)] | None = None


PasswordEntry = Annotated[
    Annotated[str, AfterValidator(values.parse_pack_name), Tag("pack")] | Annotated[PasswordRule, Tag("rule")],
    Discriminator(_kind_of_entry),
]
HeaderName = Annotated[str, AfterValidator(values.parse_header_name)]
Template = Annotated[str, _checked(values.parse_template)]


class App(Section):
    surface: Surface = "portal"
    hosts: tuple[Annotated[str, AfterValidator(addresses.parse_host)], ...]
    # A lone URL becomes a tuple of one.
    upstream: Annotated[tuple[Annotated[str, AfterValidator(addresses.parse_upstream)], ...], BeforeValidator(_as_list)]
    unauthenticated: Literal["sign_in", "pass"] = "sign_in"
    cors_preflight: Literal["pass", "refuse"] = "refuse"
    websocket_origins: tuple[Annotated[str, AfterValidator(addresses.parse_origin)], ...] = ()
    public: tuple[Route, ...] = ()
    require: Require = Require()
    rules: tuple[Rule, ...] = ()
    session: SessionLimits = SessionLimits()
    # A lone pack name or a lone rule in YAML becomes a tuple of one.
    password_routes: Annotated[tuple[PasswordEntry, ...], BeforeValidator(_as_list)] = ()
    headers: dict[HeaderName, Template] = Field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    upstream_tls: UpstreamTls = UpstreamTls()


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


class Pages(Section):
    title: Annotated[str, AfterValidator(values.parse_title)] = "Sign in"
    logo: File | None = None


class Log(Section):
    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: bool = True
    pii: Literal["minimal", "full"] = "minimal"


class Config(Section):
    listen: Annotated[str, _checked(addresses.parse_listen)] = "127.0.0.1:4180"
    admin_listen: Annotated[str, _checked(addresses.parse_listen)] = "127.0.0.1:4181"
    external_url_scheme: Literal["https", "http"] = "https"
    allow_insecure_http: bool = False
    workers: Workers = "auto"
    trusted_proxies: tuple[GivenNetwork, ...] = ()
    listen_proxy_protocol: bool = False
    limits: Limits = Limits()
    tls: Tls = Tls()
    redis: Redis = Redis()
    keys: tuple[Key, ...] = ()
    openid: OpenID = OpenID()
    apps: dict[Annotated[str, AfterValidator(values.parse_app_name)], App]
    directory: Directory = Directory()
    pages: Pages = Pages()
    log: Log = Log()
