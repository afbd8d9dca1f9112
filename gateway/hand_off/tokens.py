"""Where a one-time token comes from: the directory's service account, or a stranger's API that the configuration describes.

The invariant: nothing of a token, a URL or a foreign answer's text stands in an error; the reason words do, and status codes.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import aiohttp
from yarl import URL

from gateway.config.sections.hand_off import TokenCall
from gateway.directory.account import Account, Directory
from gateway.errors.hand_off import HandOffFailed, NoUpstreamLogin
from gateway.hand_off.templates import at_pointer, outgoing
from gateway.identity.claims import Identity

_LARGEST: Final = 256 * 1024
_PATIENT: Final = aiohttp.ClientTimeout(total=None)
_LONGEST_TOKEN: Final = 16 * 1024


class TokenSource(Protocol):
    async def token(self, identity: Identity, facts: Mapping[str, str]) -> str:
        """Raises a Refusal."""


class DirectoryTokens:
    """Asks the directory, with its service account."""

    def __init__(self, directory: Directory, known: Callable[[Identity], Awaitable[Account | None]]) -> None:
        self._directory = directory
        self._known = known

    async def token(self, identity: Identity, facts: Mapping[str, str]) -> str:
        return usable(await self._directory.sign_in_token(await self._account(identity)))

    async def _account(self, identity: Identity) -> Account:
        """As the session knows it; else the directory is asked: nobody looked at a dashboard's sign-in, or the login is newer than it."""
        told, email = identity.directory, identity.vouched_email or ""
        if "id" in told and "user_id" in told:
            return Account(id=told["id"], email=email, user_id=told["user_id"], facts=dict(told))
        # SECURITY: by the link, and only then by an address that is nobody else's account: addresses change hands.
        account = await self._known(identity)
        if account is None or not account.active or account.user_id is None:
            raise NoUpstreamLogin("the directory knows no login of this person")
        return account


class CalledTokens:
    """Asks a stranger's API. `http` belongs to the caller, and so does the patience."""

    def __init__(self, call: TokenCall, http: aiohttp.ClientSession) -> None:
        self._call = call
        self._http = http

    async def token(self, identity: Identity, facts: Mapping[str, str]) -> str:
        asked = outgoing(self._call, self._call.url, facts)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **dict(asked.headers)}
        try:
            async with (
                self._http.request(
                    asked.method,
                    URL(asked.target, encoded=True),
                    data=asked.body or None,
                    headers=headers,
                    allow_redirects=False,  # SECURITY: a redirect would carry the service's secret to wherever it points.
                    timeout=_PATIENT,
                ) as response
            ):
                body = await response.content.read(_LARGEST)
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise HandOffFailed("token_unavailable", f"the token's API: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise HandOffFailed("token_refused", f"the token's API answered {status}")
        try:
            return usable(at_pointer(json.loads(body), self._call.pointer))
        except (ValueError, RecursionError):
            raise HandOffFailed("token_unreadable", "the token's API did not answer with JSON") from None


def usable(token: object) -> str:
    """A token as it may stand in a URL, a header or a form."""
    if not isinstance(token, str) or not token or len(token) > _LONGEST_TOKEN or not token.isascii():
        raise HandOffFailed("token_unreadable", "no token where it was looked for")
    if not token.isprintable() or " " in token:
        raise HandOffFailed("token_unreadable", "a token with blanks or control characters")
    return token
