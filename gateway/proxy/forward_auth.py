"""`/oauth2/auth`: the gate's answer for another proxy (nginx auth_request, Traefik, Caddy), and `/oauth2/auth/TARGET` for Envoy's ext_authz.

The original request is described in header fields, or is the request itself behind a longer path; it is believed from trusted proxies only:
any other client could describe one page and get another (C-01). The answer is 202, for Envoy 200, with the identity fields and with the
cookies that may travel; 401; or 403 with the reason, since nginx makes 500 of any other status. Nothing is forwarded. A password route that
depends on the body cannot be judged here, so it is refused.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from gateway.errors.access import (
    Forbidden,
    FormLost,
    ForwardAuthRefused,
    LoginRequired,
    RouteBlocked,
    SignInDisabled,
    StepUpRequired,
    UntrustedPeer,
)
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest, UnknownHost
from gateway.gate.access import account_of, referring_page
from gateway.gate.decision import Decision, Forward, NeedBody, Own, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import FORWARD_AUTH_ABOUT, Site, start_url
from gateway.http.header_policy import changes_a_request, is_odd
from gateway.http.message import RequestHead, is_navigation
from gateway.http.request_head import ParsedRequest
from gateway.identity.headers import is_identity_name
from gateway.policy.methods import overrides_in_fields
from gateway.policy.narrowing import read_narrowing
from gateway.policy.rules import Requirement
from gateway.proxy.context import ProxyContext
from gateway.proxy.local_reply import LocalReply, Plain
from gateway.proxy.refusal_events import emit_refusal
from gateway.sessions.live import LiveSession

_DESCRIBES = frozenset(
    (
        b"x-forwarded-method",
        b"x-forwarded-host",
        b"x-forwarded-uri",
        b"x-original-method",
        b"x-original-uri",
        b"x-original-url",
        b"x-original-host",
    )
)
#: Traefik and Spring name servers and prefixes with these, and Doorward cannot tell them from a client's.
_ADDED_BY_PROXIES: Final = frozenset((b"x-forwarded-server", b"x-forwarded-prefix"))
_MOST_METHODS: Final = 8
_TARGET, _METHOD = b":path", b":method"  # of a question whose target holds the original one
#: No method was described: judged as GET where no rule could tell, refused elsewhere.
NO_METHOD: Final = b"UNSAID"
_URL = re.compile(rb"https?://([^/?#]+)([^ \t]*)", re.IGNORECASE)


def original_request(request: RequestHead, *, trusted: bool, host: bytes | None) -> RequestHead:
    """The request that the other proxy describes. `host`: the Host of the question; None where no app has it.

    Raises UntrustedPeer or BadRequest.
    """
    if not trusted:
        raise UntrustedPeer("forward-auth from a peer outside trusted_proxies")
    described: dict[bytes, bytes] = {}
    for name, value in request.fields:
        lower = name.lower()
        if lower in _DESCRIBES:
            if lower in described:
                raise BadRequest(f"{lower.decode()} twice")
            described[lower] = value
    if request.target.startswith(FORWARD_AUTH_ABOUT):
        asked = {_TARGET: request.target[len(FORWARD_AUTH_ABOUT) - 1 :], _METHOD: request.method.encode()}
        described |= asked
    uri, host, method = _described(described, host)
    if uri is None:
        raise BadRequest("forward-auth without the original URI")
    if host is None:
        raise BadRequest("forward-auth without the original host")
    if not uri.startswith(b"/") or not method.isalpha():
        raise BadRequest("forward-auth with an original URI or method that is none")
    fields = [(name, value) for name, value in request.fields if name.lower() not in _DESCRIBES]
    return RequestHead(method.decode().upper(), uri, host, fields)


def _described(fields: Mapping[bytes, bytes], question_host: bytes | None) -> tuple[bytes | None, bytes | None, bytes]:
    """URI, host and method of the original request. Raises BadRequest."""
    # SECURITY: a proxy sets the fields of its own style and passes the client's on with them: those must not outvote it (C-01).
    uri, host = _agreed("URI", fields.get(b"x-original-uri"), fields.get(_TARGET)), question_host
    if b"x-original-url" in fields:
        match = _URL.fullmatch(fields[b"x-original-url"])
        if match is None:
            raise BadRequest("forward-auth with an original URL that is none")
        if uri is not None and host is not None:
            _agreed("host", host.lower(), match[1].lower())  # one of the two is the client's; Host names the app
        uri, host = _agreed("URI", uri, match[2] if match[2].startswith(b"/") else b"/" + match[2]), match[1]
    named = fields.get(b"x-forwarded-host", fields.get(b"x-original-host"))
    if uri is None or host is None:
        host = named or host
    for name in (b"x-forwarded-host", b"x-original-host"):
        if host is not None:
            _agreed("host", host.lower(), fields.get(name, host).lower())
    method = _agreed("method", fields.get(b"x-original-method"), fields.get(b"x-forwarded-method"))
    method = _agreed("method", method, fields.get(_METHOD))
    return _agreed("URI", uri, fields.get(b"x-forwarded-uri")), host, method or NO_METHOD


def _agreed(what: str, one: bytes | None, other: bytes | None) -> bytes | None:
    """A value that is given once, or twice alike. Raises BadRequest."""
    if one is not None and other is not None and one != other:
        raise BadRequest(f"forward-auth about two {what}s")
    return other if one is None else one


def with_method(described: RequestHead, site: Site) -> RequestHead:
    """The original request, with a method that is known. Raises BadRequest where rules or password routes of the site need to know it."""
    if described.method != NO_METHOD.decode():
        return described
    # SECURITY: a rule for POST must not be passed because a proxy sent no method and GET was assumed (C-01).
    if site.rules.by_method or site.password_routes.closed:
        raise BadRequest(
            "forward-auth without X-Forwarded-Method or X-Original-Method, which the rules of this app need"
        )
    return RequestHead("GET", described.target, described.host, described.fields)


def refuse_what_never_travels(described: RequestHead, site: Site) -> None:
    """Raises BadRequest. The fields that describe the request are gone from it by now (`original_request`)."""
    for name, _ in described.fields:
        lower = name.lower()
        if lower in site.client_headers or lower in site.trusted_headers:
            continue
        # SECURITY: what we take out of a request that we forward stays in this one: with SCRIPT_NAME the application
        # would serve another path than the one that is judged here (C-62). Our own names are overwritten with those of the answer.
        if is_odd(name) or (changes_a_request(lower) and not is_identity_name(name) and lower not in _ADDED_BY_PROXIES):
            raise BadRequest(f"forward-auth about a request with {name.decode()}, which must not reach an application")


def readings(described: RequestHead) -> list[RequestHead]:
    """The requests that the application may take this one for, itself first: all of them are judged. Raises BadRequest."""
    found = [described]
    # SECURITY: we take X-HTTP-Method-Override out of what we forward where it would matter; here it goes on to the application (C-01).
    methods = overrides_in_fields(described.fields) - {described.method}
    if len(methods) > _MOST_METHODS or not all(method.isascii() and method.isprintable() for method in methods):
        raise BadRequest(
            "forward-auth about a request that asks to be taken for too many methods, or for one that is none"
        )
    found += [RequestHead(method, described.target, described.host, described.fields) for method in sorted(methods)]
    # SECURITY: proxies do not pass Upgrade on in a forward-auth request; the other fields of a handshake come along (C-19).
    upgrade = described.first(b"upgrade")
    if upgrade is not None or any(name.lower().startswith(b"sec-websocket-") for name, _ in described.fields):
        protocol = (upgrade or b"websocket").strip().lower()
        handshake = RequestHead(described.method, described.target, described.host, described.fields, upgrade=protocol)
        found.append(handshake)
    return found


def strictest(decisions: Sequence[Decision], described: RequestHead) -> Decision:
    """The decision about all readings of a request together. The proxy passes Destination on as it came, so it must be canonical."""
    decision = next((each for each in decisions if not isinstance(each, Forward)), decisions[0])
    # SECURITY: what an application reads must be what was judged (C-64).
    if isinstance(decision, Forward) and decision.destination not in (None, described.first(b"destination")):
        return Refuse(BadRequest("forward-auth about a Destination that is not in canonical form"), "target")
    return decision


def narrowed(
    decision: Decision, requirements: Sequence[Requirement], session: LiveSession | None, site: Site
) -> Decision:
    """The decision, where the person of `session` meets what the query requires too; a public route needs a session then."""
    if not (requirements and isinstance(decision, Forward)):
        return decision
    if not site.enabled:
        return Refuse(SignInDisabled("openid.enabled is off"), requirements[0].rule)
    if session is None:
        return Refuse(LoginRequired("forward-auth"), requirements[0].rule)
    identity = session.session.identity
    for requirement in requirements:
        reason = requirement.unmet(identity)
        if reason is not None:
            switch = site.route.origin + start_url("/", "select_account")
            return Refuse(Forbidden(reason, account=account_of(identity), switch_url=switch), requirement.rule)
    return decision


def sign_in_url(site: Site, described: RequestHead, wire: bytes) -> str:
    """The sign-in that ends on the described page, or on the one that sent the described request."""
    back = referring_page(site, described)
    repeatable = described.method in ("GET", "HEAD")
    there = wire.decode() if repeatable and (back is None or is_navigation(described)) else back or "/"
    return site.route.origin + start_url(there)


def reply(decision: Decision, start: str, *, about: bool) -> Plain:
    """The gate's decision, which is no Forward, as a forward-auth response. Raises a Refusal: 401, 403 or 503.

    `start` is the sign-in's URL. `about`: the question was of Envoy's form, whose answer goes to the browser as it is.
    """
    if isinstance(decision, Refuse):
        raise _as_forward_auth(decision.refusal, start)
    if isinstance(decision, RedirectToSignIn):
        step_up = decision.step_up
        if about:
            return Plain(302, (("Location", start), ("Cache-Control", "no-store")))
        if step_up:
            raise StepUpRequired(
                "forward-auth", sign_in_url=start, max_age=step_up.max_age, acr_values=" ".join(step_up.acr)
            )
        raise LoginRequired("forward-auth", sign_in_url=start)
    if isinstance(decision, Own):
        raise Forbidden("a path of ours must be sent to us, never to an upstream")
    raise RouteBlocked("a password route that depends on the body cannot be judged by forward-auth", kind="password")


def _as_forward_auth(refusal: Refusal, start: str) -> Refusal:
    """Proxies understand 401 and 403; any other refusal of the original request is a 403."""
    if isinstance(refusal, FormLost):  # the other proxy has the form
        return LoginRequired("forward-auth", sign_in_url=refusal.facts["sign_in_url"])
    if isinstance(refusal, LoginRequired):
        return LoginRequired("forward-auth", sign_in_url=start)
    return refusal if refusal.status in (401, 403, 503) else ForwardAuthRefused(reason=refusal.detail or refusal.code)


def site_of(context: ProxyContext, request: RequestHead) -> Site:
    """The site that a trusted proxy's question is about. Raises ForwardAuthRefused."""
    return _described_site(context, request, trusted=True)[0]


