"""The tokens that a worker has verified, until they expire: `peek` answers without waiting, `read` verifies.

The invariant: what was verified is dropped when a mark of `EndedTokens` is written, when an issuer has other keys, and whenever Redis does not
announce changes; a verification that was under way meanwhile is made again. Only tokens that are good are kept, and a bounded number of them:
those of strangers cannot fill the memory.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.bearer.ended import EndedTokens
from gateway.bearer.issuers import TokenIssuers
from gateway.bearer.presented import BearerToken, recognised
from gateway.bearer.verification import TokenVerifier, VerifiedToken
from gateway.errors.bearer import TokenInvalid, TokenRefused
from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.redis_client.invalidation import InvalidationListener, Sources, end_task
from gateway.sessions.live import LiveSession

#: Takes the token, or the refusal.
OnToken = Callable[[VerifiedToken | None, Refusal | None], None]

_log = logging.getLogger("doorward.proxy")
_LIMIT: Final = 10_000
_ATTEMPTS: Final = 3
_AT_ONCE: Final = 200  # verifications that wait for a provider, Redis or the directory


class BearerTokens:
    """`clock` is monotonic."""

    def __init__(
        self,
        verifier: TokenVerifier,
        ended: EndedTokens,
        sources: Sources,
        clock: Callable[[], float],
        limit: int = _LIMIT,
    ) -> None:
        self.issuers: TokenIssuers | None = None
        self._verifier = verifier
        self._clock = clock
        self._on_dropped: Callable[[], None] = lambda: None
        self._limit = limit
        self._known: OrderedDict[tuple[bytes, str], VerifiedToken] = OrderedDict()
        self._reads: dict[tuple[bytes, str], list[OnToken]] = {}
        self._drops = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._invalidation = InvalidationListener(
            sources, ended.prefix, on_change=lambda name: self.drop(), on_reset=self.drop, on_trust_lost=self.drop,
            before_trust=_nothing, clock=clock,
        )  # fmt: skip

    @property
    def size(self) -> int:
        return len(self._known)

    @property
    def trusted(self) -> bool:
        """Whether ends are announced, and so whether `peek` answers."""
        return self._clock() < self._invalidation.trusted_until

    def start(self, issuers: TokenIssuers, on_dropped: Callable[[], None]) -> None:
        """Listen and fetch keys, in the running loop; nothing is started where no app takes tokens.

        `on_dropped()` is called when verified tokens may not count any more: their open exchanges are read again.
        """
        self.issuers, self._on_dropped = issuers, on_dropped
        if issuers.by_app:
            issuers.start()
            self._listening = asyncio.create_task(self._invalidation.run())

    async def close(self) -> None:
        if self._listening is not None:
            await end_task(self._listening)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._invalidation.close()
        if self.issuers is not None:
            await self.issuers.close()

    def peek(self, token: BearerToken, host: str) -> VerifiedToken | None:
        """The verified token, if it still counts; None: `read` decides."""
        known = self._known.get((token.digest, host))
        if known is None:
            return None
        now = self._clock()
        # SECURITY: a token is over by the clock, and an end that was not announced must not be missed (D-35).
        if now >= known.until or now >= self._invalidation.trusted_until:
            return None
        return known

    def read(self, token: BearerToken, app: str, host: str, on_token: OnToken) -> None:
        """Verify the token; `on_token` is called later. Requests with the same token share one verification."""
        key = (token.digest, host)
        waiting = self._reads.get(key)
        if waiting is not None:
            waiting.append(on_token)
            return
        if len(self._reads) >= _AT_ONCE:
            on_token(None, StoreUnavailable("too many access tokens wait to be verified"))
            return
        self._reads[key] = [on_token]
        task = asyncio.get_running_loop().create_task(self._read(token, app, host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drop(self) -> None:
        """Nothing that was verified counts any more."""
        self._drops += 1
        self._known.clear()
        self._on_dropped()

    async def again(self, session: LiveSession) -> LiveSession | None:
        """The session of a token with open exchanges, verified anew where it was dropped; None: it is over.

        Raises a Refusal where that cannot be known now.
        """
        issuers = self.issuers
        text = (session.session.access_token or "").encode()
        accepted = issuers.by_app.get(session.session.app) if issuers is not None else None
        if accepted is None:
            return None
        token = recognised(text, accepted.by_issuer, opaque=accepted.introspection is not None)
        if token is None:
            return None
        known = self.peek(token, session.host)
        if known is None:
            try:
                known = await self._verified(token, session.session.app, session.host)
            except TokenRefused:
                return None
        return known.session

    async def _read(self, token: BearerToken, app: str, host: str) -> None:
        found: VerifiedToken | None = None
        error: Refusal | None = None
        try:
            found = await self._verified(token, app, host)
        except Refusal as refusal:
            error = refusal
        except asyncio.CancelledError:
            self._finish(token, host, None, StoreUnavailable("the worker ends"))
            raise
        except Exception:
            _log.exception("an access token could not be verified")
            error = Refusal("defect")
        self._finish(token, host, found, error)

    def _finish(self, token: BearerToken, host: str, found: VerifiedToken | None, error: Refusal | None) -> None:
        for on_token in self._reads.pop((token.digest, host), ()):
            try:
                on_token(found, error)
            except Exception:
                _log.exception("the callback for an access token failed")  # the other requests wait for it too

    async def _verified(self, token: BearerToken, app: str, host: str) -> VerifiedToken:
        accepted = self.issuers.by_app.get(app) if self.issuers is not None else None
        if accepted is None:
            raise TokenInvalid("unknown", "the app takes no tokens")
        for _ in range(_ATTEMPTS):
            drops = self._drops
            found = await self._verifier.verify(accepted, token, app, host)
            # SECURITY: an end that was announced meanwhile may have come after the mark was read (D-35).
            if drops == self._drops:
                self._keep((token.digest, host), found)
                return found
        raise StoreUnavailable("tokens end faster than they are verified")

    def _keep(self, key: tuple[bytes, str], found: VerifiedToken) -> None:
        if self._clock() >= self._invalidation.trusted_until:
            return
        self._known.pop(key, None)
        self._known[key] = found
        if len(self._known) > self._limit:
            self._known.popitem(last=False)


async def _nothing() -> None:
    """There is nothing to be done before invalidations count."""
