"""Claims that a provider does not send, or in a shape that cannot be used: those that decide, and the mapped ones, which are logged.

A line once an hour for each, and a sighting, from which `doorward check --online` has its row.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.config.claim_path import ClaimPath
from gateway.config.schema import ClaimNames, ProviderKeys
from gateway.identity.claims import EMAIL_CLAIM, VERIFIED_CLAIM
from gateway.redis_client.sightings import Sightings

logger = logging.getLogger("doorward.oidc")

_PAUSE: Final = 3600.0
#: What is seen of a mapped claim, in the words of `sighting_of`.
PRESENT, ABSENT, MALFORMED, OVERAGE = "present", "absent", "malformed", "overage"


def missing_claims(id_claims: Mapping[str, Any], settings: ProviderKeys, *, all_mapped: bool = False) -> list[str]:
    """The claims that an ID Token lacks and that decide: address, whether it is verified, groups. `all_mapped`: names too."""
    names = settings.claims
    wanted = [names.subject, names.email, names.groups]
    wanted += [names.name, names.preferred_username] if all_mapped else []
    missing = [str(claim) for claim in wanted if claim.value_in(id_claims) is None]
    if names.email == EMAIL_CLAIM and settings.require_verified_email != "never" and VERIFIED_CLAIM not in id_claims:
        missing.append(VERIFIED_CLAIM)
    return missing


def mapped_by_operator(names: ClaimNames) -> dict[str, ClaimPath]:
    """The claims that the configuration names itself, by their words: what it does not name may be absent."""
    return {word: getattr(names, word) for word in sorted(names.model_fields_set)}


def sighting_of(provider: str, word: str, seen: str) -> str:
    """The name under which it is kept when a mapped claim was last PRESENT, ABSENT, MALFORMED, or groups were OVERAGE."""
    return f"claim:{provider}:{word}:{seen}"


class MappedClaimLog:
    """Logs claims that the configuration names and no document has, claims that cannot be used, and groups that are too many for a token.

    `sightings` keep when each was seen last. `clock` in seconds.
    """

    def __init__(
        self, provider: str, names: ClaimNames, clock: Callable[[], float], sightings: Sightings | None = None
    ) -> None:
        self._provider = provider
        self._names = names
        self._mapped = mapped_by_operator(names)
        self._clock = clock
        self._sightings = sightings
        self._logged: dict[str, float] = {}

    async def log(self, values: Mapping[str, Any]) -> None:
        """`values`: the ID Token merged with userinfo."""
        due: list[str] = []
        for word, claim in {**self._mapped, "groups": self._names.groups}.items():
            if claim.value_in(values) is not None:
                due += self._due(word, PRESENT) if word in self._mapped else []
            elif word == "groups" and _is_overage(values, claim):
                due += self._warn(
                    word,
                    OVERAGE,
                    "groups: the person is in too many for a token, and the provider (Microsoft Entra) left all of them out; assign groups "
                    "to the application and emit only these, or use app roles: guides/entra-id.md",
                )
            elif word in self._mapped:
                due += self._warn(word, ABSENT, f"claims.{word}: {claim} is neither in the ID Token nor in userinfo")
        await self._note(due)

    async def log_malformed(self, claim: str) -> None:
        """A sign-in failed because of the shape of this claim."""
        for word in ClaimNames.model_fields:
            if getattr(self._names, word) == claim:
                line = f"claims.{word}: {claim} is of a shape that cannot be used; sign-ins with it are refused"
                await self._note(self._warn(word, MALFORMED, line))

    def _warn(self, word: str, seen: str, line: str) -> list[str]:
        due = self._due(word, seen)
        if due:
            logger.warning("%s", line)
        return due

    def _due(self, word: str, seen: str) -> list[str]:
        """The name of the sighting, once an hour."""
        now, name = self._clock(), sighting_of(self._provider, word, seen)
        if now - self._logged.get(name, -_PAUSE) < _PAUSE:
            return []
        self._logged[name] = now
        return [name]

    async def _note(self, names: list[str]) -> None:
        if names and self._sightings is not None:
            await self._sightings.note(names)


def _is_overage(values: Mapping[str, Any], groups: str) -> bool:
    """Microsoft Entra's `_claim_names` (OpenID Connect Core 1.0 section 5.6.2) and, in the implicit flow, `hasgroups`."""
    elsewhere = values.get("_claim_names")
    return (isinstance(elsewhere, Mapping) and groups in elsewhere) or values.get("hasgroups") in (True, "true")
