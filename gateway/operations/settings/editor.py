"""Reads and writes the record of saved settings: save, confirm, roll back, reset.

The invariant: every write replaces exactly the record that was read. What a person saves is in force at once and must be confirmed; nothing
is saved over a record that was lost, because what it closed would be open.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.config.loader import Resolved
from gateway.config.overlay import NOTHING_SAVED, SavedSettings, SavedValue, keys_for
from gateway.config.providers import providers_of
from gateway.config.schema import Config
from gateway.operations.check import check_provider
from gateway.operations.settings.proposal import SettingsProposal, SettingsRefused, current, propose
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.record import (
    CONFIRM_SECONDS,
    NO_RECORD,
    SettingsConflict,
    SettingsRecord,
    SettingsVersion,
)
from gateway.saved_settings.store import SettingsStore

_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes settings, and in which session: its public handle, "" at the command line.

    `signed_in_at`: when the session began, in seconds since 1970; None at the command line, where no session is.
    """

    name: str
    session: str = ""
    signed_in_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsState:
    """The record as it was read. `lost` says why it is not that of Redis, which then holds no usable one; None: it is."""

    record: SettingsRecord
    lost: str | None = None
    value: bytes = field(default=b"", repr=False)


class SettingsEditor:
    """`source` is the file with its environment; `now` gives seconds since 1970."""

    def __init__(
        self, source: Resolved, store: SettingsStore, copy: SettingsCopy, now: Callable[[], float] = time.time
    ) -> None:
        self.source = source
        self._store = store
        self._copy = copy
        self._now = now

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self) -> SettingsState:
        """The record of Redis; that of the copy on this machine where Redis has none. Raises StoreUnavailable."""
        value = await self._store.read()
        try:
            found, lost = (self._store.open(value), None) if value else (NO_RECORD, None)
        except ValueError as error:
            found, lost = NO_RECORD, f"the record in Redis is not used: {error}"
        kept = self._kept()
        if kept.rank > found.rank and kept.revision:
            lost = (
                lost
                or f"Redis has revision {found.revision} of the settings, and {self._copy.path} has {kept.revision}"
            )
            found = kept
        return SettingsState(record=found, lost=lost, value=value)

    def _kept(self) -> SettingsRecord:
        try:
            value = self._copy.read()
            return self._store.open(value) if value else NO_RECORD
        except (OSError, ValueError):
            return NO_RECORD

    def in_force(self, state: SettingsState) -> SavedSettings:
        """The settings that count now."""
        return state.record.in_force(self._now())

    def pending(self, record: SettingsRecord) -> SettingsVersion | None:
        """The version that waits to be confirmed."""
        return record.pending(self._now())

    def state_of(self, record: SettingsRecord, version: SettingsVersion) -> str:
        """What became of a version, in words."""
        if version.kind == "reset":
            return "reset to the file"
        done = "saved"
        if version.kind == "rolled_back":
            done = f"rolled back to {f'version {version.restores}' if version.restores else 'the file'}"
        if version.confirmed_by:
            return f"{done}, confirmed by {version.confirmed_by}"
        if version.confirm_by is None:
            return done
        return f"{done}, waits to be confirmed" if self.pending(record) == version else f"{done}, not confirmed"

    def file_values(self) -> list[tuple[str, SavedValue]]:
        """Every setting with its value in the file."""
        return [(key, current(self.source, NOTHING_SAVED, key)) for key in keys_for(self.source.data)]

    def config_with(self, settings: SavedSettings) -> Config:
        """The configuration with these settings. Raises SettingsRefused where they do not fit the file."""
        return propose(self.source, settings, {}).config

    # --- saving -------------------------------------------------------------------------------------------------------

    async def propose(self, given: Mapping[str, SavedValue], seen: int | None = None) -> SettingsProposal:
        """What saving would do. `seen` is the revision that the person saw. Raises SettingsRefused, SettingsConflict, StoreUnavailable."""
        state = await self.read()
        self._refuse_conflict(state, seen)
        return propose(self.source, self.in_force(state), given)

    async def check(self, proposal: SettingsProposal) -> None:
        """Ask the providers whose client changes, as `check --online` does. Raises SettingsRefused."""
        known, problems = providers_of(proposal.config), []
        for name in proposal.clients:
            results = await check_provider(proposal.config, name, known[name])
            problems += [f"{each.name}: {each.problem}" for each in results if each.problem and not each.unknown]
        if problems:
            raise SettingsRefused(problems)

    async def save(
        self,
        given: Mapping[str, SavedValue],
        author: Author,
        reason: str,
        *,
        seen: int | None = None,
        confirmed: bool = False,
    ) -> SettingsVersion:
        """Save; unless it is `confirmed` already, it must be confirmed within five minutes.

        Raises SettingsRefused, SettingsConflict, StoreUnavailable. The caller has seen to `check`, and to what its author must prove.
        """
        state = await self.read()
        self._refuse_conflict(state, seen)
        proposal = propose(self.source, self.in_force(state), given)
        if not proposal.changed:
            raise SettingsRefused(["nothing is changed: every value is in force already"])
        now = self._now()
        version = SettingsVersion(
            number=0, kind="saved", at=now, by=author.name, session=author.session, reason=parse_reason(reason),
            values=proposal.values, confirm_by=None if confirmed else now + CONFIRM_SECONDS,
        )  # fmt: skip
        return await self._write(state, state.record.with_version(version))

    async def confirm(self, author: Author) -> SettingsVersion:
        """Keep the version that waits for it. Raises SettingsRefused, SettingsConflict, StoreUnavailable."""
        state = await self.read()
        self._refuse_lost(state)
        pending = state.record.pending(self._now())
        # SECURITY: a session from before the change proves nothing: only a new sign-in shows that people still get in (C-98).
        if pending is not None and author.signed_in_at is not None and author.signed_in_at <= pending.at:
            raise SettingsRefused(["this sign-in is older than the change; sign in again, and confirm then"])
        return await self._write(state, state.record.confirmed(author.name, self._now()))

    async def roll_back(
        self, author: Author, reason: str, to: int | None = None, *, seen: int | None = None, confirmed: bool = True
    ) -> SettingsVersion:
        """Put version `to`, or the one before the newest, in force; from the copy on this machine, too.

        To undo what waits to be confirmed needs no confirmation; anything else needs one unless it is `confirmed` already.
        Raises SettingsRefused, SettingsConflict, StoreUnavailable.
        """
        state = await self.read()
        self._refuse_seen(state, seen)
        undo = to is None and state.record.pending(self._now()) is not None
        lasting = None if confirmed or undo else CONFIRM_SECONDS
        record = state.record.rolled_back(author.name, parse_reason(reason), self._now(), to, lasting)
        assert record.newest is not None
        propose(self.source, record.newest.settings, {})  # the file may have changed since
        return await self._write(state, record)

    async def reset(self, author: Author, reason: str) -> SettingsVersion:
        """Go back to the file, also where the record was lost. Raises SettingsRefused, StoreUnavailable."""
        state = await self.read()
        version = SettingsVersion(
            number=0, kind="reset", at=self._now(), by=author.name, session=author.session,
            reason=parse_reason(reason), values={}, restores=0,
        )  # fmt: skip
        return await self._write(state, state.record.with_version(version))

    async def _write(self, state: SettingsState, record: SettingsRecord) -> SettingsVersion:
        if not await self._store.swap(state.value, self._store.seal(record)):
            later = await self.read()
            raise SettingsConflict(_told(later.record, state.record.revision))
        assert record.newest is not None
        return record.newest

    # --- what stands in the way ---------------------------------------------------------------------------------------

    def _refuse_conflict(self, state: SettingsState, seen: int | None) -> None:
        """Raises SettingsRefused, SettingsConflict."""
        self._refuse_lost(state)
        self._refuse_seen(state, seen)
        pending = state.record.pending(self._now())
        if pending is not None:
            raise SettingsConflict(
                f"version {pending.number} by {pending.by} waits to be confirmed; confirm it or roll it back first"
            )

    def _refuse_seen(self, state: SettingsState, seen: int | None) -> None:
        # SECURITY: the person decided by what was on the page; another's change must be seen first (C-99).
        if seen is not None and seen != state.record.revision:
            raise SettingsConflict(_told(state.record, seen))

    def _refuse_lost(self, state: SettingsState) -> None:
        if state.lost is not None:
            # SECURITY: over a lost record, a change of one toggle would silently take the file's value for all others (C-97).
            known = state.record.newest
            way = f"`settings rollback {known.number}` brings version {known.number} back, " if known else ""
            raise SettingsRefused([f"{state.lost}; {way}`settings reset` goes back to the file"])


def parse_reason(text: str) -> str:
    """Why, on one line. Raises SettingsRefused."""
    reason = " ".join(text.split())
    if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise SettingsRefused(["the reason is empty, too long or not printable; allowed: 1 to 200 characters"])
    return reason


def _told(record: SettingsRecord, seen: int) -> str:
    """Who changed what meanwhile."""
    newest = record.newest
    if newest is None:
        return "the settings changed meanwhile"
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(newest.confirmed_at or newest.at))
    before = record.before(newest).values
    keys = sorted(key for key in before.keys() | newest.values.keys() if before.get(key) != newest.values.get(key))
    changed = ", ".join(keys) or "nothing"
    return f"the settings changed meanwhile: version {newest.number} by {newest.by} at {when} ({newest.reason}) changed {changed}"
