"""Hand-offs of one app: get the token, redeem it, check the owner of the upstream's session.

One at a time for each session in the whole fleet, and only so many in a while. The invariant: a hand-off gives a session of the same person, or
fails. A request that waited while another tab or worker was handed off gets no second one, because the browser has the cookies by then.

No session at the upstream is left without one of ours: a hand-off records the session that it opened and then reads whether ours
is still alive; a sign-out ends ours and then reads that record. One of the two always sees the other.
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
from redis.asyncio import Redis

from gateway.config.schema import Config
from gateway.config.sections.hand_off import HandOff
from gateway.directory.account import Account, Directory
from gateway.errors.hand_off import HandOffFailed, HandOffLoop, HandOffMismatch
from gateway.errors.network import network_reason
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.credentials import (
    Upstream,
    credentials_of,
    log_out,
    open_with_bearer,
    open_with_cookies,
    verify_owner,
)
from gateway.hand_off.plan import HandOffPlan, resolve, upstream_hosts
from gateway.hand_off.records import Bearer, HandOffRecord, HandOffRecords
from gateway.hand_off.set_cookie import SetCookie, parse_set_cookie
from gateway.hand_off.templates import facts_of, outgoing
from gateway.hand_off.tokens import CalledTokens, DirectoryTokens, TokenSource
from gateway.identity.claims import Identity
from gateway.languages.message import Message
from gateway.observability import events as events
from gateway.observability.events import Audit
from gateway.proxy.subrequest import Credentials
from gateway.redis_client.client import retrieve_exception
from gateway.redis_client.leases import LeaseBusy, Leases
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession

log = logging.getLogger("doorward.hand_off")
_LOG_OUT_SECONDS: Final = 5.0
_Result = TypeVar("_Result")
_CAUSE: Final = Message(
    "hand_off_loop.cause",
    "Your browser may not be keeping the application's cookie, or the application may not allow your account to open this page.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOffResult:
    """What a hand-off gave: the upstream's cookies, its bearer token, or a link that the browser follows.

    `again`: another request was handed off meanwhile; this one only has to be repeated.
    """

    cookies: tuple[SetCookie, ...] = ()
    bearer: Bearer | None = None
    link: str | None = field(default=None, repr=False)
    again: bool = False


class Broker:
    """The hand-offs of one app. `now` gives aware UTC; `is_alive` whether a session of ours has not ended, or raises StoreUnavailable."""

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
        is_alive: Callable[[LiveSession], Awaitable[bool]],
    ) -> None:
        self.plan = plan
        self.seals = seals
        self._app = app
        self._tokens = tokens
        self._records = records
        self._leases = leases
        self._audit = audit
        self._now = now
        self._is_alive = is_alive
        self._running: set[asyncio.Task[Any]] = set()

    async def hand_off(
        self, session: LiveSession, upstream: Upstream, *, return_to: str, request_id: str, stale: str | None = None
    ) -> HandOffResult:
        """Open the upstream's session. `stale`: a bearer token that the upstream refused.

        Raises HandOffFailed and its kinds, DirectoryUnavailable, StoreUnavailable, UpstreamUnreachable and the other refusals of an upstream.
        """
        work = self._in_background(self._run_in_time(session, upstream, return_to, request_id, stale))
        try:
            # SECURITY: the client may disconnect or sign out meanwhile; the session that the upstream opens must still be ended (C-75).
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(partial(self._on_unclaimed, upstream))
            raise

    async def _run_in_time(
        self, session: LiveSession, upstream: Upstream, return_to: str, request_id: str, stale: str | None
    ) -> HandOffResult:
        requested_at = self._now().timestamp()
        try:
            async with asyncio.timeout(self.plan.timeout.total_seconds()):
                async with self._leases.hold(f"hand-off:{session.key}", wait=self.plan.timeout):
                    return await self._run_locked(session, upstream, return_to, requested_at, request_id, stale)
        except (LeaseBusy, TimeoutError):
            failure = HandOffFailed("timeout", f"no session within {self.plan.timeout.total_seconds():g} s")
            self._emit(session, events.HAND_OFF_FAILED, request_id, reason=failure.reason)
            raise failure from None
        except Refusal as refusal:
            reason = refusal.reason if isinstance(refusal, HandOffFailed | DirectoryUnavailable) else refusal.code
            log.warning("%s: hand-off failed: %s (%s) request %s", self._app, reason, refusal.detail, request_id)
            self._emit(session, events.HAND_OFF_FAILED, request_id, reason=reason)
            raise

    async def _run_locked(
        self,
        session: LiveSession,
        upstream: Upstream,
        return_to: str,
        requested_at: float,
        request_id: str,
        stale: str | None,
    ) -> HandOffResult:
        record, plan = await self._records.read(session), self.plan
        newer = stale is not None and record.bearer is not None and record.bearer.token != stale
        if record.ended > requested_at or newer:
            return HandOffResult(bearer=record.bearer, again=True)
        if len(record.recent(self._now(), plan.within)) >= plan.most:
            raise HandOffLoop(f"{plan.most} in {plan.within.total_seconds():g} s", cause=_CAUSE)
        record = record.with_start(self._now(), plan.within)
        await self._records.write(session, record)
        result, record = await self._open_upstream_session(session, upstream, return_to, record)
        opened = self._credentials_in(result)
        try:
            await self._require_owner(session, upstream, opened)
            await self._records.write(session, replace(record, ended=self._now().timestamp()))
            # SECURITY: our session may have ended while the upstream's was being opened (C-75).
            alive = await self._is_alive(session)
        except HandOffMismatch:
            raise  # `verify_owner` has ended it
        except BaseException:
            self._end_in_background(upstream, opened)
            raise
        if not alive:
            self._end_in_background(upstream, opened)
            await self._records.forget(session)
            self._emit(session, events.HAND_OFF_ENDED, request_id, why="sign_out")
            return HandOffResult(again=True)
        self._emit(session, events.HAND_OFF_SUCCEEDED, request_id, via=plan.via)
        return result

    async def _open_upstream_session(
        self, session: LiveSession, upstream: Upstream, return_to: str, record: HandOffRecord
    ) -> tuple[HandOffResult, HandOffRecord]:
        plan, identity = self.plan, session.session.identity
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

    def _credentials_in(self, result: HandOffResult) -> Credentials:
        """The credentials of the upstream's session; none for a link, which the browser still has to follow."""
        if result.bearer is not None:
            return Credentials(bearer=result.bearer.token)
        return credentials_of(result.cookies, self.seals.names.exact)

    async def _require_owner(self, session: LiveSession, upstream: Upstream, credentials: Credentials) -> None:
        if (credentials.cookies or credentials.bearer) and not await self.verify_owner(session, upstream, credentials):
            raise HandOffFailed("who_am_i", "the upstream does not recognise the session that it just opened")

    # --- afterwards ---

    async def verify_owner(self, session: LiveSession, upstream: Upstream, credentials: Credentials) -> bool:
        """Whether the upstream's session exists and is this person's. Raises HandOffMismatch for another person's, after ending it."""
        facts = facts_of(session.session.identity)
        try:
            return await verify_owner(self.plan, upstream, credentials, facts)
        except HandOffMismatch:
            self._emit(session, events.HAND_OFF_ENDED, None, why="mismatch")
            await self.end(upstream, credentials)
            raise

    async def end(self, upstream: Upstream, credentials: Credentials) -> None:
        """End a session at the upstream; a failure is only logged."""
        try:
            await log_out(self.plan, upstream, credentials)
        except Refusal as refusal:
            log.info("%s: the upstream's session was not ended there: %s", self._app, refusal.code)

    def _end_in_background(self, upstream: Upstream, credentials: Credentials) -> None:
        """The same without waiting for it."""
        self._in_background(self._end_in_time(upstream, credentials))

    async def _end_in_time(self, upstream: Upstream, credentials: Credentials) -> None:
        try:
            async with asyncio.timeout(_LOG_OUT_SECONDS):
                await self.end(upstream, credentials)
        except TimeoutError:
            log.info("%s: the upstream's session was not ended there: timeout", self._app)

    def _on_unclaimed(self, upstream: Upstream, work: "asyncio.Task[HandOffResult]") -> None:
        """The client that was to get the cookies is gone. A bearer token is kept for the session's next request."""
        if not work.cancelled() and work.exception() is None and work.result().cookies:
            self._end_in_background(upstream, self._credentials_in(work.result()))

    def _in_background(self, work: Coroutine[Any, Any, _Result]) -> "asyncio.Task[_Result]":
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        retrieve_exception(task)

    async def bearer(self, session: LiveSession) -> Bearer | None:
        """The session's bearer token, if it is valid for another five seconds. Raises StoreUnavailable."""
        found = (await self._records.read(session)).bearer
        return found if found is not None and found.until > self._now().timestamp() + 5 else None

    async def claim_link(self, session: LiveSession, token: str) -> bool:
        """Whether this session's browser may follow the link with this token: once, and only if it was sent there. Raises StoreUnavailable."""
        try:
            async with self._leases.hold(f"hand-off:{session.key}", wait=self.plan.timeout):
                record = await self._records.read(session)
                left = record.without_link(link_hash(token))
                # SECURITY: a link that was mailed, leaked or copied stays blocked like any password route (C-12).
                if left is record:
                    return False
                await self._records.write(session, left)
                return True
        except LeaseBusy:
            return False

    def on_link_followed(self, session: LiveSession, upstream: Upstream, cookies: Sequence[bytes]) -> None:
        """A browser followed its link, and the upstream's response has these Set-Cookie values."""
        found = (parse_set_cookie(value) for value in cookies)
        opened = credentials_of([cookie for cookie in found if cookie is not None], self.seals.names.exact)
        if opened.cookies:
            self._in_background(self._record_link_session(session, upstream, opened))

    async def _record_link_session(self, session: LiveSession, upstream: Upstream, opened: Credentials) -> None:
        try:
            async with self._leases.hold(f"hand-off:{session.key}", wait=self.plan.timeout):
                record = await self._records.read(session)
                await self._records.write(session, replace(record, opened=_texts(opened)))
                # SECURITY: as after a hand-off of our own: the person may have signed out meanwhile (C-75).
                alive = await self._is_alive(session)
        except (LeaseBusy, Refusal) as error:
            log.info("%s: the session that a link opened was not recorded: %s", self._app, network_reason(error))
            return
        if not alive:
            await self._records.forget(session)
            await self._end_in_time(upstream, opened)
            self._emit(session, events.HAND_OFF_ENDED, None, why="sign_out")

    async def end_at_sign_out(
        self, session: LiveSession, upstream: Upstream, credentials: Credentials
    ) -> dict[str, str]:
        """End the upstream's session at sign-out. Returns the cookies to delete, name to path. Raises StoreUnavailable."""
        record = await self._records.read(session)
        if record.bearer is not None and self.plan.via == "bearer":
            credentials = Credentials(bearer=record.bearer.token)
        # SECURITY: a session that was opened a moment ago is not in the browser's cookies while its response is on its way (C-75).
        opened = Credentials(cookies=tuple(pair.encode("latin-1") for pair in record.opened))
        both = [credentials] if set(opened.cookies) <= set(credentials.cookies) else [credentials, opened]
        known = [each for each in both if each.cookies or each.bearer]
        if known:
            await asyncio.gather(*(self.end(upstream, each) for each in known))
            self._emit(session, events.HAND_OFF_ENDED, None, why="sign_out")
        await self._records.forget(session)
        return dict.fromkeys(self.plan.session_cookies, "/") | record.paths

    def _emit(self, session: LiveSession, event: str, request_id: str | None, **facts: str) -> None:
        sid, email = session.session.sid, session.session.identity.email
        self._audit.emit(event, app=self._app, session=sid, request_id=request_id, email=email, **facts)


