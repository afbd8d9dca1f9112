"""What is unsafe in a configuration: `refusals` refuses it unless it is allowed by name, `warnings` describes it at every start.

Each warning begins with its key. Pure.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from gateway.config import schema
from gateway.config.addresses import host_name, is_insecure, is_loopback_name, parse_listen
from gateway.config.checks import bearer
from gateway.config.checks.consistency import opens_every_path
from gateway.config.checks.requirements import requires
from gateway.config.field_names import meaning_of
from gateway.config.providers import key_of, offered, offered_by_app, providers_of
from gateway.config.reading.problems import Finding
from gateway.config.redis_url import parse_redis_url
from gateway.config.schema import App, Config
from gateway.config.sections.directory_http import texts_of
from gateway.config.toggles import password_routes_closed, refused_by_omission
from gateway.config.values import parse_entry, parse_template

#: The claims of OpenID Connect Core 5.1 that describe a person, and the objects in which providers let people keep their own settings.
_WRITTEN_BY_PEOPLE: Final = frozenset(
    {
        "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "email",
        "gender", "birthdate", "zoneinfo", "locale", "phone_number", "address", "user_metadata", "unsafe_metadata",
    }
)  # fmt: skip
_BY_NAME = "allowed: https, a loopback name, or allow_insecure_http: true"
_NEXUDUS_CLIENT: Final = "client_id"  # POST /api/token: the refresh token belongs to the client that this field names


def rotation_warnings(old: Sequence[SecretStr], new: Sequence[SecretStr]) -> Iterator[str]:
    """What a change of `keys` breaks, one line each; nothing for a safe step of a rotation. No line contains a key."""
    before, after = [key.get_secret_value() for key in old], [key.get_secret_value() for key in new]
    if not before or not after:
        return
    if after[0] not in before:
        yield (
            "keys[0] is new: gateways that do not have it yet see no session in what it encrypts, and applications that keep the "
            "published keys refuse what it signs; a new key goes last first, and to the front when every gateway has it"
        )
    if before[0] not in after:
        yield (
            "the key that encrypted and signed until now is gone from keys: its sessions have ended, and assertions of the last "
            "five minutes cannot be verified any more; an old key stays behind the new one until `doorward keys status` counts 0 for it"
        )


def refusals(config: Config) -> Iterator[Finding]:
    """Unsafe combinations that must be allowed by name."""
    if config.allow_insecure_http:
        return
    if config.external_url_scheme == "http":
        hosts = {f"apps.{name}.hosts": app.hosts for name, app in config.apps.items()}
        hosts |= {"console.hosts": config.console.hosts} if config.console is not None else {}
        for key, names in hosts.items():
            foreign = [index for index, host in enumerate(names) if not is_loopback_name(host_name(host))]
            if foreign:
                place = f"{key}[{foreign[0]}]"
                what = f"is http, but {place} is not a loopback name: sessions could be read on the way"
                reads = (place, "allow_insecure_http")
                yield Finding(key="external_url_scheme", what=what, allowed=_BY_NAME, reads=reads)
                break
    directory = None if config.directory.kind == "none" else config.directory.base_url
    urls = {"directory.base_url": directory}
    for name, provider in providers_of(config).items():
        urls |= {f"{key_of(name)}.{key}": getattr(provider, key) for key in ("authority_url", "log_out_url")}
    for key, url in urls.items():
        if url and is_insecure(url):
            what = "is http to another machine: responses can be replaced on the way"
            yield Finding(key=key, what=what, allowed=_BY_NAME, reads=("allow_insecure_http",))


def warnings(config: Config) -> tuple[str, ...]:
    """What is allowed and unsafe, one line each."""
    return (
        *_transport(config),
        *_stores(config),
        *_people(config),
        *_apps(config),
        *bearer.warnings(config),
        *_methods(config),
        *_blanks("", config),
    )


def _transport(config: Config) -> Iterator[str]:
    listen, admin = parse_listen(config.listen), parse_listen(config.admin_listen)
    if not admin.on_loopback:
        yield "admin_listen: is not on loopback; health and metrics are open to every machine that reaches it"
    if listen.path is not None and config.listen_mode & 0o002:
        yield "listen_mode: every user of this machine may connect to the socket, as 127.0.0.1"
    if config.allow_insecure_http:
        yield "allow_insecure_http: is on; http is accepted where sessions, tokens and passwords can be read on the way"
    if config.external_url_scheme == "http":
        yield "external_url_scheme: is http; session cookies carry neither Secure nor the __Host- prefix"
    elif config.tls.certificate is None and not listen.on_loopback:
        yield (
            "listen: takes plain http from other machines although browsers use https; only the TLS proxy in front "
            "may be able to reach it"
        )
    if config.external_url_scheme == "https" and config.tls.certificate is None and not config.trusted_proxies:
        yield (
            "trusted_proxies: is empty although something in front ends TLS; its X-Forwarded-For is ignored, and every "
            "client appears with the proxy's address"
        )
    if any(network.prefixlen == 0 for network in config.trusted_proxies):
        yield "trusted_proxies: trusts every address; anyone can claim any client address and ask for forward-auth"


def _stores(config: Config) -> Iterator[str]:
    url = parse_redis_url(config.redis.url.get_secret_value())
    edited = config.console is not None and config.console.settings == "edit"
    if url.kind == "embedded" and config.redis.data_dir is None:
        saved = ", and all settings that were saved in the console" if edited else ""
        yield f"redis.data_dir: is not given; the embedded store forgets all sessions at a restart{saved}"
    elif edited and config.redis.data_dir is None:
        yield "redis.data_dir: is not given; without a copy of what is saved in the console, a start waits for Redis"
    if not url.tls and not all(is_loopback_name(host) for host, _ in url.hosts):
        yield "redis.url: uses no TLS to another machine"
    if url.kind == "cluster" and re.search(r"\{[^}]+\}", config.redis.key_prefix):
        yield "redis.key_prefix: has a hash tag {...}; the whole cluster's work falls to one node"
    if config.redis.outage:
        yield (
            "redis.outage: is serve_cached; while Redis is away a session that was ended elsewhere is honoured for up to "
            f"{config.redis.outage.total_seconds():.0f} s"
        )
    for index, key in enumerate(config.keys):
        if len(set(base64.urlsafe_b64decode(key.get_secret_value() + "="))) < 16:
            yield f"keys[{index}]: does not look random; `doorward keys new` makes one that is"
    if config.log.pii == "full":
        yield "log.pii: is full; e-mail addresses are written to the log"
    if config.log.level == "debug":
        yield "log.level: is debug; far more is written than is needed in production"


def _people(config: Config) -> Iterator[str]:
    openid = config.openid
    if not openid.enabled:
        where = "to an app, every request" if config.console is not None else "in, every request"
        yield f"openid.enabled: is off; no person signs {where} passes without identity"
        return
    yield from _providers(config)
    yield from _toggles(config)
    if openid.create_users and config.directory.kind == "none":
        yield "openid.create_users: is on, but directory.kind is none; no account is created, every person counts as registered"
    directory = config.directory
    if directory.kind != "none" and directory.mode == "shadow":
        yield "directory.mode: is shadow; no account is created or changed, and a new person comes in without one"
    if directory.kind != "none" and directory.linked_elsewhere == "allow":
        yield "directory.linked_elsewhere: is allow; a person with another person's e-mail address at a provider gets that person's account"
    yield from _links(directory)
    if refused_by_omission(config):
        yield (
            "openid.unregistered_when_sso_only: is left out while create_users and prevent_password_login are both on; "
            "unregistered people are refused, as the settings page says (create lets them in)"
        )


def _toggles(config: Config) -> Iterator[str]:
    """Toggles of a surface that no app has."""
    surfaces = {app.surface for app in config.apps.values()}
    for toggle, surface in (("prevent_password_login", "portal"), ("prevent_dashboard_password_login", "dashboard")):
        if getattr(config.openid, toggle) and not surfaces & {surface, "shared"}:
            yield f"openid.{toggle}: is on, but no app has surface {surface} or shared; it closes no password route"


def _blanks(key: str, value: object) -> Iterator[str]:
    """Secrets with blanks at their ends; a PEM key and a JWK may have them."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        if text != text.strip() and not text.strip().startswith(("-----BEGIN ", "{")):
            yield f"{key}: begins or ends with a blank or a new line, which is part of the secret; most copies of it have none there"
    elif isinstance(value, schema.Section):
        for name, field in type(value).model_fields.items():
            yield from _blanks(f"{key}.{field.alias or name}".lstrip("."), getattr(value, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _blanks(f"{key}.{name}", inner)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _blanks(f"{key}[{index}]", inner)


def _links(directory: schema.Directory) -> Iterator[str]:
    """Requests that name an account's person in another form than `link_value`, or not at all."""
    if not isinstance(directory, schema.HttpApi) or directory.answer.link is None:
        return
    wanted = directory.answer.link_value
    kept = {wanted, *(f"{{fields.{name}}}" for name, text in directory.fields.items() if text == wanted)}
    create, look_up = directory.requests.create, directory.requests.find_linked
    if create is not None and not any(form in text for text in texts_of(create) for form in kept):
        yield (
            f"directory.requests.create: does not send answer.link_value ({wanted}); a new account does not name its person, or "
            "in another form, and is refused to them"
        )
    if look_up is not None and not any(wanted in re.sub(r":[ds]quote\}", "}", text) for text in texts_of(look_up)):
        yield f"directory.requests.find_linked: does not ask for answer.link_value ({wanted}); no account is found by it"


def _providers(config: Config) -> Iterator[str]:
    known = providers_of(config)
    used = {name for names in offered_by_app(config).values() for name in names}
    used |= {*offered(config, config.console)} if config.console is not None else set()
    vouching: dict[str, list[str]] = {}
    for name, provider in known.items():
        key = key_of(name)
        if provider.client_authentication == "none":
            yield f"{key}.client_authentication: is none; the provider cannot tell this gateway from another client"
        if provider.require_verified_email == "never":
            yield f"{key}.require_verified_email: is never; a person who types an address at the provider is taken for its owner"
        yield from _claims(key, provider)
        for domain in sorted({name.lower() for name in provider.verified_email_domains}):
            vouching.setdefault(domain, []).append(key)
        if len(known) > 1 and not provider.email_domains:
            yield (
                f"{key}.email_domains: is empty; this provider is believed about every address, also about those of people "
                "who sign in at another one"
            )
        if name not in used:
            yield f"{key}: is offered by no app; no person signs in there"
    for domain, keys in vouching.items():
        if len(keys) > 1:
            yield (
                f"{keys[1]}.verified_email_domains: has {domain}, and so has {keys[0]}; each of the two can name people of the other's"
            )


def _claims(key: str, provider: schema.ProviderKeys) -> Iterator[str]:
    """Claims that say less than their places in `claims` promise."""
    if provider.claims.email != "email" and not provider.verified_email_domains:
        yield (
            f"{key}.claims.email: is {provider.claims.email}, which no provider verifies; such an address finds no account, "
            "meets no require and is in no header, unless verified_email_domains names its domain"
        )
    if any(way[0] in _WRITTEN_BY_PEOPLE for way in provider.claims.groups.ways):
        yield (
            f"{key}.claims.groups: is {provider.claims.groups}, which people can write themselves at many providers, "
            "and so put themselves into any group"
        )


def _apps(config: Config) -> Iterator[str]:
    for name, app in config.apps.items():
        key = f"apps.{name}"
        if password_routes_closed(config.openid, app.surface) and not app.password_routes:
            yield f"{key}.password_routes: is empty although passwords are prevented; only HTTP Basic and its like are refused"
        yield from _client_headers(key, app)
        if _opens_everything(app):
            yield f"{key}.public: opens every path to every client"
        yield from _cors(f"{key}.cors_preflight", app)
        if app.surface == "dashboard" and config.openid.enabled and not requires(app.require):
            if app.unauthenticated == "pass":
                yield f"{key}.unauthenticated: is pass on a dashboard without require; every client reaches it without signing in"
            else:
                yield f"{key}.require: is empty; everyone whom the provider knows reaches this dashboard"
        named = any(place.startswith("directory.") for text in app.headers.values() for place in parse_template(text))
        if named and (app.surface == "dashboard" or config.directory.kind == "none"):
            yield f"{key}.headers: asks for {{directory...}}, which is never known here; those headers are left out"


def _client_headers(key: str, app: App) -> Iterator[str]:
    nexudus = "nexudus" in app.password_routes
    if nexudus and app.surface != "dashboard" and _NEXUDUS_CLIENT not in (name.lower() for name in app.client_headers):
        yield f"{key}.client_headers: is without {_NEXUDUS_CLIENT}, with which pages of Nexudus renew their tokens; without it that fails"
    for index, name in enumerate(app.client_headers):
        if nexudus and name.lower() == _NEXUDUS_CLIENT:
            continue
        place, odd = f"{key}.client_headers[{index}]", not name.replace("-", "a").isalnum()
        meaning = meaning_of(name.lower())
        if meaning is not None:
            yield f"{place}: lets any client send {name}, by which others tell an application {meaning.value}"
        elif odd:
            yield f"{place}: lets any client send {name}, which some servers take for another field or a variable of their own"
        else:
            yield f"{place}: names {name}, which travels anyway"


def _opens_everything(app: App) -> bool:
    routes = [*app.public, *(text for rule in app.rules if rule.public for text in rule.match)]
    return opens_every_path(app, "GET") or any(parse_entry(text)[1] == "/**" for text in routes)


def _methods(config: Config) -> Iterator[str]:
    """Rules that a method override in a form would bypass (B-35)."""
    for name, app in config.apps.items():
        for place, rule in enumerate(app.rules if app.form_methods == "ignore" else ()):
            named = [parse_entry(text)[0] for text in rule.match]
            if any(methods & {"PUT", "PATCH", "DELETE"} and "POST" not in methods for methods in named):
                yield (
                    f"apps.{name}.rules[{place}]: names PUT, PATCH or DELETE and not POST, and form_methods is ignore; an upstream "
                    "that takes _method from a form would let a POST do the same"
                )


def _cors(key: str, app: schema.App) -> Iterator[str]:
    cors = app.cors_preflight
    if not isinstance(cors, schema.CorsPreflight):
        return
    if "*" in cors.allow_origins:
        yield f"{key}.allow_origins: is *; pages of every site may ask, and read what strangers get"
    for origin in cors.allow_origins:
        parts = urlsplit(origin)
        if cors.allow_credentials and parts.scheme == "http" and not is_loopback_name(parts.hostname or ""):
            yield f"{key}.allow_origins: names {origin} together with allow_credentials; on http any machine on the way is that origin"
