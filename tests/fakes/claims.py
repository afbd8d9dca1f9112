"""Mapped claims and the settings of a provider, written as the configuration file has them."""

from collections.abc import Sequence

from gateway.config.schema import ClaimNames, ProviderKeys
from gateway.identity.claims import Claims, Identity, identity_from_claims


def claim_names(**names: object) -> ClaimNames:
    return ClaimNames.model_validate(names)


def identified(
    claims: Claims,
    names: ClaimNames | None = None,
    required: str = "when_present",
    domains: Sequence[str] = (),
    **settings: object,
) -> Identity:
    """The identity at a provider with these settings. Raises SignInFailed, EmailNotVerified."""
    keys = {"claims": names or ClaimNames(), "require_verified_email": required, "verified_email_domains": domains}
    return identity_from_claims(claims, ProviderKeys.model_validate({**keys, **settings}))
