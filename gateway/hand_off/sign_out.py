"""Ends the upstream's session at sign-out, and deletes its cookies.

The upstream has two seconds to answer. Without an answer our session is over all the same, and no cookie of the upstream's
session passes the gateway any more.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from gateway.config.field_names import FORWARDING_FIELDS
from gateway.errors.network import network_reason
from gateway.errors.refusal import Refusal
from gateway.gate.request import Request
from gateway.hand_off.broker import Broker
from gateway.hand_off.set_cookie import expired
from gateway.http.message import RequestHead
from gateway.proxy.pool import Pool
from gateway.proxy.subrequest import Credentials, UpstreamClient
from gateway.sessions.cache import LiveSession

log = logging.getLogger("doorward.web")
_SECONDS: Final = 2.0
_FORWARDED: Final = frozenset(name.encode() for name in FORWARDING_FIELDS)


class UpstreamSignOut:
    """Sign-out at the upstreams. `brokers` and `pool` are by app."""

    def __init__(self, brokers: Mapping[str, Broker], pool: Callable[[str], Pool]) -> None:
        self._brokers = brokers
        self._pool = pool

    async def end(self, request: Request[RequestHead], session: LiveSession | None) -> list[str]:
        """End the upstream's session that belonged to `session`; the Set-Cookie values that delete its cookies."""
        broker = self._brokers.get(request.site.route.name)
        if broker is None:
            return []
        paths = dict.fromkeys(broker.plan.session_cookies, "/")
        if session is not None:
            try:
                async with asyncio.timeout(_SECONDS):
                    paths = await broker.end_at_sign_out(
                        session, self._upstream(request), self._credentials(request, session, broker)
                    )
            except (Refusal, TimeoutError) as error:
                log.info(
                    "%s: the upstream's session was not ended there: %s", request.site.route.name, network_reason(error)
                )
        return [expired(name, path, secure=request.site.route.secure) for name, path in paths.items()]

    def _credentials(self, request: Request[RequestHead], session: LiveSession, broker: Broker) -> Credentials:
        others = request.site.cookie.split(request.cookies).others
        return Credentials(cookies=tuple(broker.seals.keep(session.session.sid, others).session))

    def _upstream(self, request: Request[RequestHead]) -> UpstreamClient:
        lines = [name + b": " + value for name, value in request.head.fields if name.lower() in _FORWARDED]
        lines.append(b"X-Request-Id: " + request.request_id.encode("latin-1", "replace"))
        return UpstreamClient(self._pool(request.site.route.name), request.site.route.host, lines, _SECONDS)
