"""Claims that a provider does not send: those that decide, and the mapped ones, which are logged once an hour each."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.config.schema import ClaimNames, ProviderKeys
from gateway.identity.claims import EMAIL_CLAIM, VERIFIED_CLAIM

logger = logging.getLogger("doorward.oidc")

_PAUSE: Final = 3600.0


def missing_claims(id_claims: Mapping[str, Any], settings: ProviderKeys, *, all_mapped: bool = False) -> list[str]:
    """The claims that an ID Token lacks and that decide: address, whether it is verified, groups. `all_mapped`: names too."""
    names = settings.claims
    wanted = [names.subject, names.email, names.groups]
    wanted += [names.name, names.preferred_username] if all_mapped else []
    missing = [str(claim) for claim in wanted if claim.value_in(id_claims) is None]
    if names.email == EMAIL_CLAIM and settings.require_verified_email != "never" and VERIFIED_CLAIM not in id_claims:
        missing.append(VERIFIED_CLAIM)
    return missing


class MissingClaimLog:
    """Logs claims that the configuration names and no document has, and groups that are too many for a token. `clock` in seconds."""

    def __init__(self, names: ClaimNames, clock: Callable[[], float]) -> None:
        self._mapped = {word: getattr(names, word) for word in sorted(names.model_fields_set)}
        self._groups = names.groups
        self._clock = clock
        self._logged: dict[str, float] = {}

    def log(self, values: Mapping[str, Any]) -> None:
        """`values`: the ID Token merged with userinfo."""
        if self._groups.value_in(values) is None and _is_overage(values, self._groups):
            self._once(
                "overage",
                "groups: the person is in too many for a token, and the provider (Microsoft Entra) left all of them out; assign groups to "
                "the application and emit only these, or use app roles: guides/entra-id.md",
            )
            return
        for word, claim in self._mapped.items():
            if claim.value_in(values) is None:
                self._once(word, f"claims.{word}: {claim} is neither in the ID Token nor in userinfo")

    def _once(self, word: str, line: str) -> None:
        now = self._clock()
        if now - self._logged.get(word, -_PAUSE) >= _PAUSE:
            self._logged[word] = now
            logger.warning("%s", line)


def _is_overage(values: Mapping[str, Any], groups: str) -> bool:
    """Microsoft Entra's `_claim_names` (OpenID Connect Core 1.0 section 5.6.2) and, in the implicit flow, `hasgroups`."""
    elsewhere = values.get("_claim_names")
    return (isinstance(elsewhere, Mapping) and groups in elsewhere) or values.get("hasgroups") in (True, "true")
