"""`doorward explain`: the gate's decision on one request, step by step. It sends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from gateway.config.console import UNUSED_UPSTREAM, with_console
from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.errors.requests import BadRequest, UnknownHost
from gateway.gate.admission import decide
from gateway.gate.decision import AnswerPreflight, Decision, Forward, NeedBody, Own, RedirectToSignIn, Refuse
from gateway.gate.explanation import Step, reasons
from gateway.gate.request import Request
from gateway.gate.site import Site, Sites, app_routes
from gateway.http.message import RequestHead
from gateway.http.request_head import parse_host
from gateway.identity.claims import Identity
from gateway.identity.headers import IdentityHeaders
from gateway.policy.paths import parse_target
from gateway.policy.readings import Model, Readings
from gateway.sessions.live import LiveSession
from gateway.sessions.session import Session

_CLIENT_KIND_FIELDS: Final = (b"accept", b"x-requested-with", b"access-control-request-method")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedSignIn:
    """The sign-in of the person who is assumed to send the request. `acr` is the provider's, `signed_in_ago` its age."""

    email: str
    groups: tuple[str, ...] = ()
    acr: str | None = None
    signed_in_ago: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A sign-in that was verified; no session is issued for it."""

    identity: Identity
    acr: str | None
    auth_time: datetime | None


def explain_page(config: Config, host: str, page: str, signed_in: SignedIn) -> list[Step]:
    """The steps of the decision about a navigation to `page` of the app at this canonical host, by the person who signed in."""
    config = with_console(config, UNUSED_UPSTREAM)
    site = Sites(app_routes(config), config).of(host)
    head = RequestHead("GET", page.encode(), host.encode(), [(b"Sec-Fetch-Mode", b"navigate")])
    session = _live(site, signed_in)
    request = Request(site, head, None, session, datetime.now(UTC), session_looked_up=True)
    return [*reasons(request, config.openid), *_outcome(site, decide(request))]


def explain(
    config: Config,
    method: str,
    url: str,
    *,
    sign_in: AssumedSignIn | None = None,
    headers: Sequence[str] = (),
    body: str | None = None,
) -> list[Step]:
    """The steps of the decision, as `(name, text)`; without `sign_in` for a request without a session.

    Raises ValueError for a text that is not a URL, or has no app's host.
    """
    config = with_console(config, UNUSED_UPSTREAM)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("not a URL; allowed: http(s)://host/path")
    site = _site(Sites(app_routes(config), config), config, parts.netloc)
    target = (url.split(parts.netloc, 1)[1] or "/").encode()
    target = target if target.startswith(b"/") else b"/" + target
    if method.upper() == "WEBSOCKET":
        fields = _fields(("Sec-Fetch-Mode: websocket", *headers), body)
        head = RequestHead("GET", target, parts.netloc.encode(), fields, upgrade=b"websocket")
    else:
        head = RequestHead(method.upper(), target, parts.netloc.encode(), _fields(headers, body))
    steps: list[Step] = [("app", f"{site.route.name} ({site.app.surface}), host {site.route.host}")]
    session = _session(site, sign_in) if sign_in is not None else None
    steps.append(("asked by", "a stranger" if sign_in is None else _described(sign_in)))
    steps += [("sent", target.decode()), *_forms(site, target)]
    if site.enabled:
        steps.append(("not registered", registration(config.openid, site.app.surface, config.directory.kind)))
        steps.append(("signs in at", " or ".join(site.providers)))
    content = body.encode() if body is not None else None
    request = Request(site, head, None, session, datetime.now(UTC), body=content, session_looked_up=True)
    steps += reasons(request, config.openid)
    return steps + _outcome(site, decide(request))


def _site(sites: Sites, config: Config, netloc: str) -> Site:
    name, port = parse_host(netloc.encode())
    default = "443" if config.external_url_scheme == "https" else "80"
    try:
        return sites.of(name if port in ("", default) else f"{name}:{port}")
    except UnknownHost as error:
        raise ValueError(f"no app has this host (421); allowed: {', '.join(sorted(sites.by_host))}") from error


def _forms(site: Site, target: bytes) -> list[Step]:
    """The canonical path, and the paths that servers of some kind read. None for an ambiguous target, which the gate refuses."""
    model = site.rules.model
    try:
        parsed = parse_target(target)
        read = model.read(parsed, languages=bool(site.password_routes.rules))
    except BadRequest:
        return []
    steps = [("canonical", parsed.wire().decode()), ("folded", parsed.folded)]
    for path, reading in read.paths.items():
        if path not in parsed.readings:
            file = "; a static file to who only fetches it" if reading.static else ""
            steps.append(("read as", f"{path} ({_by(model, read, path)}{file})"))
    if read.any_page:
        steps.append(("read as", "any page, by its number (wordpress)"))
    return steps


def _by(model: Model, read: Readings, path: str) -> str:
    """The servers that read the path so."""
    rows = sorted(read.named[path]) if path in read.named else model.rows_of(read.paths[path].traits)
    return ", ".join(rows) if read.paths[path].traits else "below a language"


def _fields(headers: Sequence[str], body: str | None) -> list[tuple[bytes, bytes]]:
    """The given fields, with those of a browser's navigation if none tells the kind of client. Raises ValueError."""
    fields: list[tuple[bytes, bytes]] = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise ValueError(f"{header!r} is not a header field; allowed: NAME:VALUE")
        fields.append((name.strip().encode(), value.strip().encode()))
    if not any(name.lower() in _CLIENT_KIND_FIELDS or name.lower().startswith(b"sec-fetch-") for name, _ in fields):
        fields.append((b"Sec-Fetch-Mode", b"navigate"))
    if body is not None:
        fields.append((b"Content-Length", str(len(body.encode())).encode()))
    return fields


