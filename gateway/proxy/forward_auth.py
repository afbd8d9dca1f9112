"""`/oauth2/auth`: the gate's answer for another proxy (nginx auth_request, Traefik, Caddy, Envoy).

The original request is described in header fields, and those are believed from trusted proxies only: from anybody else they would be a way
to ask about one page and get another (C-01). 202 with the identity fields, 401, or 403; nothing is forwarded. A door that must read the body
cannot be judged here, so it stays shut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.errors import BadRequest, Forbidden, LoginRequired, Refusal, RouteBlocked, StepUpRequired, UntrustedPeer
from gateway.gate import Decision, Forward, Own, Refuse, SignIn
from gateway.message import RequestHead
from gateway.sites import Site

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


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """A response without a body to speak of."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = b""


def original_request(asked: RequestHead, *, trusted: bool) -> RequestHead:
    """The request that the other proxy asks about. Raises UntrustedPeer or BadRequest."""
    if not trusted:
        raise UntrustedPeer("forward-auth from a peer outside trusted_proxies")
    said: dict[bytes, bytes] = {}
    for name, value in asked.fields:
        lower = name.lower()
        if lower in _DESCRIBES:
            if lower in said:
                raise BadRequest(f"{lower.decode()} twice")
            said[lower] = value
    url = said.get(b"x-original-url")
    uri = said.get(b"x-forwarded-uri", said.get(b"x-original-uri"))
    host = said.get(b"x-forwarded-host", said.get(b"x-original-host", asked.host))
    method = said.get(b"x-forwarded-method", said.get(b"x-original-method", b"GET"))
    if url is not None and uri is None:
        parts = urlsplit(url.decode("latin-1"))
        uri = (parts.path or "/").encode("latin-1") + (b"?" + parts.query.encode("latin-1") if parts.query else b"")
        host = parts.netloc.encode("latin-1") or host
    if uri is None:
        raise BadRequest("forward-auth without the original URI")
    if not uri.startswith(b"/") or not method.isalpha():
        raise BadRequest("forward-auth with an original URI or method that is none")
    fields = [(name, value) for name, value in asked.fields if name.lower() not in _DESCRIBES]
    return RequestHead(method.decode().upper(), uri, host, fields)


def answer(site: Site, decision: Decision, identity: bytes) -> AuthAnswer:
    """The gate's decision as forward-auth says it. Raises a Refusal: 401, 403 or 400."""
    if isinstance(decision, Forward):
        lines = identity.decode().split("\r\n") if decision.live is not None else []
        return AuthAnswer(202, [(name, value) for name, _, value in (line.partition(": ") for line in lines if line)])
    if isinstance(decision, Refuse):
        raise _as_forward_auth(decision.refusal)
    if isinstance(decision, SignIn):
        url = site.route.origin + "/oauth2/start"
        if decision.max_age is not None or decision.acr:
            raise StepUpRequired(
                "forward-auth", sign_in_url=url, max_age=decision.max_age, acr_values=" ".join(decision.acr)
            )
        raise LoginRequired("forward-auth", sign_in_url=url)
    if isinstance(decision, Own):
        raise Forbidden("a path of ours must be sent to us, never to an upstream")
    raise RouteBlocked("a body-dependent door cannot be judged by forward-auth", kind="password")


def _as_forward_auth(refusal: Refusal) -> Refusal:
    """Proxies understand 401 and 403; any other refusal of the original request is one of those."""
    return refusal if refusal.status in (400, 401, 403, 503) else RouteBlocked(refusal.detail, kind="refused")
