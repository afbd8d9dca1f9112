"""Who signs out here is signed out at the upstream too: its session is ended there, and its cookies are taken away.

As well as it can be done in two seconds: whatever the upstream says, our session is over, and no cookie of its session gets past the
gateway any more.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

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
_SAID_BY_US: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip")


class UpstreamSignOut:
    """`brokers` and `pool` are by app."""

    def __init__(self, brokers: Mapping[str, Broker], pool: Callable[[str], Pool]) -> None:
        self._brokers = brokers
        self._pool = pool

    async def leave(self, request: Request[RequestHead], live: LiveSession | None) -> list[str]:
        """End the upstream's session that belonged to `live`. The Set-Cookie values that take its cookies away."""
        broker = self._brokers.get(request.site.route.name)
        if broker is None:
            return []
        paths = dict.fromkeys(broker.plan.session_cookies, "/")
        if live is not None:
            try:
                async with asyncio.timeout(_SECONDS):
                    paths = await broker.farewell(
                        live, self._upstream(request), self._credentials(request, live, broker)
                    )
            except (Refusal, TimeoutError) as error:
                log.info(
                    "%s: the upstream's session was not ended there: %s", request.site.route.name, type(error).__name__
                )
        return [expired(name, path, secure=request.site.route.secure) for name, path in paths.items()]

    def _credentials(self, request: Request[RequestHead], live: LiveSession, broker: Broker) -> Credentials:
        others = request.site.cookie.split(request.cookies).others
        return Credentials(cookies=tuple(broker.seals.keep(live.session.sid, others).session))

    def _upstream(self, request: Request[RequestHead]) -> UpstreamClient:
        lines = [name + b": " + value for name, value in request.head.fields if name.lower() in _SAID_BY_US]
        lines.append(b"X-Request-Id: " + request.request_id.encode("latin-1", "replace"))
        return UpstreamClient(self._pool(request.site.route.name), request.site.route.host, lines, _SECONDS)
