"""The root model of the configuration, and the sections as other packages import them. The attribute names are the YAML keys.

Models are frozen and refuse unknown keys. `sections.fields` defines what one value must be, `checks` what several values must be together.
`config/gateway.example.yaml` explains every key.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.config import addresses, values
from gateway.config.cors import CorsPreflight
from gateway.config.sections.app import App, AssertionSettings, Require, Rule, SessionLimits, Timeouts, UpstreamTls
from gateway.config.sections.bearer import BearerSettings, Introspection
from gateway.config.sections.console import Console, ConsoleRole, ConsoleRoles, ConsoleView
from gateway.config.sections.directory import (
    Budget,
    Default,
    Directory,
    HttpApi,
    Nexudus,
    NexudusDefault,
    NoDirectory,
    Remote,
    RemoteDirectory,
    Scim,
)
from gateway.config.sections.directory_http import HttpAnswer, HttpRequest, HttpRequests, HttpStatuses
from gateway.config.sections.fields import (
    BodySize,
    ConnectionCount,
    Count,
    File,
    GivenNetwork,
    HeadSize,
    Key,
    LogQueue,
    Mode,
    Network,
    Notice,
    PerMinute,
    Rate,
    Section,
    Surface,
    Wait,
    Workers,
    checked,
)
from gateway.config.sections.openid import ClaimNames, OpenID, ProviderKeys
from gateway.config.sections.pages import PageSettings
from gateway.config.sections.password_rules import PackFile, PackRule, PasswordKnown, PasswordRule, PasswordWhen
from gateway.config.sections.redis import Redis, RedisSentinel, RedisTls


class Shutdown(Section):
    notice: Notice = timedelta(0)
    drain: Wait = timedelta(seconds=30)


__all__ = [
    "App",
    "AssertionSettings",
    "BearerSettings",
    "Budget",
    "ClaimNames",
    "Config",
    "Console",
    "ConsoleRole",
    "ConsoleRoles",
    "ConsoleView",
    "CorsPreflight",
    "Default",
    "Directory",
    "HttpAnswer",
    "HttpApi",
    "HttpRequest",
    "HttpRequests",
    "HttpStatuses",
    "Introspection",
    "Limits",
    "Log",
    "Network",
    "Nexudus",
    "NexudusDefault",
    "NoDirectory",
    "OpenID",
    "PackFile",
    "PackRule",
    "PageSettings",
    "PasswordKnown",
    "PasswordRule",
    "PasswordWhen",
    "ProviderKeys",
    "Redis",
    "RedisSentinel",
    "RedisTls",
    "Remote",
    "RemoteDirectory",
    "Require",
    "Rule",
    "Scim",
    "Section",
    "SessionLimits",
    "Shutdown",
    "Surface",
    "Timeouts",
    "Tls",
    "UpstreamTls",
]


class Limits(Section):
    head: HeadSize = 64 * 1024
    headers: Count = 200
    watched_body: BodySize = 64 * 1024
    connections: ConnectionCount = 10_000
    connections_per_address: ConnectionCount = 2_000
    head_timeout: Wait = timedelta(seconds=30)
    idle_timeout: Wait = timedelta(seconds=75)
    minimum_rate: Rate = 240
    rate_window: Wait = timedelta(seconds=20)
    failed_callbacks_per_address: PerMinute = 120
    pushed_requests_per_address: PerMinute = 120


class Tls(Section):
    certificate: File | None = None
    key: File | None = None


class Log(Section):
    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: bool = True
    access_fields: tuple[Literal["user", "host", "agent"], ...] = ()
    queue: LogQueue = 4 * 1024**2
    pii: Literal["minimal", "full"] = "minimal"


class Config(Section):
    listen: Annotated[str, checked(addresses.parse_listen)] = "127.0.0.1:4180"
    admin_listen: Annotated[str, checked(addresses.parse_listen)] = "127.0.0.1:4181"
    listen_mode: Mode = 0o660
    external_url_scheme: Literal["https", "http"] = "https"
    allow_insecure_http: bool = False
    workers: Workers = "auto"
    trusted_proxies: tuple[GivenNetwork, ...] = ()
    # Fields that come from no client, by their exact names: what these proxies say in them reaches the applications.
    trusted_headers: tuple[Annotated[str, AfterValidator(values.parse_trusted_header)], ...] = ()
    listen_proxy_protocol: bool = False
    limits: Limits = Limits()
    tls: Tls = Tls()
    shutdown: Shutdown = Shutdown()
    redis: Redis = Redis()
    keys: tuple[Key, ...] = ()
    openid: OpenID = OpenID()
    providers: dict[Annotated[str, AfterValidator(values.parse_provider_name)], ProviderKeys] = Field(
        default_factory=dict
    )
    apps: dict[Annotated[str, AfterValidator(values.parse_app_name)], App]
    directory: Directory = NoDirectory()
    console: Console | None = None
    pages: PageSettings = PageSettings()
    log: Log = Log()

    @property
    def has_sign_in(self) -> bool:
        """Whether a person can sign in: to the applications, or to the console, which `openid.enabled` does not concern."""
        return self.openid.enabled or self.console is not None
