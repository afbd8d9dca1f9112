"""LoginAttempts: begun with a sealed `state` and the browser's cookie, found again by both, for fifteen minutes.

The invariant: a client without a session cannot fill Redis (C-49), and a state is worth nothing in a browser that does not hold its cookie
(A-53). Any number of tabs share one cookie.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gateway.gate.site import AppRoute
from gateway.oidc.authorization import ATTEMPT_LIFETIME, AttemptFacts, LoginAttempt, attempt_of, random_text
from gateway.sessions.keyring import KeyRing
from gateway.sessions.long_links import LongLinks
from gateway.sign_in.browser_binding import (
    LOOPING,
    MOST_CLEARED,
    SECRET_BYTES,
    BrowserBinding,
    finished_rounds,
    over_budget,
    read_bindings,
)
from gateway.sign_in.earlier_attempts import EarlierAttempts
from gateway.sign_in.login_state import LONGEST, LoginStates, OpenedState, with_short_link

_DELETED: Final = timedelta(0)


class LoginAttempts:
    """For any host. `random(n)` gives n random bytes."""

    def __init__(self, ring: KeyRing, links: LongLinks, random: Callable[[int], bytes]) -> None:
        self._states = LoginStates(ring)
        self._earlier = EarlierAttempts(ring)
        self._links = links
        self._random = random

    def begin(
        self, facts: AttemptFacts, values: Sequence[bytes], route: AppRoute, *, cross_site: bool = False
    ) -> tuple[LoginAttempt, list[str]]:
        """The new attempt, and the Set-Cookie values that bind it to the browser whose `Cookie` values these are.

        `cross_site`: a form of the provider's site will bring the response.
        """
        bindings = sorted(read_bindings(values, route), key=lambda binding: binding.cross_site != cross_site)
        if bindings and bindings[0].cross_site == cross_site:
            binding = replace(bindings[0], shared=True)
        else:
            binding = BrowserBinding(secret=self._random(SECRET_BYTES), cross_site=cross_site)
        opened = OpenedState(facts=facts, nonce=random_text(self._random), binding=binding.fingerprint)
        state = self._states.seal(opened)
        if len(state) > LONGEST:
            state = self._states.seal(
                with_short_link(opened, self._links.keep(facts.return_to, facts.step_up_for, facts.host))
            )
        surplus = [old.set_header(route, _DELETED) for old in over_budget(bindings)]
        return _attempt(facts, state, opened, binding), [binding.set_header(route), *surplus[:MOST_CLEARED]]

    async def find(
        self, state: str, values: Sequence[bytes], route: AppRoute, now: datetime, *, cross_site: bool = False
    ) -> LoginAttempt | None:
        """The attempt with this `state` that this browser began on this host in the last 15 minutes, or None. Raises StoreUnavailable.

        `cross_site`: a form of another site brings it, and it was begun for that.
        """
        opened = self._states.open(state, route)
        if opened is None:
            return None if cross_site else self._earlier.find(state, values, route, now)
        if now - opened.facts.started_at > ATTEMPT_LIFETIME:
            return None
        for binding in read_bindings(values, route):
            # SECURITY: a form that another site sends counts only with the cookie that was set for it, and a link only with the other.
            if binding.cross_site != cross_site:
                continue
            # SECURITY: a state without its cookie belongs to another person's login.
            if hmac.compare_digest(binding.fingerprint, opened.binding):
                return _attempt(await self._whole(opened), state, opened, binding)
        return None

    async def wanted(self, state: str, route: AppRoute) -> AttemptFacts | None:
        """What a state of ours is for, whichever browser brings it and whenever: to lead on from a page. Raises StoreUnavailable."""
        opened = self._states.open(state, route)
        return None if opened is None else await self._whole(opened)

    def is_looping(self, return_to: str, values: Sequence[bytes], route: AppRoute, now: datetime) -> bool:
        """Whether this browser signed in for this page again and again, and came back without a session."""
        return finished_rounds(read_bindings(values, route), return_to, now) >= LOOPING

    def finish(self, attempt: LoginAttempt, values: Sequence[bytes], route: AppRoute, now: datetime) -> list[str]:
        """Set-Cookie values after a sign-in that succeeded."""
        bindings = read_bindings(values, route)[:1] or [BrowserBinding(secret=self._random(SECRET_BYTES))]
        marked = [binding.finished(attempt.return_to, now).set_header(route) for binding in bindings]
        return [*marked, *self._earlier.drop(attempt, values, route)]

    def drop(self, attempt: LoginAttempt, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values after a sign-in that failed: the cookie stays where it has attempts of other tabs, or marks."""
        alone = [
            binding.set_header(route, _DELETED)
            for binding in read_bindings(values, route)
            if not (binding.shared or binding.marks) and binding.verifier(attempt.state) == attempt.verifier
        ]
        return [*alone, *self._earlier.drop(attempt, values, route)]

    def restart(self, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values that end a redirect loop: the next sign-in is the first one."""
        return [
            replace(binding, marks=()).set_header(route)
            for binding in read_bindings(values, route)[:MOST_CLEARED]
            if binding.marks
        ]

    def drop_all(self, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values that remove all of this browser's attempts."""
        bindings = [binding.set_header(route, _DELETED) for binding in read_bindings(values, route)]
        return [*bindings, *self._earlier.drop_all(values, route)][:MOST_CLEARED]

    async def _whole(self, opened: OpenedState) -> AttemptFacts:
        found = await self._links.find(opened.link, opened.facts.host) if opened.link is not None else None
        if found is None:
            return opened.facts
        return replace(opened.facts, return_to=found[0], step_up_for=found[1])


def _attempt(facts: AttemptFacts, state: str, opened: OpenedState, binding: BrowserBinding) -> LoginAttempt:
    return attempt_of(
        facts, state=state, nonce=opened.nonce, verifier=binding.verifier(state), dpop_seed=binding.dpop_seed(state)
    )
