"""Sources of one-time tokens: the directory's service account, or an API that the configuration describes.

The invariant: an error holds reason words and status codes, and nothing of a token, a URL or a response's text.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import aiohttp
from yarl import URL

from gateway.config.sections.hand_off import TokenCall
from gateway.directory.account import Account, Directory
from gateway.directory.api.answer import read_bounded
from gateway.errors.hand_off import HandOffFailed, NoUpstreamLogin
from gateway.errors.network import network_failure
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.hand_off.templates import at_pointer, outgoing
from gateway.identity.claims import Identity

_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)
_LONGEST_TOKEN: Final = 16 * 1024


class TokenSource(Protocol):
    """Gives one-time tokens."""

    async def token(self, identity: Identity, facts: Mapping[str, str]) -> str:
        """A token for this person. Raises a Refusal."""


class DirectoryTokens:
    """Tokens of the directory, requested with its service account."""

    def __init__(self, directory: Directory, find_account: Callable[[Identity], Awaitable[Account | None]]) -> None:
        self._directory = directory
        self._find_account = find_account

    async def token(self, identity: Identity, facts: Mapping[str, str]) -> str:
        return usable(await self._directory.sign_in_token(await self._account(identity)))

    async def _account(self, identity: Identity) -> Account:
        """The account that the identity holds, else the directory's.

        A dashboard's sign-in does not read the directory, and an upstream login may be newer than the session.
        """
        known, email = identity.directory, identity.vouched_email or ""
        if "id" in known and "user_id" in known:
            return Account(id=known["id"], email=email, user_id=known["user_id"], facts=dict(known))
        # SECURITY: by the link, and only then by an address without a link to another person: addresses change hands.
        account = await self._find_account(identity)
        if account is None or not account.active or account.user_id is None:
            raise NoUpstreamLogin("the directory has no login of this person")
        return account


class CalledTokens:
    """Tokens of an API that `hand_off.token` describes. The caller closes `http` and sets the timeout."""

    def __init__(self, call: TokenCall, http: aiohttp.ClientSession) -> None:
        self._call = call
        self._http = http

    async def token(self, identity: Identity, facts: Mapping[str, str]) -> str:
        request = outgoing(self._call, self._call.url, facts)
        url = URL(request.target, encoded=True)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **dict(request.headers)}
        try:
            async with (
                self._http.request(
                    request.method,
                    url,
                    data=request.body or None,
                    headers=headers,
                    allow_redirects=False,  # SECURITY: a redirect would carry the service's secret to wherever it points.
                    timeout=_NO_TIMEOUT,
                ) as response
            ):
                body = await read_bounded(response)
                status = response.status
        except DirectoryUnavailable as error:
            raise HandOffFailed("token_unreadable", f"the token's API: {error.detail}") from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            why = network_failure(url.host_port_subcomponent or "", error)
            raise HandOffFailed("token_unavailable", f"the token's API: {why}") from None
        if not 200 <= status < 300:
            raise HandOffFailed("token_refused", f"the token's API answered {status}")
        try:
            return usable(at_pointer(json.loads(body), self._call.pointer))
        except (ValueError, RecursionError):
            raise HandOffFailed("token_unreadable", "the token's API did not answer with JSON") from None


def usable(token: object) -> str:
    """The token as a text for a URL, a header or a form. Raises HandOffFailed for anything else."""
    if not isinstance(token, str) or not token or len(token) > _LONGEST_TOKEN or not token.isascii():
        raise HandOffFailed("token_unreadable", "no token at the configured pointer")
    if not token.isprintable() or " " in token:
        raise HandOffFailed("token_unreadable", "a token with blanks or control characters")
    return token