def _described(sign_in: AssumedSignIn) -> str:
    return f"{sign_in.email}, groups: {', '.join(sign_in.groups) or 'none'}"


def _session(site: Site, sign_in: AssumedSignIn) -> LiveSession:
    email = sign_in.email
    identity = Identity(
        issuer="explain",
        subject=email,
        email=email,
        name=None,
        groups=sign_in.groups,
        preferred_username=None,
        directory={},
    )
    auth_time = datetime.now(UTC) - sign_in.signed_in_ago
    return _live(site, SignedIn(identity=identity, acr=sign_in.acr, auth_time=auth_time))


def _live(site: Site, signed_in: SignedIn) -> LiveSession:
    """A session of this sign-in, which is stored nowhere."""
    session = Session(
        key_host=site.route.host,
        app=site.route.name,
        sid="explain",
        identity=signed_in.identity,
        provider_sid=None,
        auth_time=signed_in.auth_time,
        acr=signed_in.acr,
        created_at=datetime.now(UTC),
        idle=timedelta(hours=1),
        lifetime=timedelta(hours=1),
    )
    return LiveSession(
        key="",
        host=site.route.host,
        session=session,
        idle=1,
        idle_deadline=1,
        expires_deadline=1,
        stored_deadline=1,
        touch_due=1,
    )


def _identity_lines(site: Site, person: Identity) -> list[str]:
    headers = IdentityHeaders(site.app.headers, site.app.header_names, site.app.identity_headers_limit)
    return headers.render(person).decode().splitlines()


def _outcome(site: Site, decision: Decision) -> list[Step]:
    if isinstance(decision, Forward):
        steps = [
            ("rule", decision.rule),
            ("decision", "forward"),
            ("to the upstream", f"{' or '.join(site.app.upstream)} {decision.wire.decode()}"),
        ]
        if decision.session is None:
            return [*steps, ("identity", "none")]
        return [
            *steps,
            *(("header", line) for line in _identity_lines(site, decision.session.session.identity)),
            ("header", "X-Doorward-Jwt-Assertion: (signed)"),
        ]
    if isinstance(decision, RedirectToSignIn):
        return [
            ("rule", decision.rule),
            ("decision", "sign in at the provider"),
            *_step_up(decision.step_up.max_age, " ".join(decision.step_up.acr)),
            ("then back to", decision.return_to),
        ]
    if isinstance(decision, Refuse):
        refusal = decision.refusal
        return [
            ("rule", decision.rule),
            ("decision", f"refuse: {refusal.status} {refusal.code}"),
            ("because", refusal.detail or str(refusal.message)),
            *_step_up(refusal.facts.get("max_age"), refusal.facts.get("acr_values")),
        ]
    if isinstance(decision, NeedBody):
        unread = decision.unread
        return [
            ("rule", unread.rule),
            ("decision", "read the body, then decide (give it with --body)"),
            ("because", unread.refusal.detail),
        ]
    if isinstance(decision, AnswerPreflight):
        return [
            ("rule", decision.rule),
            ("decision", "answered by Doorward itself: 204, never forwarded"),
            *(("field", f"{name}: {value}") for name, value in decision.fields),
        ]
    if isinstance(decision, Own):
        return [
            ("rule", "own path"),
            ("decision", "answered by Doorward itself, never forwarded"),
            ("path", decision.path),
        ]
    raise TypeError(type(decision).__name__)


def _step_up(max_age: int | None, acr_values: str | None) -> list[Step]:
    """What a rule requires of the sign-in (RFC 9470), as parameters of the authorization request."""
    parameters = [f"max_age={max_age}"] if max_age is not None else []
    parameters += [f"acr_values={acr_values}"] if acr_values else []
    return [("asked of the provider", " ".join(parameters))] if parameters else []
