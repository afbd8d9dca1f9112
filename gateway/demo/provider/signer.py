"""The provider's signing key, and the tokens it signs with it."""

import hashlib
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64encode


class Signer:
    """Signs with RS256."""

    algorithm = "RS256"

    def __init__(self, key: RSAKey | None = None) -> None:
        self.key = key or RSAKey.generate_key(2048, auto_kid=True)
        self.key.ensure_kid()

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.key.as_dict(private=False, use="sig", alg=self.algorithm)]}

    def sign(self, claims: dict[str, Any], typ: str | None = None) -> str:
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm], default_type=typ)

    def read_own(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that we signed, however old; None for anything else."""
        try:
            return jwt.decode(token, self.key, algorithms=[self.algorithm]).claims
        except (JoseError, ValueError):
            return None


def at_hash(access_token: str) -> str:
    """OpenID Connect Core 1.0 section 3.1.3.6, for RS256."""
    return urlsafe_b64encode(hashlib.sha256(access_token.encode("ascii")).digest()[:16]).decode("ascii")
