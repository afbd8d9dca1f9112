"""Keys that need, exclude or repeat each other.

Each function checks one section of a whole configuration and yields findings. Pure.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final
from urllib.parse import parse_qsl

from gateway.config import providers
from gateway.config.addresses import canonical_host, covers_every_address, is_insecure, parse_listen
from gateway.config.checks import bearer, client_authentication, console, directory_rules
from gateway.config.checks.requirements import empty_lists, requires, restricts_persons
from gateway.config.reading.problems import Finding
from gateway.config.redis_url import parse_redis_url
from gateway.config.schema import (
    App,
    Config,
    CorsPreflight,
    Directory,
    HttpApi,
    Nexudus,
    PackFile,
    PasswordRule,
    Rule,
)
from gateway.config.sections.hand_off import Call, HandOff, Redemption
from gateway.config.values import WEBSOCKET, normalise_header, parse_entry

#: Methods that applications know: with all of them open, nothing of use is left to a `require`.
_USUAL: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def hand_off_findings(config: Config) -> Iterator[Finding]:
    """Everything that contradicts itself in `hand_off` of the apps."""
    for name, app in config.apps.items():
        place = f"apps.{name}.hand_off"
        if app.hand_off is None:
            continue
        if not config.openid.enabled:
            what = "is given, but openid.enabled is off and no person signs in"
            yield Finding(key=place, what=what, allowed="allowed: with openid.enabled", reads=("openid.enabled",))
        yield from _session(place, app, app.hand_off)
        yield from _requests(place, app.hand_off)
        yield from _token(place, config, app.hand_off)


def _session(place: str, app: App, given: HandOff) -> Iterator[Finding]:
    if given.via != "bearer" and not given.session_cookies:
        what = f"is empty, and via is {given.via}"
        allowed = "allowed: the names of the cookies that hold the upstream's session, as [ASP.NET_SessionId]"
        yield Finding(key=f"{place}.session_cookies", what=what, allowed=allowed, reads=(f"{place}.via",))
    both = sorted({*given.session_cookies} & {*app.responses.drop_cookies})
    if both:
        what = f"names {both[0]}, which responses.drop_cookies takes away"
        reads = (f"apps.{place.split('.')[1]}.responses.drop_cookies",)
        yield Finding(key=f"{place}.session_cookies", what=what, allowed="allowed: in one of them", reads=reads)
    if given.kind == "http" and given.via != "bearer" and not given.login_pages and not given.on_401:
        what = "is empty, and on_401 is off: no response shows that the upstream's session has ended"
        allowed = "allowed: the paths of its login page, as [/login]"
        yield Finding(key=f"{place}.login_pages", what=what, allowed=allowed, reads=(f"{place}.on_401",))


def _requests(place: str, given: HandOff) -> Iterator[Finding]:
    calls: dict[str, Call | None] = {"token": given.token, "redeem": given.redeem}
    for name, call in calls.items():
        if call is not None and call.form is not None and call.json_ is not None:
            yield Finding(key=f"{place}.{name}", what="has form and json", allowed="allowed: one of them")
        if call is not None and call.method == "GET" and (call.form is not None or call.json_ is not None):
            yield Finding(key=f"{place}.{name}.method", what="is GET, with a body", allowed="allowed: POST or PUT")
    if given.redeem is None:
        if given.kind == "http":
            allowed = "allowed: the request that opens the upstream's session, as {path: '/sso?ticket={token}'}"
            yield Finding(key=f"{place}.redeem", what="is missing for http", allowed=allowed, reads=(f"{place}.kind",))
        return
    if given.via == "browser":
        query = given.redeem.path.partition("?")[2]
        if given.redeem.method != "GET" or [value for _, value in parse_qsl(query)].count("{token}") != 1:
            what = "is no link that a browser can be sent through"
            allowed = "allowed: GET, and one parameter of the query that is {token}"
            yield Finding(key=f"{place}.redeem", what=what, allowed=allowed, reads=(f"{place}.via",))


def _token(place: str, config: Config, given: HandOff) -> Iterator[Finding]:
    if given.token is None:
        wanted = given.kind == "nexudus" or (given.redeem is not None and _mentions_token(given.redeem))
        if wanted and not _gives_tokens(config.directory):
            what = f"is missing, and directory.kind {config.directory.kind} gives no one-time tokens"
            what = what if config.directory.kind != "none" else "is missing, and directory.kind is none"
            allowed = "allowed: the request that gets a one-time token"
            yield Finding(key=f"{place}.token", what=what, allowed=allowed, reads=("directory.kind",))
    elif is_insecure(given.token.url) and not config.allow_insecure_http:
        what = "is http to another machine: a token that is read on the way signs in as its person"
        allowed = "allowed: https, a loopback name, or allow_insecure_http: true"
        yield Finding(key=f"{place}.token.url", what=what, allowed=allowed, reads=("allow_insecure_http",))


def _mentions_token(call: Redemption) -> bool:
    headers = "".join(value.get_secret_value() for value in call.headers.values())
    return "{token}" in f"{call.path} {headers} {call.form} {call.json_}"


def _gives_tokens(directory: Directory) -> bool:
    if isinstance(directory, HttpApi):
        return directory.requests.sign_in_token is not None
    return isinstance(directory, Nexudus)


def findings(config: Config) -> Iterator[Finding]:
    """Everything that contradicts itself."""
    yield from _listeners(config)
    yield from _redis(config)
    yield from _keys(config)
    if config.has_sign_in:
        yield from providers.findings(config)
        yield from client_authentication.findings(config)
    yield from console.findings(config)
    yield from directory_rules.findings(config)
    yield from _hosts(config)
    yield from hand_off_findings(config)
    yield from bearer.findings(config)
    for name, app in config.apps.items():
        yield from _app(f"apps.{name}", app)
        if not config.openid.enabled:
            yield from _requirements_without_sign_in(f"apps.{name}", app)


def _listeners(config: Config) -> Iterator[Finding]:
    if parse_listen(config.admin_listen).overlaps(parse_listen(config.listen)):
        # SECURITY: health, metrics and console on the public port would be open to every client (C-23).
        yield Finding(
            key="admin_listen", what="is the same address as listen", allowed="allowed: another port", reads=("listen",)
        )
    for name, app in config.apps.items():
        for url, key in product(app.upstream, ("listen", "admin_listen")):
            if parse_listen(getattr(config, key)).leads_here(url):
                # SECURITY: the gateway would forward requests to itself, and the admin listener's pages would be an app's (B-68).
                what = f"is this gateway's own {key}"
                yield Finding(
                    key=f"apps.{name}.upstream", what=what, allowed="allowed: the application's address", reads=(key,)
                )
    if config.listen_proxy_protocol and not config.trusted_proxies:
        # SECURITY: a PROXY header is believed about the client's address, so only the balancers may send one (C-34).
        what, allowed = (
            "is on, but no peer may send a PROXY header",
            "allowed: with the load balancers' addresses in trusted_proxies",
        )
        yield Finding(key="listen_proxy_protocol", what=what, allowed=allowed, reads=("trusted_proxies",))
    # SECURITY: in pieces it is not seen that every client may claim any address, and ask for forward-auth (C-21).
    if covers_every_address(config.trusted_proxies):
        allowed = "allowed: the networks of your proxies (0.0.0.0/0 and ::/0 trust every address by name)"
        yield Finding(key="trusted_proxies", what="covers every public address, in pieces", allowed=allowed)
    yield from _trusted_headers(config)
    if (config.tls.certificate is None) != (config.tls.key is None):
        yield Finding(key="tls", what="needs both certificate and key", allowed="allowed: both, or neither")


def _redis(config: Config) -> Iterator[Finding]:
    url, tls, sentinel = parse_redis_url(config.redis.url.get_secret_value()), config.redis.tls, config.redis.sentinel
    if (tls.certificate is None) != (tls.key is None):
        yield Finding(key="redis.tls", what="needs both certificate and key", allowed="allowed: both, or neither")
    if (tls.ca or tls.certificate or tls.key) and not url.tls:
        what = "is given, but redis.url does not use TLS"
        allowed = "allowed: with rediss://, rediss+sentinel:// or rediss+cluster://"
        yield Finding(key="redis.tls", what=what, allowed=allowed, reads=("redis.url",))
    if (sentinel.username or sentinel.password) and url.kind != "sentinel":
        what, allowed = "is given, but redis.url names no sentinels", "allowed: with redis+sentinel://"
        yield Finding(key="redis.sentinel", what=what, allowed=allowed, reads=("redis.url",))
    elif sentinel.username and sentinel.password is None:
        allowed = "allowed: both, or a password alone"
        yield Finding(key="redis.sentinel", what="has a username without a password", allowed=allowed)


def _keys(config: Config) -> Iterator[Finding]:
    keys = [key.get_secret_value() for key in config.keys]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            what = f"is the same key as keys[{keys.index(key)}]"
            yield Finding(key=f"keys[{index}]", what=what, allowed="allowed: each key once", reads=("keys",))
    if not keys and config.has_sign_in:
        allowed = "allowed: at least one (`doorward keys new` makes it)"
        yield Finding(key="keys", what="is missing", allowed=allowed, reads=("openid.enabled", "console"))


def _hosts(config: Config) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    if not config.apps:
        yield Finding(key="apps", what="is empty", allowed="allowed: at least one app with hosts and upstream")
    for name, app in config.apps.items():
        if not app.hosts:
            yield Finding(key=f"apps.{name}.hosts", what="is empty", allowed="allowed: at least one host name")
        for index, host in enumerate(app.hosts):
            canonical, key = canonical_host(host, config.external_url_scheme), f"apps.{name}.hosts[{index}]"
            if canonical in seen:
                what, allowed = f"is the same host as {seen[canonical]}", "allowed: each host in one app"
                yield Finding(key=key, what=what, allowed=allowed, reads=("external_url_scheme", seen[canonical]))
            seen.setdefault(canonical, key)


def _trusted_headers(config: Config) -> Iterator[Finding]:
    if config.trusted_headers and not config.trusted_proxies:
        what, allowed = (
            "mean nothing without trusted_proxies",
            "allowed: with the proxies' addresses in trusted_proxies",
        )
        yield Finding(key="trusted_headers", what=what, allowed=allowed, reads=("trusted_proxies",))
    seen: set[str] = set()
    for index, name in enumerate(config.trusted_headers):
        if normalise_header(name) in seen:
            yield Finding(key=f"trusted_headers[{index}]", what="is named twice", allowed="allowed: each name once")
        seen.add(normalise_header(name))
    for app_name, app in config.apps.items():
        for key, names in (("headers", tuple(app.headers)), ("client_headers", app.client_headers)):
            for name in names:
                if normalise_header(name) in seen:
                    # SECURITY: the application could not distinguish the proxy's word from ours, or from a client's (C-31, C-63).
                    place = f"apps.{app_name}.{key}" + (f".{name}" if key == "headers" else f"[{names.index(name)}]")
                    allowed = "allowed: in one of the two"
                    yield Finding(
                        key=place, what="is also in trusted_headers", allowed=allowed, reads=("trusted_headers",)
                    )


def _app(key: str, app: App) -> Iterator[Finding]:
    if app.session.idle > app.session.lifetime:
        what, reads = "has an idle timeout longer than its lifetime", (f"{key}.session.idle", f"{key}.session.lifetime")
        yield Finding(key=f"{key}.session", what=what, allowed="allowed: idle up to lifetime", reads=reads)
    if app.session.when_full is not None and app.session.max_per_person is None:
        what, allowed = "means nothing without max_per_person", "allowed: together, or neither"
        yield Finding(key=f"{key}.session.when_full", what=what, allowed=allowed)
    yield from _upstream(key, app)
    if isinstance(app.cors_preflight, CorsPreflight):
        yield from _cors(f"{key}.cors_preflight", app.cors_preflight)
    yield from _handshakes(key, app)
    seen: set[str] = set()
    for name in app.headers:
        if normalise_header(name) in seen:
            what = "is the same header as another one to many upstreams"
            yield Finding(key=f"{key}.headers.{name}", what=what, allowed="allowed: each header once")
        seen.add(normalise_header(name))
    for index, name in enumerate(app.client_headers):
        if normalise_header(name) in seen:
            # SECURITY: the application could not distinguish our field from a client's (C-31, C-63).
            what, allowed = "is set by headers, or named twice", "allowed: each name once, and none of headers"
            yield Finding(key=f"{key}.client_headers[{index}]", what=what, allowed=allowed, reads=(f"{key}.headers",))
        seen.add(normalise_header(name))
    if "wordpress" in app.password_routes and app.reads_like and "wordpress" not in app.reads_like:
        # SECURITY: the pack's rules rely on WordPress's readings of queries and forms (C-66).
        allowed = "allowed: with wordpress, or no reads_like"
        what = "leaves out wordpress, whose pack the app uses"
        yield Finding(key=f"{key}.reads_like", what=what, allowed=allowed, reads=(f"{key}.password_routes",))
    yield from empty_lists(f"{key}.require", app.require)
    yield from _rules(key, app.rules)
    # SECURITY: the app's `require` would hold for no request, although the file reads as if it did (C-21).
    if requires(app.require) and all(opens_every_path(app, method) for method in _USUAL):
        what, reads = (
            "opens every path to every client, although the app has require",
            (f"{key}.require", f"{key}.rules"),
        )
        yield Finding(key=f"{key}.public", what=what, allowed="allowed: some of the paths, or no require", reads=reads)
    yield from password_routes(key, app)


def _cors(key: str, cors: CorsPreflight) -> Iterator[Finding]:
    origins = f"{key}.allow_origins"
    if "*" in cors.allow_origins and len(cors.allow_origins) > 1:
        yield Finding(key=origins, what="names * beside other origins", allowed="allowed: * alone, or origins by name")
    if "*" in cors.allow_origins and cors.allow_credentials:
        # SECURITY: a page of any site could read what a person sees here; browsers refuse the pair, other clients do not (C-79).
        what, allowed = "is on while allow_origins is *", "allowed: with origins by name"
        yield Finding(key=f"{key}.allow_credentials", what=what, allowed=allowed, reads=(origins,))


def _handshakes(key: str, app: App) -> Iterator[Finding]:
    """Entries with WEBSOCKET in an app without the upgrade."""
    entries = [(f"{key}.public[{index}]", text) for index, text in enumerate(app.public)]
    entries += [(f"{key}.rules[{index}].match", text) for index, rule in enumerate(app.rules) for text in rule.match]
    for place, text in entries:
        if WEBSOCKET in parse_entry(text)[0] and "websocket" not in app.upgrades:
            what, allowed = "names WEBSOCKET, but upgrades does not", "allowed: with websocket in upgrades"
            yield Finding(key=place, what=what, allowed=allowed, reads=(f"{key}.upgrades",))


def _upstream(key: str, app: App) -> Iterator[Finding]:
    """The endpoints of one app, which must be alike."""
    place = f"{key}.upstream"
    schemes = {url.partition(":")[0] for url in app.upstream}
    if not app.upstream:
        yield Finding(key=place, what="is empty", allowed="allowed: at least one address, as http://127.0.0.1:8001")
    if len(schemes) > 1:
        # SECURITY: one plain address among https ones would get every second request, cookies included (C-21).
        allowed = "allowed: addresses that all begin with http:, all with https: or all with unix:"
        yield Finding(key=place, what="mixes schemes", allowed=allowed)
    if len(set(app.upstream)) != len(app.upstream):
        yield Finding(key=place, what="names an address twice", allowed="allowed: each once")
    if (app.upstream_tls.ca or app.upstream_tls.server_name) and schemes != {"https"}:
        what = "is given, but the upstream is not https"
        yield Finding(key=f"{key}.upstream_tls", what=what, allowed="allowed: with https", reads=(place,))


def password_routes(key: str, app: App) -> Iterator[Finding]:
    """Everything that contradicts itself in an app's `password_routes`. `key`: that of the app."""
    for index, entry in enumerate(app.password_routes):
        yield from _password_entry(f"{key}.password_routes[{index}]", entry)


