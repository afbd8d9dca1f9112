"""What is doubtful about the mapped claims of a provider, for `doorward check --online`.

By the sign-ins of the last week, and for a claim that none of them has shown, by the provider's metadata: `claims_supported` (OpenID Connect
Discovery 1.0 section 3) need not be complete, so it is a doubt and no problem.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from gateway.config.claim_path import ClaimPath
from gateway.config.schema import ClaimNames
from gateway.errors.dependencies import StoreUnavailable
from gateway.oidc.missing_claims import ABSENT, MALFORMED, OVERAGE, PRESENT, mapped_by_operator, sighting_of
from gateway.redis_client.sightings import REMEMBERED, Sightings

_HOURLY: Final = timedelta(hours=1)  # how often a sighting is kept
_DAYS: Final = REMEMBERED.days


async def claim_doubts(
    provider: str, names: ClaimNames, supported: Collection[str] | None, sightings: Sightings | None
) -> list[str]:
    """A text for each doubt. `sightings`: None where those of the running gateway cannot be read."""
    doubts = []
    mapped = mapped_by_operator(names)
    for word, claim in {**mapped, "groups": names.groups}.items():
        seen = await _last(provider, word, sightings)
        doubts += _of_sign_ins(f"claims.{word}", claim, seen)
        # A dotted name may be that of a claim, or lead through objects.
        listed = supported is None or any(way[0] in supported for way in claim.ways)
        if word in mapped and not seen and not listed:
            unseen = f", and no sign-in of the last {_DAYS} days has shown it" if sightings is not None else ""
            doubts.append(f"claims.{word}: {claim} is not in claims_supported, which need not be complete{unseen}")
    return doubts


async def _last(provider: str, word: str, sightings: Sightings | None) -> dict[str, datetime]:
    """When a claim was last seen present, absent, malformed; nothing while Redis does not answer, which has a row of its own."""
    try:
        found = {
            kind: await sightings.last(sighting_of(provider, word, kind)) if sightings is not None else None
            for kind in (PRESENT, ABSENT, MALFORMED, OVERAGE)
        }
    except StoreUnavailable:
        return {}
    return {kind: moment for kind, moment in found.items() if moment is not None}


def _of_sign_ins(place: str, claim: ClaimPath, seen: dict[str, datetime]) -> list[str]:
    doubts = []
    if (malformed := seen.get(MALFORMED)) is not None:
        doubts.append(
            f"{place}: a sign-in was refused at {_utc(malformed)}, since {claim} has a shape that cannot be used"
        )
    if (overage := seen.get(OVERAGE)) is not None:
        doubts.append(f"{place}: at {_utc(overage)} a person was in too many groups for a token: guides/entra-id.md")
    present, absent = seen.get(PRESENT), seen.get(ABSENT)
    # Some people may have a claim that others lack: then both are seen every hour.
    if absent is not None and (present is None or absent - present > _HOURLY):
        before = (
            f"last there at {_utc(present)}" if present is not None else f"no sign-in of the last {_DAYS} days had it"
        )
        doubts.append(f"{place}: {claim} was missing at the sign-in of {_utc(absent)} ({before})")
    return doubts


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
