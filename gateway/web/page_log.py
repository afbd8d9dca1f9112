"""Counters and access lines of the requests to Doorward's own pages."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.gate.site import Sites
from gateway.observability.access_log import AccessLog, AccessRecord
from gateway.observability.counters import Counters


class PageLog:
    """Counts and logs the requests to Doorward's own pages, as the proxy does all others. `log`: None where there are no access lines."""

    def __init__(self, sites: Sites, counters: Counters, log: AccessLog | None) -> None:
        self._sites = sites
        self._counters = counters
        self._log = log

    @web.middleware
    async def observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware."""
        began = time.monotonic()
        response = await handler(request)
        seconds = time.monotonic() - began
        site = self._sites.by_host.get(request.headers["Host"])
        app, host = ("-", "") if site is None else (site.route.name, site.route.host)
        self._counters.finished(app, response.status, seconds)
        if self._log is not None:
            path, _, _ = request.raw_path.partition("?")
            client, request_id = request.headers["X-Real-IP"], request.headers["X-Request-Id"]
            size = response.content_length or 0
            chosen = self._log.choose({"host": host, "agent": request.headers.get("User-Agent", "")})
            self._log.write(
                AccessRecord(
                    app, request.method, path, response.status, size, seconds, client, "", request_id, "own", chosen
                )
            )
        return response