def _described_site(context: ProxyContext, request: RequestHead, *, trusted: bool) -> tuple[Site, RequestHead]:
    """Raises UntrustedPeer or ForwardAuthRefused."""
    try:
        described = original_request(request, trusted=trusted, host=_host_of_an_app(context, request))
        return context.site(described.host), described
    except UnknownHost as error:
        raise ForwardAuthRefused(reason=f"no app has the host {error.detail}") from error
    except BadRequest as error:
        raise ForwardAuthRefused(reason=error.detail) from error


def _host_of_an_app(context: ProxyContext, request: RequestHead) -> bytes | None:
    try:
        context.site(request.host)
    except (UnknownHost, BadRequest):
        return None
    return request.host


async def answer(context: ProxyContext, request: Request[ParsedRequest]) -> LocalReply:
    """Answer the other proxy. Raises a Refusal."""
    site, described = _described_site(context, request.head, trusted=request.trusted)
    request.site = site
    about = request.head.target.startswith(FORWARD_AUTH_ABOUT)
    try:
        requirements = () if about else read_narrowing(request.head.target.partition(b"?")[2])
        described = with_method(described, site)
        refuse_what_never_travels(described, site)
        heads = readings(described)
    except BadRequest as error:
        raise ForwardAuthRefused(reason=error.detail) from error
    split = site.cookie.split(request.head.cookies)
    key = context.key_of(split.token) if split.token is not None else None
    session = context.cache.peek(key, site.route.host) if key is not None else None
    if key is not None and session is None:
        session = await context.cache.load(key, site.route.host, site.route.name)
    question = Request[RequestHead](
        site, described, key, session, context.now(), request.request_id, request.peer, request.trusted,
        session_looked_up=True, body_hidden=True, carrier=request.head,
    )  # fmt: skip
    questions = [structs.replace(question, head=head) for head in heads]
    decisions = [context.admit(each) for each in questions]
    decision = narrowed(strictest(decisions, described), requirements, session, site)
    refused = decision.unread if isinstance(decision, NeedBody) else decision
    if isinstance(refused, Refuse):
        # The events are about the described request.
        emit_refusal(context, question, refused)
    if not isinstance(decision, Forward):
        return reply(decision, sign_in_url(site, described, questions[0].wire), about=about)
    lines = []
    if decision.session is not None:
        context.cache.touch(decision.session)
        lines = context.heads.identity(site, decision.session).decode().split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines if line)]
    # SECURITY: the other proxy replaces the client's cookies by these, among which there is no session (C-35). Empty: there are no others.
    if request.head.cookies and site.app.forward_auth_cookies:
        fields.append(("Cookie", b"; ".join(split.others).decode("latin-1")))
    return Plain(200 if about else 202, fields)
