"""Opens the upstream's session: the request that redeems the token, the redirects after it, and the check of the session's owner.

Opens no connection itself: an `Upstream` sends the requests. Redirects are followed only until the upstream has set its session cookie, only on
the upstream itself, and at most five; no browser sees their targets (A-50).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from gateway.directory.account import fold_email
from gateway.errors.hand_off import HandOffFailed, HandOffMismatch
from gateway.hand_off.plan import HandOffPlan
from gateway.hand_off.records import Bearer
from gateway.hand_off.set_cookie import SetCookie, parse_set_cookie
from gateway.hand_off.templates import all_known, at_pointer, fill, in_url, outgoing
from gateway.hand_off.tokens import usable
from gateway.proxy.subrequest import Credentials, FilledRequest, Reply

_MOST_STEPS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SHORTEST_LIFE: Final = 60.0


class Upstream(Protocol):
    """The app's upstream, on behalf of one person."""

    host: str

    async def send(self, request: FilledRequest, credentials: Credentials) -> Reply:
        """Raises UpstreamUnreachable, UpstreamFault, UpstreamTimeout, UpstreamTlsFault."""


async def open_with_cookies(plan: HandOffPlan, upstream: Upstream, facts: Mapping[str, str]) -> tuple[SetCookie, ...]:
    """All cookies that the upstream sets on the way to its session. Raises HandOffFailed when there is none of `session_cookies`."""
    wanted = frozenset(name.encode() for name in plan.session_cookies)
    jar: dict[tuple[bytes, bytes], SetCookie] = {}
    request = outgoing(plan.redeem, plan.redeem.path, facts)
    for _ in range(_MOST_STEPS):
        reply = await upstream.send(request, Credentials(cookies=_pairs(jar.values())))
        for value in reply.values(b"set-cookie"):
            cookie = parse_set_cookie(value)
            if cookie is not None:
                jar[cookie.name, cookie.path] = cookie
        if any(cookie.name in wanted and not cookie.deletes for cookie in jar.values()):
            if reply.status >= 400:
                raise HandOffFailed("redeem_refused", f"the upstream answered {reply.status}")
            return tuple(jar.values())
        request = _next_step(plan, upstream, request, reply)
    raise HandOffFailed("no_session", f"no session cookie after {_MOST_STEPS} redirects")


def _next_step(plan: HandOffPlan, upstream: Upstream, request: FilledRequest, reply: Reply) -> FilledRequest:
    """The request that follows a redirect. Raises HandOffFailed when there is none to follow."""
    if not reply.location:
        names = b", ".join(sorted(value.partition(b"=")[0].strip() for value in reply.values(b"set-cookie")))
        cookies = f"it set {names[:200].decode('latin-1')!r}" if names else "it set no cookie"
        raise HandOffFailed("no_session", f"the upstream answered {reply.status}, and {cookies}: see session_cookies")
    base = request.target.encode()
    if plan.login_pages.are_at(reply.location, base, upstream.host):
        raise HandOffFailed("redeem_refused", "the upstream sent the token back to its login page")
    there = plan.login_pages.on_its_own(reply.location, base, upstream.host)
    if there is None:
        raise HandOffFailed("no_session", "the upstream redirects elsewhere before it sets its session cookie")
    return FilledRequest(method="GET", target=there.wire().decode())


async def open_with_bearer(plan: HandOffPlan, upstream: Upstream, facts: Mapping[str, str], now: datetime) -> Bearer:
    """Redeem the token for a bearer token. Raises HandOffFailed."""
    reply = await upstream.send(outgoing(plan.redeem, plan.redeem.path, facts), Credentials())
    if not 200 <= reply.status < 300:
        raise HandOffFailed("redeem_refused", f"the upstream answered {reply.status}")
    document = reply.json()
    token = usable(at_pointer(document, plan.redeem.token_pointer))
    seconds = at_pointer(document, plan.redeem.expires_pointer)
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < 1e9
    return Bearer(token=token, until=now.timestamp() + (max(float(seconds), _SHORTEST_LIFE) if good else 3600.0))


async def verify_owner(
    plan: HandOffPlan, upstream: Upstream, credentials: Credentials, facts: Mapping[str, str]
) -> bool:
    """Whether the upstream's session exists and is this person's; True without `who_am_i`.

    Raises HandOffMismatch for another person's, HandOffFailed when the response has no such value.
    """
    if not plan.who_am_i:
        return True
    question = next((one for one in plan.who_am_i if all_known(one.equals, facts)), plan.who_am_i[-1])
    # SECURITY: a name such as `x?email=ada` asks about this person's session, not about another one's.
    path = fill(question.path, facts, in_url)
    headers = (("Accept", "application/json"),)
    reply = await upstream.send(FilledRequest(method="GET", target=path, headers=headers), credentials)
    if reply.status in (401, 403) or plan.login_pages.are_at(reply.location, path.encode(), upstream.host):
        return False
    found = at_pointer(reply.json(), question.pointer) if 200 <= reply.status < 300 else None
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise HandOffFailed("who_am_i", f"the upstream answered {reply.status}, without a value at {question.pointer}")
    # SECURITY: one person's upstream session must never be another's: but for case, the texts are equal.
    if fold_email(str(found).strip()) != fold_email(fill(question.equals, facts).strip()):
        raise HandOffMismatch("the upstream's session belongs to another person")
    return True


async def log_out(plan: HandOffPlan, upstream: Upstream, credentials: Credentials) -> None:
    """End the upstream's session there, where it has a path for that. Raises a Refusal when it does not answer."""
    if plan.log_out is not None and (credentials.cookies or credentials.bearer):
        await upstream.send(FilledRequest(method="GET", target=plan.log_out), credentials)


def _pairs(cookies: Sequence[SetCookie] | Any) -> tuple[bytes, ...]:
    return tuple(cookie.name + b"=" + cookie.value for cookie in cookies if not cookie.deletes)


def credentials_of(cookies: Sequence[SetCookie], names: frozenset[bytes]) -> Credentials:
    """The cookies of these names, as credentials."""
    return Credentials(cookies=_pairs([cookie for cookie in cookies if cookie.name in names]))
