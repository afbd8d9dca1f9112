"""Step-up: what a rule's `max_age` and `acr` require of a sign-in, and whether a sign-in meets it.

RFC 9470; OpenID Connect Core 1.0 sections 2 (`auth_time`, `acr`) and 3.1.2.1 (`max_age`, `acr_values`). Pure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.policy.rules import Ruling


@dataclass(frozen=True, slots=True)
class StepUp:
    """`max_age` in seconds; one of `acr` suffices. Falsy: nothing is required."""

    max_age: int | None = None
    acr: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.max_age is not None or bool(self.acr)

    def and_also(self, other: "StepUp") -> "StepUp":
        """What satisfies both. Where the two have no `acr` in common it is the other's, since one sign-in has one."""
        ages = [age for age in (self.max_age, other.max_age) if age is not None]
        common = tuple(value for value in other.acr if value in self.acr)
        return StepUp(min(ages, default=None), common or other.acr or self.acr)


NOTHING: Final = StepUp()


def step_up_of(ruling: Ruling) -> StepUp:
    """The step-up that a ruling requires."""
    return StepUp(None if ruling.max_age is None else int(ruling.max_age.total_seconds()), ruling.acr)


def is_fresh(ruling: Ruling, auth_time: datetime | None, acr: str | None, now: datetime, skew: timedelta) -> bool:
    """Whether a sign-in is as recent and as strong as the ruling requires. `skew`: how far the provider's clock may be off.

    The leeway is the one of the ID Token's validation: a sign-in that was accepted there must not be repeated at once.
    """
    if ruling.max_age is not None and (auth_time is None or now - auth_time > ruling.max_age + skew):
        return False
    return not ruling.acr or acr in ruling.acr
