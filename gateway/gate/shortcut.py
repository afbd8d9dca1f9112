"""The one way past the gate: a request that `decide` is known to forward, because only its session decides, and its session may.

A route has a bit only where nothing but the ruling and the session decides (`Site.find_route`); a session has the bit in `met` since it met
that ruling. A connection asks here once for each request, and only for requests that repeat the fields of one that was judged.
Pure.
"""

from gateway.gate.site import Route
from gateway.http.message import RequestHead
from gateway.sessions.live import LiveSession


def passes(route: Route, head: RequestHead, session: LiveSession) -> bool:
    """Whether `decide` would say Forward(its path, session, its rule). False says nothing: ask `decide`."""
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
    """Whether `decide` would say NeedSession where there is a key and the session is not at hand. False says nothing: ask `decide`."""
    return route.bit != 0 and not head.authorization
