"""Seals the upstream's session cookies for one session of ours in responses, and opens them in requests.

The invariant is that of `hand_off.cookie_seals`. A browser without a session of ours has none of the upstream's, unless the
upstream's own login is open.
"""

from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.set_cookie import SetCookie, parse_set_cookie
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.subrequest import Credentials
from gateway.sessions.cache import LiveSession


class CookieFilter:
    """The cookies of one app."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def without_session(self, request: Request[ParsedRequest]) -> list[bytes]:
        """The `Cookie` values for the upstream, of a request without a session."""
        return list(request.cookies) if _own_login_open(request) else self._seals.names.without(request.cookies)

    def with_session(self, request: Request[ParsedRequest], session: LiveSession) -> tuple[list[bytes], Credentials]:
        """The `Cookie` values for the upstream, of a request with a session, and the credentials of the upstream's session in them."""
        kept = self._seals.keep(session.session.sid, request.cookies)
        return kept.values, Credentials(cookies=tuple(kept.session))

    def seal(self, request: Request[ParsedRequest], session: LiveSession | None, response: ParsedResponse) -> None:
        """Seal the Set-Cookie lines of a response."""
        if self._seals.names and not (session is None and _own_login_open(request)):
            lines = (self._filter_line(line, session, request.site) for line in response.lines)
            response.lines = [line for line in lines if line]

    def set_cookie_value(self, cookie: SetCookie, session: LiveSession, site: Site) -> bytes:
        """The Set-Cookie value of a cookie that the upstream set in a hand-off."""
        if cookie.name not in self._seals.names.exact:
            return b"; ".join((cookie.name + b"=" + cookie.value, *filter(None, cookie.attributes)))
        value = cookie.value if cookie.deletes else self._seals.seal(session.session.sid, cookie.name, cookie.value)
        return cookie.for_host(value, secure=site.route.secure)

    def _filter_line(self, line: bytes, session: LiveSession | None, site: Site) -> bytes:
        name, _, value = line.partition(b":")
        if name.lower() != b"set-cookie":
            return line
        cookie = parse_set_cookie(value)
        if cookie is None or cookie.name not in self._seals.names.exact:
            # SECURITY: a nameless cookie comes back as its bare value, which may read `SESSION=planted` (C-37).
            return b"" if cookie is None and self._seals.names.resembles(value) else line
        # SECURITY: a session that the upstream opens without a person must not replace a person's (C-36).
        return b"" if session is None else name + b": " + self.set_cookie_value(cookie, session, site)


def _own_login_open(request: Request[ParsedRequest]) -> bool:
    """Whether the upstream's own login is open to this browser, which has no session of ours."""
    return request.session_key is None and not request.site.password_routes.closed