def _password_entry(key: str, entry: str | PackFile | PasswordRule) -> Iterator[Finding]:
    """One entry of `password_routes`, or each rule of its file."""
    if isinstance(entry, PackFile):
        if not entry.rules:
            yield Finding(key=f"{key}.rules", what="is empty", allowed="allowed: at least one rule")
        for index, rule in enumerate(entry.rules):
            yield from _password_entry(f"{key}.rules[{index}]", rule)
    elif isinstance(entry, PasswordRule) and entry.when is not None and not _has_condition(entry):
        allowed = "allowed: form, json, query or header with a field and its value"
        yield Finding(key=f"{key}.when", what="names nothing", allowed=allowed)


def _has_condition(rule: PasswordRule) -> bool:
    when = rule.when
    return when is not None and bool(when.form or when.json_ or when.query or when.header)


def _rules(key: str, rules: Sequence[Rule]) -> Iterator[Finding]:
    names = [rule.name for rule in rules]
    for index, rule in enumerate(rules):
        yield from _rule(f"{key}.rules[{index}]", rule)
        if rule.name is not None and rule.name in names[:index]:
            what = "is the name of another rule of this app"
            yield Finding(key=f"{key}.rules[{index}].name", what=what, allowed="allowed: each name once")


def _rule(key: str, rule: Rule) -> Iterator[Finding]:
    if not rule.match:
        yield Finding(key=f"{key}.match", what="is empty", allowed="allowed: at least one METHODS PATH-GLOB")
    restricts = restricts_persons(rule) or rule.programs is not None or rule.scopes
    # SECURITY: `require` forgotten or set in too little reads as protection, and would protect nothing (C-21).
    if rule.match and not (rule.public or restricts or rule.require.model_fields_set):
        what = "restricts nothing and opens nothing"
        yield Finding(
            key=key, what=what, allowed="allowed: with require, max_age, acr, programs or scopes, or public: true"
        )
    if rule.public and restricts:
        what = "is public and asks for a person at once"
        yield Finding(key=key, what=what, allowed="allowed: public, or require, max_age, acr, programs and scopes")
    yield from empty_lists(f"{key}.require", rule.require)


def opens_every_path(app: App, method: str) -> bool:
    """Whether the public entries of an app, taken together, open every path to a method, that of `/` perhaps left out."""
    texts = (*app.public, *(text for rule in app.rules if rule.public for text in rule.match))
    globs = [glob[1:].split("/") for methods, glob in map(parse_entry, texts) if not methods or method in methods]
    # Only entries of nothing but * and ** hold for any name; each holds for paths of some length, or of that length and beyond.
    general = [glob for glob in globs if {*glob} <= {"*", "**"}]
    exact = {len(glob) for glob in general if "**" not in glob}
    return any({*range(1, glob.count("*"))} <= exact for glob in general if "**" in glob)


def _requirements_without_sign_in(key: str, app: App) -> Iterator[Finding]:
    """With `openid.enabled: false` no requirement can ever be met (docs/interface.md "Access rules")."""
    places = [f"{key}.require"] if requires(app.require) else []
    for index, rule in enumerate(app.rules):
        if restricts_persons(rule):
            places.append(f"{key}.rules[{index}]")
    for place in places:
        what = "asks for a person, but openid.enabled is off and no person can sign in"
        yield Finding(key=place, what=what, allowed="allowed: with openid.enabled", reads=("openid.enabled",))
