"""JWTs that the gateway signs as a client: assertions, and what else a provider asks to be signed.

RFC 7515, RFC 7523. The algorithm is the configured one, or the first of the key's that the provider lists.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning

from gateway.config.client_keys import client_keys
from gateway.config.schema import ProviderKeys
from gateway.errors.signing_in import ProviderFault


class ClientSigner:
    """Signs with the first of the client's keys. The constructor raises ValueError when there is none, or one of them is unusable."""

    def __init__(self, settings: ProviderKeys) -> None:
        try:
            keys = client_keys(settings)
        except ValueError as error:
            raise ValueError(f"openid.client_private_key {error}") from error
        if not keys:
            raise ValueError("openid.client_private_key is missing")
        self._key = keys[0]

    def sign(
        self,
        claims: Mapping[str, Any],
        *,
        announced: Sequence[str] | None,
        configured: str | None = None,
        typ: str = "JWT",
    ) -> str:
        """The compact JWS. `announced`: the algorithms that the provider lists, None: it lists none. `configured`: the one to use.

        Raises ProviderFault when the provider lists no algorithm of the key.
        """
        able = self._key.algorithms if configured is None else (configured,)
        alg = next((alg for alg in able if announced is None or alg in announced), None)
        if alg is None:
            raise ProviderFault(
                f"openid.client_private_key signs {', '.join(able)}; the provider lists {', '.join(announced or ())}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is the old name of Ed25519, and the usual one
            header = {"alg": alg, "typ": typ, **self._key.header}
            return jwt.encode(header, dict(claims), self._key.key, algorithms=[alg])
