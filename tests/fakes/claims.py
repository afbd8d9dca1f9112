"""Mapped claims, written as the configuration file has them."""

from gateway.config.schema import ClaimNames


def claim_names(**names: object) -> ClaimNames:
    return ClaimNames.model_validate(names)