def _texts(credentials: Credentials) -> tuple[str, ...]:
    return tuple(pair.decode("latin-1") for pair in credentials.cookies)


def link_hash(token: str) -> str:
    """How a record names a link: SHA-256 of its token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOffParts:
    """What all brokers of a worker share. `http` is for the APIs of `token`; `now` and `is_alive` as for Broker.

    `find_account` finds the account of a person whose session does not hold it.
    """

    ring: KeyRing
    redis: Redis
    leases: Leases
    directory: Directory | None
    find_account: Callable[[Identity], Awaitable[Account | None]]
    http: aiohttp.ClientSession
    audit: Audit
    now: Callable[[], datetime]
    is_alive: Callable[[LiveSession], Awaitable[bool]]


def build_brokers(config: Config, parts: HandOffParts) -> dict[str, Broker]:
    """By app; an app without hand-off has none."""
    records = HandOffRecords(parts.redis, parts.ring, config.redis.key_prefix, parts.now)
    brokers = {}
    for name, app in config.apps.items():
        settings = app.hand_off
        if settings is None or not config.openid.enabled:
            continue
        plan = resolve(settings, upstream_hosts(app.upstream))
        brokers[name] = Broker(
            name,
            plan,
            Seals(parts.ring, name, plan.session_cookies),
            tokens=_token_source(settings, plan, parts),
            records=records,
            leases=parts.leases,
            audit=parts.audit,
            now=parts.now,
            is_alive=parts.is_alive,
        )
    return brokers


def _token_source(settings: HandOff, plan: HandOffPlan, parts: HandOffParts) -> TokenSource | None:
    if settings.token is not None:
        return CalledTokens(settings.token, parts.http)
    if parts.directory is None or not plan.needs_token:
        return None
    return DirectoryTokens(parts.directory, parts.find_account)
