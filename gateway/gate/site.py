"""An app under one of its hosts, with its policy compiled.

The route of a method and a path is memoised: it never changes while the configuration stands, and a request with a known path costs one
look-up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.config.addresses import canonical_host
from gateway.config.console import is_console
from gateway.config.providers import offered, providers_of
from gateway.config.schema import App, Config, CorsPreflight
from gateway.config.sections.openid import DEFAULT_PROVIDER
from gateway.config.toggles import password_routes_closed
from gateway.config.values import WEBSOCKET
from gateway.errors.requests import BadRequest, UnknownHost
from gateway.http.message import RequestHead
from gateway.policy.bodies import refuse_too_many
from gateway.policy.break_glass import ActiveOpening
from gateway.policy.cors import Cors
from gateway.policy.methods import OTHER_UPGRADE, overrides_in_query
from gateway.policy.passwords import Blocked, PasswordRoute, PasswordRoutes
from gateway.policy.paths import Target, parse_target
from gateway.policy.rules import RouteRules, Ruling
from gateway.sessions.cookie import SessionCookie

OWN_PREFIX: Final = "/oauth2"
START: Final = "/oauth2/start"
FORM: Final = "/oauth2/form"
OWN_SESSIONS: Final = "/oauth2/sessions"
LOGIN_TEST: Final = "/oauth2/login_test"
OWN_CALLBACK: Final = "/oauth2/callback"
OWN_JWKS: Final = "/.well-known/doorward/jwks.json"
FORWARD_AUTH: Final = "/oauth2/auth"
FORWARD_AUTH_ABOUT: Final = b"/oauth2/auth/"  # and the target that is asked about
_MEMO_LIMIT: Final = 4096
_MEMO_PATH: Final = 256  # bytes: longer paths are not memoised


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoute:
    """One app under one of its hosts.

    `host` is the canonical host (lower case, no trailing dot, no default port), `origin` what browsers call it
    (`https://portal.example.com`), `secure` whether cookies carry Secure and the `__Host-` prefix.
    """

    name: str
    config: App
    host: str
    origin: str
    secure: bool

    def redirect_uri(self, provider: str = DEFAULT_PROVIDER) -> str:
        """The redirect_uri under this host; each provider has one."""
        return self.origin + callback_path(provider)


def app_routes(config: Config) -> list[AppRoute]:
    """One route for each app and host."""
    scheme = config.external_url_scheme
    return [
        AppRoute(name=name, config=app, host=host, origin=f"{scheme}://{host}", secure=scheme == "https")
        for name, app in config.apps.items()
        for host in (canonical_host(given, scheme) for given in app.hosts)
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """What a method and a path come to under one app's configuration.

    `start` begins the head that an upstream gets for this method and path, without a query. `form` are the methods that a form could change
    the request to, where the ruling is another one; `named`: a form could name another path. `bit` is the ruling's bit in `LiveSession.met`;
    0 where the decision depends on more than the ruling and the session (an endpoint of ours, a password route, a form, a clock, a preflight).
    """

    method: str
    target: bytes
    path: str
    start: bytes
    own: bool
    password_routes: tuple[PasswordRoute, ...]
    ruling: Ruling
    form: frozenset[str]
    named: bool
    bit: int


class Site:
    """An app under one host, with its policy compiled."""

    def __init__(self, route: AppRoute, config: Config) -> None:
        self.route = route
        self.app = route.config
        self.is_console = is_console(config, route.name)
        # SECURITY: a console that `openid.enabled` does not close to strangers: it is no application, and keeps its sign-in (C-92).
        self.enabled = config.openid.enabled or self.is_console
        self.providers = offered(config, route.config)
        known = providers_of(config)
        own = [issuer for name in self.providers if name in known for issuer in known[name].issuers]
        #: Each `iss` of a token that this app takes for its own.
        self.token_issuers = frozenset((*own, *self.app.bearer.issuers)) if self.app.bearer is not None else frozenset()
        self.clock_skew = max(
            (settings.clock_skew for name, settings in known.items() if name in self.providers),
            default=config.openid.clock_skew,
        )
        self.rules = RouteRules(route.config)
        closed = not self.is_console and password_routes_closed(config.openid, route.config.surface)
        self.password_routes = PasswordRoutes(route.config, closed=closed)
        self.cookie = SessionCookie(route.secure)
        self.host_bytes = route.host.encode()
        self.port = urlsplit(route.origin).port or (443 if route.secure else 80)
        self.overrides_pass = not self.password_routes.closed and not self.rules.by_method
        preflights = route.config.cors_preflight
        self.preflight_passes = preflights == "pass"
        self.cors = Cors(preflights) if isinstance(preflights, CorsPreflight) else None
        self.upgrades = frozenset(name.encode() for name in route.config.upgrades)
        self.client_headers = frozenset(name.lower().encode() for name in route.config.client_headers)
        self.trusted_headers = frozenset(name.lower().encode() for name in config.trusted_headers)
        self.websocket_origins = frozenset((route.origin, *route.config.websocket_origins))
        self.active_opening: ActiveOpening | None = None  # of break-glass
        self._memo: dict[tuple[str, bytes], Route] = {}
        self._lines: dict[bytes, Route] = {}
        self.route_of_line = self._lines.get  # by a whole request line without a query
        self._rulings: dict[Ruling, int] = {}

    def find_route(self, method: str, path: bytes, query: bytes, upgrade: bytes | None = None) -> Route:
        """The route of a method and a path. `query` matters where it may name another method or path, `upgrade` where the app allows it.

        Raises AmbiguousTarget or BadRequest.
        """
        plain = self._plain(method, path, query)
        if upgrade is None or upgrade not in self.upgrades:
            return plain
        # SECURITY: a public page does not make a WebSocket at its path public: a handshake is public where an entry names WEBSOCKET, and any
        # other change of protocol nowhere (C-19).
        target = parse_target(path + b"?" + query if query else path)
        return replace(plain, ruling=self.rules.decide(method, target, change_of_protocol(upgrade)), bit=0)

    def _plain(self, method: str, path: bytes, query: bytes) -> Route:
        if query:
            refuse_too_many(query)
        # SECURITY: `?_method=DELETE` is judged as a DELETE too (B-35), `?rest_route=/wp/v2/users` as that path (C-66).
        if query and (overrides_in_query(query) or self.rules.model.may_be_named(query)):
            return self._judge(method, parse_target(path + b"?" + query), path)
        key = (method, path)
        known = self._memo.get(key)
        if known is None:
            known = self._judge(method, parse_target(path), path)
            if len(path) <= _MEMO_PATH:
                if len(self._memo) >= _MEMO_LIMIT:
                    self._memo.clear()
                    self._lines.clear()
                self._memo[key] = known
                self._lines[b"%b %b HTTP/1.1" % (method.encode(), path)] = known
        return known

    def _judge(self, method: str, target: Target, path: bytes) -> Route:
        # SECURITY: what follows is another request's path: `..` in it must not make a question to us the request itself (C-01).
        asked = path.startswith(FORWARD_AUTH_ABOUT)
        own = asked or is_own(target)
        candidates = () if own else self.password_routes.candidates(method, target)
        ruling = self.rules.decide(method, target)
        form = frozenset() if own else self.rules.form_methods(method, target)
        named = not own and method == "POST" and self.rules.by_form
        more = (
            own
            or candidates
            or form
            or named
            or ruling.public
            or ruling.max_age is not None
            or ruling.acr
            or not ruling.persons
            or method == "OPTIONS"
        )
        return Route(
            method=method,
            target=path,
            path=FORWARD_AUTH if asked else target.path,
            start=b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method.encode(), target.path.encode(), self.host_bytes),
            own=own,
            password_routes=candidates,
            ruling=ruling,
            form=form,
            named=named,
            bit=0 if more or not self.enabled else 1 << self._rulings.setdefault(ruling, len(self._rulings)),
        )

    def blocked_page(self, target: Target) -> Blocked | None:
        """Why a GET of this page is refused as a password route; None: it is none, or they are open."""
        routes = self.password_routes.candidates("GET", target) if self.password_routes.closed else ()
        if not routes:
            return None
        head = RequestHead("GET", target.wire(), self.host_bytes, [])
        found = self.password_routes.match(routes, head, target, b"")
        return found if isinstance(found, Blocked) else None


class Sites:
    """All sites, by host."""

    def __init__(self, routes: Iterable[AppRoute], config: Config) -> None:
        self.by_host: Mapping[str, Site] = {route.host: Site(route, config) for route in routes}

    def of(self, host: str) -> Site:
        """The site of a canonical host. Raises UnknownHost: there is no default host (C-13)."""
        site = self.by_host.get(host)
        if site is None:
            raise UnknownHost(host)
        return site


def change_of_protocol(upgrade: bytes | None) -> frozenset[str]:
    """The pseudo-method of a change to this protocol; empty without one."""
    if upgrade is None:
        return frozenset()
    return frozenset((WEBSOCKET if upgrade == b"websocket" else OTHER_UPGRADE,))


def callback_path(provider: str) -> str:
    """The path of a provider's redirect_uri."""
    # SECURITY: each provider has its own redirect_uri, so an answer that was meant for another provider is not accepted.
    return OWN_CALLBACK if provider == DEFAULT_PROVIDER else f"{OWN_CALLBACK}/{provider}"


