"""One hand-off: the token, its redemption, whose session it is. One at a time for each session in the whole fleet, and not without end.

The invariant: what comes out belongs to the person of the session that asked, or nothing comes out. Whoever waited while another tab or
worker was handed off gets no second one: the browser has what it needs by then.

A session that was opened at the upstream is somebody's, or it is ended there: whoever opens one writes down what it is and looks afterwards
whether our session still lives; whoever signs out ends our session and looks afterwards what is written down. One of the two sees the other.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp

from gateway.config.schema import Config
from gateway.config.sections.hand_off import HandOff
from gateway.directory.account import Account, Directory
from gateway.errors.hand_off import HandOffFailed, HandOffLoop, HandOffMismatch
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.credentials import (
    Upstream,
    ask_whose,
    credentials_of,
    log_out,
    open_with_bearer,
    open_with_cookies,
)
from gateway.hand_off.plan import HandOffPlan, resolve, upstream_hosts
from gateway.hand_off.records import Bearer, HandOffCommands, HandOffRecord, HandOffRecords
from gateway.hand_off.set_cookie import SetCookie, parse_set_cookie
from gateway.hand_off.templates import facts_of, outgoing
from gateway.hand_off.tokens import CalledTokens, DirectoryTokens, TokenSource
from gateway.identity.claims import Identity
from gateway.observability import events as events
from gateway.observability.events import Audit
from gateway.proxy.subrequest import Credentials
from gateway.redis_client.client import retrieve_exception
from gateway.redis_client.leases import LeaseBusy, Leases
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession

log = logging.getLogger("doorward.hand_off")
_PARTING_SECONDS: Final = 5.0
_Result = TypeVar("_Result")
_CAUSE: Final = "Either the browser does not keep its session cookie, or this account may not open the page and is asked for another."


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOffResult:
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
        plan: HandOffPlan,
        seals: Seals,
        *,
        tokens: TokenSource | None,
        records: HandOffRecords,
        leases: Leases,
        audit: Audit,
        now: Callable[[], datetime],
        alive: Callable[[LiveSession], Awaitable[bool]],
    ) -> None:
        """`alive` says whether a session of ours has not ended meanwhile; raises StoreUnavailable."""
        self.plan = plan
        self.seals = seals
        self._app = app
        self._tokens = tokens
        self._records = records
        self._leases = leases
        self._audit = audit
        self._now = now
        self._alive = alive
        self._running: set[asyncio.Task[Any]] = set()

    async def hand_off(
        self, live: LiveSession, upstream: Upstream, *, return_to: str, request_id: str, stale: str | None = None
    ) -> HandOffResult:
        """`stale`: a bearer token that the upstream does not take any more.

        Raises HandOffFailed and its kinds, DirectoryUnavailable, StoreUnavailable, UpstreamUnreachable and its like."""
        work = self._in_background(self._hand_off(live, upstream, return_to, request_id, stale))
        try:
            # SECURITY: who asked may hang up or sign out meanwhile; what the upstream opens then must still be ended by somebody (C-75).
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(partial(self._nobody_took, upstream))
            raise

    async def _hand_off(
        self, live: LiveSession, upstream: Upstream, return_to: str, request_id: str, stale: str | None
    ) -> HandOffResult:
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
    ) -> HandOffResult:
        record, plan = await self._records.read(live), self.plan
        newer = stale is not None and record.bearer is not None and record.bearer.token != stale
        if record.ended > asked_at or newer:
            return HandOffResult(bearer=record.bearer, again=True)
        if len(record.recent(self._now(), plan.within)) >= plan.most:
            raise HandOffLoop(f"{plan.most} in {plan.within.total_seconds():g} s", cause=_CAUSE)
        record = record.with_start(self._now(), plan.within)
        await self._records.write(live, record)
        handed, record = await self._once(live, upstream, return_to, record)
        opened = self._opened(handed)
        try:
            await self._must_be_theirs(live, upstream, opened)
            await self._records.write(live, replace(record, ended=self._now().timestamp()))
            # SECURITY: our session may have ended while the upstream's was being opened (C-75).
            alive = await self._alive(live)
        except HandOffMismatch:
            raise  # it was ended when it was found
        except BaseException:
            self._end_soon(upstream, opened)
            raise
        if not alive:
            self._end_soon(upstream, opened)
            await self._records.forget(live)
            self._tell(live, events.HAND_OFF_ENDED, request_id, why="sign_out")
            return HandOffResult(again=True)
        self._tell(live, events.HAND_OFF_SUCCEEDED, request_id, via=plan.via)
        return handed

    async def _once(
        self, live: LiveSession, upstream: Upstream, return_to: str, record: HandOffRecord
    ) -> tuple[HandOffResult, HandOffRecord]:
        plan, identity = self.plan, live.session.identity
        facts = facts_of(identity, return_to=return_to)
        if plan.needs_token and self._tokens is not None:
            facts["token"] = await self._tokens.token(identity, facts)
        if plan.via == "browser":
            link = outgoing(plan.redeem, plan.redeem.path, facts).target
            return HandOffResult(link=link), record.with_link(link_hash(facts.get("token", link)))
        if plan.via == "bearer":
            bearer = await open_with_bearer(plan, upstream, facts, self._now())
            return HandOffResult(bearer=bearer), replace(record, bearer=bearer)
        cookies = await open_with_cookies(plan, upstream, facts)
        named = [cookie for cookie in cookies if cookie.name in self.seals.names.exact]
        paths = {cookie.name.decode("latin-1"): cookie.path.decode("latin-1") for cookie in named}
        opened = _texts(credentials_of(cookies, self.seals.names.exact))
        return HandOffResult(cookies=cookies), replace(record, paths={**record.paths, **paths}, opened=opened)

    def _opened(self, result: HandOffResult) -> Credentials:
        """What opens the session that came of a hand-off; nothing for a link, which a browser has yet to follow."""
        if result.bearer is not None:
            return Credentials(bearer=result.bearer.token)
        return credentials_of(result.cookies, self.seals.names.exact)

    async def _must_be_theirs(self, live: LiveSession, upstream: Upstream, credentials: Credentials) -> None:
        if (credentials.cookies or credentials.bearer) and not await self.check(live, upstream, credentials):
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

    def _end_soon(self, upstream: Upstream, credentials: Credentials) -> None:
        """The same, without anybody waiting for it."""
        self._in_background(self._end_in_time(upstream, credentials))

    async def _end_in_time(self, upstream: Upstream, credentials: Credentials) -> None:
        try:
            async with asyncio.timeout(_PARTING_SECONDS):
                await self.end(upstream, credentials)
        except TimeoutError:
            log.info("%s: the upstream's session was not ended there: it does not answer", self._app)

    def _nobody_took(self, upstream: Upstream, work: "asyncio.Task[HandOffResult]") -> None:
        """Whoever was to get the cookies is gone; a bearer token is kept for the session's next request."""
        if not work.cancelled() and work.exception() is None and work.result().cookies:
            self._end_soon(upstream, self._opened(work.result()))

    def _in_background(self, work: Coroutine[Any, Any, _Result]) -> "asyncio.Task[_Result]":
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        retrieve_exception(task)

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

    def passed(self, live: LiveSession, upstream: Upstream, cookies: Sequence[bytes]) -> None:
        """A browser passed its link, and the upstream answers with these Set-Cookie values."""
        found = (parse_set_cookie(value) for value in cookies)
        opened = credentials_of([cookie for cookie in found if cookie is not None], self.seals.names.exact)
        if opened.cookies:
            self._in_background(self._passed(live, upstream, opened))

    async def _passed(self, live: LiveSession, upstream: Upstream, opened: Credentials) -> None:
        try:
            async with self._leases.hold(f"hand-off:{live.key}", wait=self.plan.timeout):
                record = await self._records.read(live)
                await self._records.write(live, replace(record, opened=_texts(opened)))
                # SECURITY: as after a hand-off of our own: somebody may have signed out meanwhile (C-75).
                alive = await self._alive(live)
        except (LeaseBusy, Refusal) as error:
            log.info("%s: what a link opened was not written down: %s", self._app, type(error).__name__)
            return
        if not alive:
            await self._records.forget(live)
            await self._end_in_time(upstream, opened)
            self._tell(live, events.HAND_OFF_ENDED, None, why="sign_out")

    async def farewell(self, live: LiveSession, upstream: Upstream, credentials: Credentials) -> dict[str, str]:
        """The person signs out: end the upstream's session too. The cookies to take away, name to path."""
        record = await self._records.read(live)
        if record.bearer is not None and self.plan.via == "bearer":
            credentials = Credentials(bearer=record.bearer.token)
        # SECURITY: a session that was opened a moment ago is not in the cookies of a browser whose answer is still on its way (C-75).
        opened = Credentials(cookies=tuple(pair.encode("latin-1") for pair in record.opened))
        known = [credentials] if set(opened.cookies) <= set(credentials.cookies) else [credentials, opened]
        known = [each for each in known if each.cookies or each.bearer]
        if known:
            await asyncio.gather(*(self.end(upstream, each) for each in known))
            self._tell(live, events.HAND_OFF_ENDED, None, why="sign_out")
        await self._records.forget(live)
        return dict.fromkeys(self.plan.session_cookies, "/") | record.paths

    def _tell(self, live: LiveSession, event: str, request_id: str | None, **facts: str) -> None:
        session = live.session
        self._audit.event(
            event, app=self._app, session=session.sid, request_id=request_id, email=session.identity.email, **facts
        )


