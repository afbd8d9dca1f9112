"""How an authorization request goes to its provider: in the URL of the redirect, or pushed before it (RFC 9126).

The invariant: a pushed request is answered in full before the browser is redirected, and what strangers can have pushed at a time is bounded.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from gateway.errors.signing_in import ProviderFault, ProviderUnavailable
from gateway.oidc.authorization import authorization_url, readable_error
from gateway.oidc.calls import ProviderResponse
from gateway.oidc.provider import Provider
from gateway.oidc.request_object import RequestObjects
from gateway.oidc.token_response import lifetime
from gateway.oidc.tokens import TokenClient

MOST_UNDER_WAY: Final = 50  # of the hundred connections to a provider: the others are for people who come back from it

_WHAT: Final = "pushed_authorization_request"
_LONGEST_URI: Final = 1024


class AuthorizationClient:
    """The client of a provider's authorization endpoint. `tokens` authenticates us, as at the token endpoint; `objects` sign the requests."""

    def __init__(self, provider: Provider, client_id: str, tokens: TokenClient, objects: RequestObjects | None) -> None:
        self._provider = provider
        self._client_id = client_id
        self._tokens = tokens
        self._objects = objects
        self.under_way = 0

    @property
    def pushes(self) -> bool:
        """Whether requests are pushed. Raises ProviderUnavailable while that is not known."""
        return self._provider.metadata.pushed_authorization_request_endpoint is not None

    def url(self, parameters: Sequence[tuple[str, str]]) -> str:
        """Where the browser goes with a request that is not pushed. Raises ProviderUnavailable."""
        metadata = self._provider.metadata
        if self._objects is not None:
            parameters = self._objects.in_url(parameters, metadata)
        return authorization_url(metadata.authorization_endpoint, parameters)

    async def push(self, parameters: Sequence[tuple[str, str]]) -> str:
        """Push a request; where the browser goes then. Raises ProviderUnavailable, ProviderFault."""
        metadata = self._provider.metadata
        endpoint = metadata.pushed_authorization_request_endpoint
        if endpoint is None:
            raise ProviderFault(f"{_WHAT}: the provider has no endpoint for it any more")
        # SECURITY: strangers who begin sign-ins must not take all connections to the provider.
        if self.under_way >= MOST_UNDER_WAY:
            raise ProviderUnavailable(f"{_WHAT}: {MOST_UNDER_WAY} requests are under way")
        if self._objects is not None:
            parameters = self._objects.pushed(parameters, metadata)
        self.under_way += 1
        try:
            response = await self._tokens.post(_WHAT, endpoint, list(parameters))
        finally:
            self.under_way -= 1
        request_uri = parse_pushed_response(response)
        pushed = [("client_id", self._client_id), ("request_uri", request_uri)]
        return authorization_url(metadata.authorization_endpoint, pushed)


def parse_pushed_response(response: ProviderResponse) -> str:
    """The `request_uri` (RFC 9126 section 2.2). Raises ProviderUnavailable, ProviderFault."""
    if response.status == 429 or response.status >= 500:
        raise ProviderUnavailable(f"{_WHAT}: status {response.status}")
    if response.status not in (200, 201):
        raise _refused(response)
    body = response.json()
    if not lifetime(body.get("expires_in")):
        raise ProviderFault(f"{_WHAT}: expires_in is not a number of seconds, 1 or more")
    uri = body.get("request_uri")
    if not isinstance(uri, str) or len(uri) > _LONGEST_URI or not _is_uri(uri):
        raise ProviderFault(f"{_WHAT}: request_uri is not a URI of at most {_LONGEST_URI} characters")
    return uri


def _refused(response: ProviderResponse) -> ProviderFault:
    """An error response (section 2.3). Its name tells the operator what to compare with the provider's settings of this client."""
    try:
        body = response.json()
    except ProviderFault:
        body = {}
    name, description = readable_error(body.get("error"), body.get("error_description"))
    return ProviderFault(f"{_WHAT}: status {response.status}, the provider returned {name}: {description!r}")


def _is_uri(text: str) -> bool:
    """Whether it is an absolute URI of visible ASCII (RFC 3986 section 4.3)."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path) and not parts.fragment)
