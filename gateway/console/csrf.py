"""The token of a form, bound to the operator's session: a page of another site cannot know it.

HMAC-SHA-256 under a key that is derived from the ring, over the session's public handle; a token of any key of the ring is accepted, so
that an open form outlives a rotation.
"""

import hmac

from gateway.sessions.keyring import KeyRing


class FormTokens:
    """Tokens for the sessions of the console."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring.purpose("console form")

    def of(self, sid: str) -> str:
        """The token of a session, by its public handle."""
        return self._ring.marks(("csrf", sid))[0]

    def accepts(self, given: str | None, sid: str) -> bool:
        """Whether this is a token of this session."""
        sent = (given or "").encode()
        return any(hmac.compare_digest(mark.encode(), sent) for mark in self._ring.marks(("csrf", sid)))