def _texts(credentials: Credentials) -> tuple[str, ...]:
    return tuple(pair.decode("latin-1") for pair in credentials.cookies)


def link_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def brokers_of(
    config: Config,
    *,
    ring: KeyRing,
    redis: HandOffCommands,
    leases: Leases,
    directory: Directory | None,
    known: Callable[[Identity], Awaitable[Account | None]],
    http: aiohttp.ClientSession,
    audit: Audit,
    now: Callable[[], datetime],
    alive: Callable[[LiveSession], Awaitable[bool]],
) -> dict[str, Broker]:
    """By app. `known` finds the account of somebody whose session does not say it; `http` is for the APIs that `token` names; `alive` as for
    Broker."""
    records = HandOffRecords(redis, ring, config.redis.key_prefix, now)
    brokers = {}
    for name, app in config.apps.items():
        settings = app.hand_off
        if settings is None or not config.openid.enabled:
            continue
        plan = resolve(settings, upstream_hosts(app.upstream))
        brokers[name] = Broker(
            name,
            plan,
            Seals(ring, name, plan.session_cookies),
            tokens=_tokens(settings, plan, directory, known, http),
            records=records,
            leases=leases,
            audit=audit,
            now=now,
            alive=alive,
        )
    return brokers


def _tokens(
    settings: HandOff,
    plan: HandOffPlan,
    directory: Directory | None,
    known: Callable[[Identity], Awaitable[Account | None]],
    http: aiohttp.ClientSession,
) -> TokenSource | None:
    if settings.token is not None:
        return CalledTokens(settings.token, http)
    return DirectoryTokens(directory, known) if directory is not None and plan.needs_token else None
