"""Secrets of a login attempt that no browser began."""

import secrets
from typing import TypedDict


class AttemptSecrets(TypedDict):
    """256 bits each, base64url."""

    state: str
    nonce: str
    verifier: str


def attempt_secrets() -> AttemptSecrets:
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return {"state": state, "nonce": nonce, "verifier": verifier}
