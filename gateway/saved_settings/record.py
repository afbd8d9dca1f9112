"""The record of saved settings: its versions, which of them is in force, and its bytes.

Each write makes a new revision of the record; most add a version. A version that must be confirmed is in force until its deadline, then the
one before it is again: each process sees that by itself, with or without Redis. Pure.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config.overlay import SavedSettings, SavedValue

Kind = Literal["saved", "rolled_back", "reset"]

CONFIRM_SECONDS: Final = 300.0
MOST_VERSIONS: Final = 50
_FORMAT: Final = 1


class SettingsConflict(ValueError):
    """Another person saved, or a version waits for its confirmation; the text gives who, when and what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsVersion:
    """One version: all saved values, with those of earlier versions that were kept.

    `at` and `confirm_by` are seconds since 1970; `confirm_by` is None for a version that is confirmed or needs no confirmation. `session` is
    the public handle of the session that saved it. `restores`: the version whose values these are again; 0 is the file.
    """

    number: int
    kind: Kind
    at: float
    by: str
    reason: str
    values: Mapping[str, SavedValue] = dataclasses.field(repr=False)
    session: str = ""
    restores: int | None = None
    confirm_by: float | None = None
    confirmed_by: str = ""
    confirmed_at: float | None = None

    @property
    def settings(self) -> SavedSettings:
        """Its values, for the configuration."""
        return SavedSettings(self.values, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsRecord:
    """`versions` with the oldest first, at most MOST_VERSIONS; `revision` counts the writes of the record."""

    revision: int
    versions: tuple[SettingsVersion, ...] = ()

    @property
    def rank(self) -> tuple[int, float, bytes]:
        """The order of records: two with one revision, as after a failover of Redis, still have one that counts."""
        newest = self.versions[-1].at if self.versions else 0.0
        return self.revision, newest, encode(self)

    @property
    def newest(self) -> SettingsVersion | None:
        return self.versions[-1] if self.versions else None

    def version(self, number: int) -> SettingsVersion | None:
        """The version with this number; None where there is none, or none any more."""
        return next((version for version in self.versions if version.number == number), None)

    def pending(self, now: float) -> SettingsVersion | None:
        """The version that waits for its confirmation, if its deadline is not over."""
        newest = self.newest
        return newest if newest and newest.confirm_by is not None and now < newest.confirm_by else None

    def expired(self, now: float) -> SettingsVersion | None:
        """The version that was not confirmed in time."""
        newest = self.newest
        return newest if newest and newest.confirm_by is not None and now >= newest.confirm_by else None

    def before(self, version: SettingsVersion) -> SavedSettings:
        """What is in force without this version: the newest one before it that no confirmation is missing of."""
        # SECURITY: one that waits or waited in vain must not come into force because a second one was made over it (C-98).
        kept = (each for each in reversed(self.versions) if each.number < version.number and each.confirm_by is None)
        return next((each.settings for each in kept), SavedSettings({}, 0))

    def in_force(self, now: float) -> SavedSettings:
        """The settings that count now. An unconfirmed version counts until its deadline."""
        newest = self.newest
        if newest is None:
            return SavedSettings({}, 0)
        # SECURITY: the deadline counts in each process by itself: neither an outage nor a lost record keeps a change
        # that no person confirmed (C-98).
        return self.before(newest) if self.expired(now) else newest.settings

    # --- the next record ----------------------------------------------------------------------------------------------

    def with_version(self, version: SettingsVersion) -> "SettingsRecord":
        """The next record, with one more version. It takes the next number."""
        newest = self.newest
        numbered = dataclasses.replace(version, number=1 if newest is None else newest.number + 1)
        versions = (*self.versions, numbered)
        # SECURITY: what a rollback leads to stays, however many unconfirmed versions come after it (C-98).
        last = next((each for each in reversed(self.versions) if each.confirm_by is None), None)
        if last is not None and last not in versions[-MOST_VERSIONS:]:
            versions = (last, *versions[1 - MOST_VERSIONS :])
        return SettingsRecord(revision=self.revision + 1, versions=versions[-MOST_VERSIONS:])

    def confirmed(self, by: str, now: float) -> "SettingsRecord":
        """The next record, the newest version confirmed. Raises SettingsConflict when none waits for that."""
        pending = self.pending(now)
        if pending is None:
            raise SettingsConflict("no version waits to be confirmed")
        done = dataclasses.replace(pending, confirm_by=None, confirmed_by=by, confirmed_at=now)
        return SettingsRecord(revision=self.revision + 1, versions=(*self.versions[:-1], done))

    def rolled_back(
        self, by: str, reason: str, now: float, to: int | None = None, lasting: float | None = None
    ) -> "SettingsRecord":
        """The next record, with the values of version `to`, or of the one before the newest, to be confirmed within `lasting` seconds.

        Raises SettingsConflict.
        """
        newest = self.newest
        if newest is None:
            raise SettingsConflict("nothing is saved, so there is nothing to roll back")
        target = self.before(newest) if to is None else self._settings_of(to)
        return self.with_version(
            SettingsVersion(
                number=0,
                kind="rolled_back",
                at=now,
                by=by,
                reason=reason,
                values=target.values,
                restores=target.version,
                confirm_by=None if lasting is None else now + lasting,
            )
        )

    def _settings_of(self, number: int) -> SavedSettings:
        found = self.version(number)
        if found is None:
            known = f"{self.versions[0].number} to {self.versions[-1].number}"
            raise SettingsConflict(f"there is no version {number}; allowed: {known}")
        return found.settings


NO_RECORD: Final = SettingsRecord(revision=0)


def encode(record: SettingsRecord) -> bytes:
    """The record as JSON. The store seals it."""
    versions = [dataclasses.asdict(version) for version in record.versions]
    return json.dumps({"v": _FORMAT, "revision": record.revision, "versions": versions}, sort_keys=True).encode()


def decode(data: bytes) -> SettingsRecord:
    """The record of what `encode` made. Raises ValueError for anything else."""
    try:
        found: dict[str, Any] = json.loads(data)
        if found["v"] != _FORMAT:
            raise ValueError("another format")
        names = {each.name for each in dataclasses.fields(SettingsVersion)}
        # A field of a later release is passed over; it has a default that is safe.
        versions = tuple(
            SettingsVersion(**{key: value for key, value in row.items() if key in names}) for row in found["versions"]
        )
        return SettingsRecord(revision=int(found["revision"]), versions=versions)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a record of settings") from error
