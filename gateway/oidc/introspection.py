"""Token introspection (RFC 7662): the provider says what an opaque token is.

The client authenticates as at the token endpoint; the answer is as bounded as any other of the provider.
"""

from collections.abc import Mapping
from typing import Any

from gateway.errors.signing_in import ProviderFault, ProviderUnavailable
from gateway.oidc.provider import Provider
from gateway.oidc.tokens import TokenClient


class IntrospectionClient:
    """Asks one provider."""

    def __init__(self, provider: Provider, tokens: TokenClient) -> None:
        self._provider = provider
        self._tokens = tokens

    async def ask(self, token: str) -> Mapping[str, Any]:
        """The members of the answer. Raises ProviderUnavailable, ProviderFault: then nothing is known of the token."""
        endpoint = self._provider.metadata.introspection_endpoint
        if endpoint is None:
            raise ProviderFault("introspection: the provider's metadata name no introspection_endpoint")
        form = [("token", token), ("token_type_hint", "access_token")]
        response = await self._tokens.post("introspection", endpoint, form)
        # SECURITY: an error, a page or a redirect is no answer about a token (D-34).
        if response.status >= 500 or response.status == 429:
            raise ProviderUnavailable(f"introspection: status {response.status}")
        if response.status != 200:
            raise ProviderFault(f"introspection: status {response.status}")
        return response.json()