def start_url(
    return_to: str,
    prompt: str | None = None,
    login_hint: str | None = None,
    step_up_for: str | None = None,
    provider: str | None = None,
    ui_locales: Sequence[str] = (),
) -> str:
    """The URL of `/oauth2/start` for a sign-in that ends on `return_to`. `step_up_for`: the "METHOD /path" whose rules it meets."""
    parameters = [] if return_to == "/" else ["rd=" + quote(return_to, safe="/")]
    parameters += [] if prompt is None else ["prompt=" + prompt]
    parameters += [] if login_hint is None else ["login_hint=" + quote(login_hint, safe="")]
    parameters += [] if step_up_for is None else ["for=" + quote(step_up_for, safe="/")]
    parameters += [] if provider is None else ["provider=" + quote(provider, safe="")]
    parameters += ["ui_locales=" + quote(" ".join(ui_locales), safe="")] if ui_locales else []
    return START + ("?" + "&".join(parameters) if parameters else "")


def is_own(target: Target) -> bool:
    """Whether a path is ours, in any spelling that an upstream could read as ours. No upstream gets such a request."""
    folded = target.folded
    return folded in (OWN_PREFIX, OWN_JWKS) or folded.startswith(OWN_PREFIX + "/")


def is_forward_auth(raw: bytes) -> bool:
    """Whether a request-target, as it was sent, is the one of forward-auth, with or without the target that is asked about."""
    return raw.partition(b"?")[0] == FORWARD_AUTH.encode() or raw.startswith(FORWARD_AUTH_ABOUT)


def is_own_target(raw: bytes) -> bool:
    """`is_own` for a request-target as it was sent; False for an ambiguous one."""
    try:
        return is_own(parse_target(raw))
    except BadRequest:
        return False
