"""`/oauth2/auth`: the gate's answer for another proxy (nginx auth_request, Traefik, Caddy).

The original request is described in header fields, and those are believed from trusted proxies only: any other client could describe one
page and get another (C-01). 202 with the identity fields, 401, or 403; nothing is forwarded. A password route that depends on the body cannot
be judged here, so it is refused.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from gateway.errors.access import Forbidden, FormLost, LoginRequired, RouteBlocked, StepUpRequired, UntrustedPeer
from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest
from gateway.gate.decision import Decision, Forward, NeedBody, Own, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import START, Site, start_url
from gateway.http.header_policy import is_always_dropped, is_odd
from gateway.http.message import RequestHead
from gateway.http.request_head import ParsedRequest
from gateway.identity.headers import is_identity_name
from gateway.policy.methods import overrides_in_fields
from gateway.proxy.context import ProxyContext
from gateway.proxy.local_reply import LocalReply, Plain
from gateway.proxy.refusal_events import emit_refusal

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
#: No method was described: judged as GET where no rule could tell, refused elsewhere.
NO_METHOD: Final = b"UNSAID"
_URL = re.compile(rb"https?://([^/?#]+)([^ \t]*)", re.IGNORECASE)


def original_request(request: RequestHead, *, trusted: bool) -> RequestHead:
    """The request that the other proxy describes. Raises UntrustedPeer or BadRequest."""
    if not trusted:
        raise UntrustedPeer("forward-auth from a peer outside trusted_proxies")
    described: dict[bytes, bytes] = {}
    for name, value in request.fields:
        lower = name.lower()
        if lower in _DESCRIBES:
            if lower in described:
                raise BadRequest(f"{lower.decode()} twice")
            described[lower] = value
    uri, host, method = _described(described, request.host)
    if uri is None:
        raise BadRequest("forward-auth without the original URI")
    if not uri.startswith(b"/") or not method.isalpha():
        raise BadRequest("forward-auth with an original URI or method that is none")
    fields = [(name, value) for name, value in request.fields if name.lower() not in _DESCRIBES]
    return RequestHead(method.decode().upper(), uri, host, fields)


def _described(fields: Mapping[bytes, bytes], host_field: bytes) -> tuple[bytes | None, bytes, bytes]:
    """URI, host and method of the original request. Raises BadRequest."""
    # SECURITY: a proxy sets the fields of its own style and passes the client's on with them: those must not outvote it (C-01).
    uri, host = fields.get(b"x-original-uri"), host_field
    if b"x-original-url" in fields:
        match = _URL.fullmatch(fields[b"x-original-url"])
        if match is None:
            raise BadRequest("forward-auth with an original URL that is none")
        if uri is not None:
            _agreed("host", host_field.lower(), match[1].lower())  # one of the two is the client's; Host names the app
        uri, host = _agreed("URI", uri, match[2] if match[2].startswith(b"/") else b"/" + match[2]), match[1]
    if uri is None:
        host = fields.get(b"x-forwarded-host", fields.get(b"x-original-host", host_field))
    for name in (b"x-forwarded-host", b"x-original-host"):
        _agreed("host", host.lower(), fields.get(name, host).lower())
    method = _agreed("method", fields.get(b"x-original-method"), fields.get(b"x-forwarded-method"))
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
        if lower in site.client_headers:
            continue
        # SECURITY: what we take out of a request that we forward stays in this one: with SCRIPT_NAME the application
        # would serve another path than the one that is judged here (C-62). Our own names are overwritten with those of the answer.
        if is_odd(name) or (is_always_dropped(lower) and not is_identity_name(name) and lower not in _ADDED_BY_PROXIES):
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


def reply(site: Site, decision: Decision, identity: bytes) -> Plain:
    """The gate's decision as a forward-auth response. Raises a Refusal: 401, 403 or 400."""
    if isinstance(decision, Forward):
        lines = identity.decode().split("\r\n") if decision.session is not None else []
        return Plain(202, [(name, value) for name, _, value in (line.partition(": ") for line in lines if line)])
    if isinstance(decision, Refuse):
        if isinstance(decision.refusal, FormLost):  # the other proxy has the form
            raise LoginRequired("forward-auth", sign_in_url=site.route.origin + START)
        raise _as_forward_auth(decision.refusal)
    if isinstance(decision, RedirectToSignIn):
        step_up = decision.step_up
        url = site.route.origin + (start_url(decision.return_to) if step_up else START)
        if step_up:
            raise StepUpRequired(
                "forward-auth", sign_in_url=url, max_age=step_up.max_age, acr_values=" ".join(step_up.acr)
            )
        raise LoginRequired("forward-auth", sign_in_url=url)
    if isinstance(decision, Own):
        raise Forbidden("a path of ours must be sent to us, never to an upstream")
    raise RouteBlocked("a password route that depends on the body cannot be judged by forward-auth", kind="password")


def _as_forward_auth(refusal: Refusal) -> Refusal:
    """Proxies understand 401 and 403; any other refusal of the original request is one of those."""
    return refusal if refusal.status in (400, 401, 403, 503) else RouteBlocked(refusal.detail, kind="refused")


async def answer(context: ProxyContext, request: Request[ParsedRequest]) -> LocalReply:
    """Answer the other proxy. Raises a Refusal."""
    described = original_request(request.head, trusted=request.trusted)
    site = context.site(described.host)
    described = with_method(described, site)
    refuse_what_never_travels(described, site)
    split = site.cookie.split(request.head.cookies)
    key = context.key_of(split.token) if split.token is not None else None
    session = context.cache.peek(key, site.route.host) if key is not None else None
    if key is not None and session is None:
        session = await context.cache.load(key, site.route.host, site.route.name)
    question = Request[RequestHead](
        site, described, key, session, context.now(), request.request_id, request.peer, request.trusted,
        session_looked_up=True, body_hidden=True, carrier=request.head,
    )  # fmt: skip
    decisions = [context.admit(structs.replace(question, head=reading)) for reading in readings(described)]
    decision = strictest(decisions, described)
    refused = decision.unread if isinstance(decision, NeedBody) else decision
    if isinstance(refused, Refuse):
        # The events are about the described request.
        emit_refusal(context, question, refused)
    identity = b""
    if isinstance(decision, Forward) and decision.session is not None:
        context.cache.touch(decision.session)
        identity = context.heads.identity(site, decision.session)
    return reply(site, decision, identity)
