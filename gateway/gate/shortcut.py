"""The shortcut: admission of a request whose decision is known to be Forward, without `decide`.

A route has a bit only where the decision depends on the ruling and the session alone (`Site.find_route`); `LiveSession.met` has the bit once
the session met that ruling. A connection uses the shortcut once for each request, and only for a request that repeats the fields of one that
was judged. Pure.
"""

from gateway.gate.site import Route
from gateway.http.message import RequestHead
from gateway.sessions.live import LiveSession


def passes(route: Route, head: RequestHead, session: LiveSession) -> bool:
    """Whether `decide` returns Forward(the canonical path, session, the route's rule). False: unknown, call `decide`."""
    if not route.bit or head.authorization:
        return False  # Authorization may be a password
    if session.met & route.bit:
        return True
    for requirement in route.ruling.requirements:
        if requirement.unmet(session.session.identity) is not None:
            return False
    session.met |= route.bit
    return True


def needs_session(route: Route, head: RequestHead) -> bool:
    """Whether `decide` returns NeedSession for a request with a key and without its session. False: unknown, call `decide`."""
    return route.bit != 0 and not head.authorization
