"""The upstream's session cookies on their way: sealed for one session of ours when they are set, opened when they come back.

The invariant is that of `hand_off.seals`. Who has no session of ours has none of the upstream's, unless its own login is open to them.
"""

from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.set_cookie import SetCookie, parse_set_cookie
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.subrequest import Credentials
from gateway.sessions.cache import LiveSession


class Sealing:
    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def without_session(self, request: Request[ParsedRequest]) -> list[bytes]:
        """The `Cookie` values of a request that goes on without a session."""
        return list(request.cookies) if _own_login_open(request) else self._seals.names.without(request.cookies)

    def kept(self, request: Request[ParsedRequest], live: LiveSession) -> tuple[list[bytes], Credentials]:
        """The `Cookie` values of a person's request, and what in them opens the upstream's session."""
        kept = self._seals.keep(live.session.sid, request.cookies)
        return kept.values, Credentials(cookies=tuple(kept.session))

    def seal(self, request: Request[ParsedRequest], live: LiveSession | None, response: ParsedResponse) -> None:
        """Change the Set-Cookie lines of a response that goes on."""
        if self._seals.names and not (live is None and _own_login_open(request)):
            lines = (self._line(line, live, request.site) for line in response.lines)
            response.lines = [line for line in lines if line]

    def relayed(self, cookie: SetCookie, live: LiveSession, site: Site) -> bytes:
        """The Set-Cookie value of a cookie that the upstream set in a hand-off."""
        if cookie.name not in self._seals.names.exact:
            return b"; ".join((cookie.name + b"=" + cookie.value, *filter(None, cookie.attributes)))
        value = cookie.value if cookie.deletes else self._seals.seal(live.session.sid, cookie.name, cookie.value)
        return cookie.kept_here(value, secure=site.route.secure)

    def _line(self, line: bytes, live: LiveSession | None, site: Site) -> bytes:
        name, _, value = line.partition(b":")
        if name.lower() != b"set-cookie":
            return line
        cookie = parse_set_cookie(value)
        if cookie is None or cookie.name not in self._seals.names.exact:
            # SECURITY: a nameless cookie comes back as its bare value, which may read `SESSION=planted` (C-37).
            return b"" if cookie is None and self._seals.names.resembles(value) else line
        # SECURITY: a session that the upstream opens for nobody must not take the place of a person's (C-36).
        return b"" if live is None else name + b": " + self.relayed(cookie, live, site)


def _own_login_open(request: Request[ParsedRequest]) -> bool:
    """Whether the upstream's own login is open to this browser, which has no session of ours."""
    return request.session_key is None and not request.site.password_routes.closed
