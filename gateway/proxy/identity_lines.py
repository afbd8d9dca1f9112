"""Who is there, as an upstream is told: the identity fields and a signed assertion, kept with the session for four minutes.

Written once for all workers that can share them (`sessions.shared_lines`).
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from gateway.assertion import ASSERTION_LIFETIME, AssertionSigner
from gateway.identity import render_identity_headers
from gateway.sessions.live import LiveSession
from gateway.sessions.shared_lines import SharedLines
from gateway.sites import Site

_SPARE: Final = timedelta(minutes=1)  # the upstream always gets an assertion that is good for as long
_FORMAT: Final = 1
_MOMENT_BYTES: Final = 8


class IdentityLines:
    """`clock` is monotonic seconds, `now` aware wall time. `proof` begins the assertion's line, for every session."""

    def __init__(
        self,
        signer: AssertionSigner,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        shared: SharedLines | None,
    ) -> None:
        self.proof = b"X-Doorward-Jwt-Assertion: %b." % signer.header
        self._signer = signer
        self._clock = clock
        self._now = now
        self._shared = shared
        self._labels: dict[Site, bytes] = {}

    def renew(self, live: LiveSession, site: Site) -> None:
        """Set what goes on behind `proof`, and until when."""
        if live.shared and self._shared is not None and self._take(live, site, self._shared):
            return
        session, now = live.session, self._now()
        assertion = self._signer.sign(
            session.identity, issuer=site.route.origin, audience=site.route.name, sid=session.sid, now=now
        )
        plain = render_identity_headers(session.identity, site.app.headers)
        live.assertion = b"%b\r\n%b" % (assertion[len(self._signer.header) + 1 :], plain)
        good_for = ASSERTION_LIFETIME - _SPARE
        live.assertion_until = self._clock() + good_for.total_seconds()
        if self._shared is not None:
            until = int((now + good_for).timestamp()).to_bytes(_MOMENT_BYTES, "big")
            self._shared.leave(live, self._label(site), until + live.assertion, good_for)

    def _take(self, live: LiveSession, site: Site, shared: SharedLines) -> bool:
        lines = shared.take(live, self._label(site))
        if lines is None:
            return False
        left = int.from_bytes(lines[:_MOMENT_BYTES], "big") - self._now().timestamp()
        # Clocks differ: nothing is taken to be good for longer than its writer could make it.
        if not 0 < left <= (ASSERTION_LIFETIME - _SPARE).total_seconds():
            return False
        live.assertion = lines[_MOMENT_BYTES:]
        live.assertion_until = self._clock() + left
        return True

    def _label(self, site: Site) -> bytes:
        """Everything besides the session that the lines depend on: another configuration finds none of them."""
        label = self._labels.get(site)
        if label is None:
            facts = [_FORMAT, self.proof.decode(), site.route.origin, site.route.name, list(site.app.headers.items())]
            label = self._labels[site] = hashlib.sha256(json.dumps(facts).encode()).digest()
        return label
