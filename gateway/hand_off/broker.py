"""One hand-off: the token, its redemption, whose session it is. One at a time for each session in the whole fleet, and not without end.

The invariant: what comes out belongs to the person of the session that asked, or nothing comes out. Whoever waited while another tab or
worker was handed off gets no second one: the browser has what it needs by then.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from gateway import audit as events
from gateway.audit import Audit
from gateway.errors import DirectoryUnavailable, HandOffFailed, HandOffLoop, HandOffMismatch, Refusal
from gateway.hand_off.filled import facts_of, outgoing
from gateway.hand_off.opening import (
    Credentials,
    Upstream,
    ask_whose,
    credentials_of,
    log_out,
    open_with_bearer,
    open_with_cookies,
)
from gateway.hand_off.plan import Plan
from gateway.hand_off.records import Bearer, HandOffRecord, HandOffRecords
from gateway.hand_off.seals import Seals
from gateway.hand_off.set_cookie import SetCookie
from gateway.hand_off.tokens import TokenSource
from gateway.leases import LeaseBusy, Leases
from gateway.sessions.live import LiveSession

log = logging.getLogger("doorward.hand_off")
_CAUSE: Final = "Either the browser does not keep its session cookie, or this account may not open the page and is asked for another."


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """`again`: somebody else was quicker, and the page need only be asked for again. `link`: where the browser is to go."""

    cookies: tuple[SetCookie, ...] = ()
    bearer: Bearer | None = None
    link: str | None = field(default=None, repr=False)
    again: bool = False


class Broker:
    """The hand-offs of one app. `now` gives the wall clock, aware UTC."""

    def __init__(
        self,
        app: str,
        plan: Plan,
        seals: Seals,
        *,
        tokens: TokenSource | None,
        records: HandOffRecords,
        leases: Leases,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self.plan = plan
        self.seals = seals
        self._app = app
        self._tokens = tokens
        self._records = records
        self._leases = leases
        self._audit = audit
        self._now = now

    async def hand_off(
        self, live: LiveSession, upstream: Upstream, *, return_to: str, request_id: str, stale: str | None = None
    ) -> Handed:
        """`stale`: a bearer token that the upstream does not take any more.

        Raises HandOffFailed and its kinds, DirectoryUnavailable, StoreUnavailable, UpstreamUnreachable and its like."""
        asked_at = self._now().timestamp()
        try:
            async with asyncio.timeout(self.plan.timeout.total_seconds()):
                async with self._leases.hold(f"hand-off:{live.key}", wait=self.plan.timeout):
                    return await self._alone(live, upstream, return_to, asked_at, request_id, stale)
        except (LeaseBusy, TimeoutError):
            failure = HandOffFailed("timeout", f"nothing came of it in {self.plan.timeout.total_seconds():g} s")
            self._tell(live, events.HAND_OFF_FAILED, request_id, reason=failure.reason)
            raise failure from None
        except Refusal as refusal:
            reason = refusal.reason if isinstance(refusal, HandOffFailed | DirectoryUnavailable) else refusal.code
            log.warning("%s: no hand-off: %s (%s) request %s", self._app, reason, refusal.detail, request_id)
            self._tell(live, events.HAND_OFF_FAILED, request_id, reason=reason)
            raise

    async def _alone(
        self, live: LiveSession, upstream: Upstream, return_to: str, asked_at: float, request_id: str, stale: str | None
    ) -> Handed:
        record, plan = await self._records.read(live), self.plan
        newer = stale is not None and record.bearer is not None and record.bearer.token != stale
        if record.ended > asked_at or newer:
            return Handed(bearer=record.bearer, again=True)
        if len(record.recent(self._now(), plan.within)) >= plan.most:
            raise HandOffLoop(f"{plan.most} in {plan.within.total_seconds():g} s", cause=_CAUSE)
        record = record.with_start(self._now(), plan.within)
        await self._records.write(live, record)
        handed, record = await self._once(live, upstream, return_to, record)
        await self._records.write(live, replace(record, ended=self._now().timestamp()))
        self._tell(live, events.HAND_OFF_SUCCEEDED, request_id, via=plan.via)
        return handed

    async def _once(
        self, live: LiveSession, upstream: Upstream, return_to: str, record: HandOffRecord
    ) -> tuple[Handed, HandOffRecord]:
        plan, identity = self.plan, live.session.identity
        facts = facts_of(identity, return_to=return_to)
        if plan.needs_token and self._tokens is not None:
            facts["token"] = await self._tokens.token(identity, facts)
        if plan.via == "browser":
            link = outgoing(plan.redeem, plan.redeem.path, facts).target
            return Handed(link=link), record.with_link(link_hash(facts.get("token", link)))
        if plan.via == "bearer":
            bearer = await open_with_bearer(plan, upstream, facts, self._now())
            await self._must_be_theirs(live, upstream, Credentials(bearer=bearer.token))
            return Handed(bearer=bearer), replace(record, bearer=bearer)
        cookies = await open_with_cookies(plan, upstream, facts)
        await self._must_be_theirs(live, upstream, credentials_of(cookies, self.seals.names.exact))
        named = [cookie for cookie in cookies if cookie.name in self.seals.names.exact]
        paths = {cookie.name.decode("latin-1"): cookie.path.decode("latin-1") for cookie in named}
        return Handed(cookies=cookies), replace(record, paths={**record.paths, **paths})

    async def _must_be_theirs(self, live: LiveSession, upstream: Upstream, credentials: Credentials) -> None:
        if not await self.check(live, upstream, credentials):
            raise HandOffFailed("who_am_i", "the session that was just opened is none")

    # --- afterwards ---

    async def check(self, live: LiveSession, upstream: Upstream, credentials: Credentials) -> bool:
        """Whether the upstream's session is this person's; False: it is over. Raises HandOffMismatch, and has ended it then."""
        facts = facts_of(live.session.identity)
        try:
            return await ask_whose(self.plan, upstream, credentials, facts)
        except HandOffMismatch:
            self._tell(live, events.HAND_OFF_ENDED, None, why="mismatch")
            await self.end(upstream, credentials)
            raise

    async def end(self, upstream: Upstream, credentials: Credentials) -> None:
        """End a session at the upstream, as well as that can be done."""
        try:
            await log_out(self.plan, upstream, credentials)
        except Refusal as refusal:
            log.info("%s: the upstream's session was not ended there: %s", self._app, refusal.code)

    async def bearer(self, live: LiveSession) -> Bearer | None:
        """The bearer token that this session was given, if it is good for a while. Raises StoreUnavailable."""
        found = (await self._records.read(live)).bearer
        return found if found is not None and found.until > self._now().timestamp() + 5 else None

    async def take_link(self, live: LiveSession, token: str) -> bool:
        """Whether this session's browser may pass the link with this token: once, and only where we sent it. Raises StoreUnavailable."""
        try:
            async with self._leases.hold(f"hand-off:{live.key}", wait=self.plan.timeout):
                record = await self._records.read(live)
                left = record.without_link(link_hash(token))
                # SECURITY: a link that was mailed, leaked or copied stays as shut as any password door (C-12).
                if left is record:
                    return False
                await self._records.write(live, left)
                return True
        except LeaseBusy:
            return False

    async def farewell(self, live: LiveSession, upstream: Upstream, credentials: Credentials) -> dict[str, str]:
        """The person signs out: end the upstream's session too. The cookies to take away, name to path."""
        record = await self._records.read(live)
        if record.bearer is not None and self.plan.via == "bearer":
            credentials = Credentials(bearer=record.bearer.token)
        if credentials.cookies or credentials.bearer:
            await self.end(upstream, credentials)
            self._tell(live, events.HAND_OFF_ENDED, None, why="sign_out")
        await self._records.forget(live)
        return dict.fromkeys(self.plan.session_cookies, "/") | record.paths

    def _tell(self, live: LiveSession, event: str, request_id: str | None, **facts: str) -> None:
        session = live.session
        self._audit.event(
            event, app=self._app, session=session.sid, request_id=request_id, email=session.identity.email, **facts
        )


def link_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
