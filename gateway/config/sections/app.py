"""One app of the `apps` section: its hosts, its upstream, who may do what there."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.config import addresses, values
from gateway.config.cors import CorsPreflights
from gateway.config.schemes import parse_scheme
from gateway.config.sections.bearer import BearerSettings, Programs
from gateway.config.sections.fields import (
    Age,
    Entry,
    File,
    HeadSize,
    Lasting,
    Name,
    Places,
    Section,
    Surface,
    Wait,
    checked,
)
from gateway.config.sections.hand_off import HandOff
from gateway.config.sections.pages import PageSettings
from gateway.config.sections.password_rules import PasswordEntry
from gateway.config.sections.responses import Responses


class Require(Section):
    groups: tuple[Name, ...] = ()
    emails: tuple[Annotated[str, AfterValidator(values.parse_email)], ...] = ()
    email_domains: tuple[Annotated[str, AfterValidator(values.parse_domain)], ...] = ()


class Rule(Section):
    name: Annotated[str, AfterValidator(values.parse_rule_name)] | None = None
    match: tuple[Entry, ...]
    public: bool = False
    require: Require = Require()
    max_age: Age | None = None
    acr: tuple[Name, ...] = ()
    programs: Programs | None = None  # None: the app's bearer.default
    scopes: tuple[Annotated[str, AfterValidator(values.parse_scope)], ...] = ()


class SessionLimits(Section):
    idle: Lasting = timedelta(hours=8)
    lifetime: Lasting = timedelta(days=7)
    max_per_person: Places | None = None
    when_full: Literal["newest_wins", "refuse"] | None = None  # None: newest_wins


class AssertionSettings(Section):
    groups: bool = True

    def kept(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Those of a person's groups that the assertion has, where it has groups."""
        return groups


class Timeouts(Section):
    connect: Wait = timedelta(seconds=5)
    response_headers: Wait = timedelta(seconds=60)
    idle: Wait = timedelta(minutes=5)


class UpstreamTls(Section):
    ca: File | None = None
    server_name: Annotated[str, AfterValidator(values.parse_domain)] | None = None


HeaderName = Annotated[str, AfterValidator(values.parse_header_name)]
ClientHeader = Annotated[str, AfterValidator(values.parse_client_header)]
Template = Annotated[str, checked(values.parse_template)]


HeaderNames = Literal["doorward", "oauth2-proxy", "both"]


class App(Section):
    surface: Surface = "portal"
    hosts: tuple[Annotated[str, AfterValidator(addresses.parse_host)], ...]
    upstream: tuple[Annotated[str, AfterValidator(addresses.parse_upstream)], ...]
    provider: Name | None = None
    providers: tuple[Name, ...] = ()
    unauthenticated: Literal["sign_in", "pass"] = "sign_in"
    cors_preflight: CorsPreflights = "refuse"
    upgrades: tuple[Annotated[str, AfterValidator(addresses.parse_upgrade)], ...] = ("websocket",)
    websocket_origins: tuple[Annotated[str, AfterValidator(addresses.parse_origin)], ...] = ()
    form_methods: Literal["read", "ignore"] = "read"
    # The kinds of servers whose readings of a path count (gateway/policy/servers.py). Empty: all.
    reads_like: tuple[Annotated[str, AfterValidator(values.parse_reader)], ...] = ()
    public: tuple[Entry, ...] = ()
    require: Require = Require()
    rules: tuple[Rule, ...] = ()
    bearer: BearerSettings | None = None
    session: SessionLimits = SessionLimits()
    password_routes: tuple[PasswordEntry, ...] = ()
    authorization_schemes: tuple[Annotated[str, AfterValidator(parse_scheme)], ...] = ()
    # The names under which the upstream gets the identity: X-Forwarded-User or X-Auth-Request-User, and the like.
    header_names: HeaderNames = "doorward"
    # Forward-auth answers with the client's cookies, without ours, for the other proxy to pass on.
    forward_auth_cookies: bool = False
    headers: dict[HeaderName, Template] = Field(default_factory=dict)
    identity_headers_limit: HeadSize = 4 * 1024
    assertion: AssertionSettings = AssertionSettings()
    # Fields that end here otherwise, by their exact names: a client may send them to this app.
    client_headers: tuple[ClientHeader, ...] = ()
    timeouts: Timeouts = Timeouts()
    upstream_tls: UpstreamTls = UpstreamTls()
    hand_off: HandOff | None = None
    responses: Responses = Responses()
    pages: PageSettings = PageSettings()
