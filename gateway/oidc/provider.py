"""The provider: its metadata and its keys, kept fresh in the background.

The invariant: no token is verified before discovery succeeded under the configured authority, and no stranger can make
us fetch keys from the provider more often than once in `refetch_interval`, nor keep a sign-in from fetching them.
OpenID Connect Discovery 1.0, RFC 8414.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

import aiohttp
from joserfc.jwk import Key

from gateway.config.schema import ProviderKeys
from gateway.errors.bearer import TokenInvalid
from gateway.errors.signing_in import IdTokenInvalid, LogoutTokenInvalid, ProviderFault, ProviderUnavailable
from gateway.observability.background import repeat
from gateway.oidc.calls import Calls
from gateway.oidc.metadata import ProviderMetadata, discovery_url, parse_metadata
from gateway.oidc.registered_claims import Verification
from gateway.oidc.signatures import ALGORITHMS, JwtInvalid, candidates, parse_keys, read_header, verified_claims

logger = logging.getLogger("doorward.oidc")
Validated = TypeVar("Validated")


class KeyBudget:
    """When tokens of one origin may have the keys fetched outside their schedule. `interval` is in seconds."""

    def __init__(self, clock: Callable[[], float], interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._closed_until: float | None = None

    def spend(self) -> bool:
        """Take the one fetch of this interval; False: it was taken."""
        now = self._clock()
        if self._closed_until is not None and now < self._closed_until:
            return False
        self._closed_until = now + self._interval
        return True

    def restore(self) -> None:
        """The fetch brought the key of a token: the next unknown key is worth one at once."""
        self._closed_until = None


class Provider:
    """One OpenID Provider. `clock` is monotonic; the intervals differ in tests only.

    `on_keys()` is called when other keys than before were fetched: what the earlier ones signed may not count any more.
    """

    def __init__(
        self,
        settings: ProviderKeys,
        http: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        *,
        allow_insecure_http: bool = False,
        refetch_interval: timedelta = timedelta(seconds=60),
        refresh_interval: timedelta = timedelta(hours=1),
        first_retry: timedelta = timedelta(seconds=0.5),
        longest_retry: timedelta = timedelta(seconds=10),
        calls: Calls | None = None,
    ) -> None:
        self.calls = calls or Calls(http)
        self.problem: str | None = "not asked yet"
        self.on_keys: Callable[[], None] = lambda: None
        self.attempted = asyncio.Event()  # set after each fetch, whether it succeeded or failed
        self._settings = settings
        self._authority = settings.authority_url
        self._allow_insecure_http = allow_insecure_http
        self._strangers = KeyBudget(clock, refetch_interval.total_seconds())
        self._endpoints = KeyBudget(clock, refetch_interval.total_seconds())
        self._refresh_interval = refresh_interval.total_seconds()
        self._retries = (first_retry.total_seconds(), longest_retry.total_seconds())
        self._metadata: ProviderMetadata | None = None
        self._keys: tuple[Key, ...] | None = None
        self._fetching_keys: asyncio.Task[tuple[Key, ...]] | None = None
        self._retry_delay = self._retries[0]
        self._background: asyncio.Task[None] | None = None

    @property
    def metadata(self) -> ProviderMetadata:
        """Raises ProviderUnavailable until discovery has succeeded once."""
        if self._metadata is None:
            raise ProviderUnavailable(f"discovery: {self.problem}")
        return self._metadata

    @property
    def ready(self) -> bool:
        """Whether metadata and keys were fetched."""
        return self._metadata is not None and self._keys is not None

    def start(self) -> None:
        """Begin to fetch, again and again: a provider that is down does not stop the gateway, and is used when it is back."""
        if self._background is None:
            self._background = asyncio.create_task(repeat("provider", self._keep_fresh))

    async def close(self) -> None:
        tasks = [task for task in (self._background, self._fetching_keys) if task is not None]
        self._background = self._fetching_keys = None
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, ProviderUnavailable, ProviderFault):
                await task

    async def ping(self) -> None:
        """Fetch metadata and keys now. Raises ProviderUnavailable, ProviderFault."""
        await self._fetch_metadata()
        await self._fetch_keys()

    async def _keep_fresh(self) -> float:
        """Fetch metadata and keys; the seconds until the next time."""
        shortest, longest = self._retries
        try:
            await self.ping()
            self._retry_delay = shortest
            pause = self._refresh_interval
        except (ProviderUnavailable, ProviderFault) as refusal:
            logger.warning("the provider cannot be used now: %s", refusal.detail)
            pause = self._retry_delay
            self._retry_delay = min(pause * 2, longest)
        finally:
            self.attempted.set()
        # Jitter: workers and gateways that started together do not fetch together for ever.
        return pause * random.uniform(0.7, 1.0)  # noqa: S311 - not a secret

    # --- metadata -----------------------------------------------------------------------------------------------------

    async def _fetch_metadata(self) -> None:
        try:
            response = await self.calls.get("discovery", discovery_url(self._authority))
            if response.status != 200:
                raise ProviderUnavailable(f"discovery: status {response.status}")
            metadata = _parse("discovery", lambda: self._parse_metadata(response.body))
        except (ProviderUnavailable, ProviderFault) as refusal:
            self.problem = refusal.detail
            raise
        if metadata != self._metadata:
            logger.info("discovery succeeded: %s", metadata.issuer)
            for fault in metadata.unused:
                logger.warning("discovery: %s", fault)
        self._metadata, self.problem = metadata, None

    def _parse_metadata(self, document: bytes) -> ProviderMetadata:
        return parse_metadata(document, self._settings, allow_insecure_http=self._allow_insecure_http)

    # --- keys ---------------------------------------------------------------------------------------------------------

    async def verify(
        self,
        token: str,
        now: Callable[[], datetime],
        validate: Callable[[Verification], Validated],
        *,
        from_endpoint: bool = False,
    ) -> Validated:
        """The result of `validate`, which gets the keys that may have signed `token`.

        An unknown key, or a signature that does not match the known ones, may be a key rotation: then the keys are fetched again, when
        the throttle allows it, and `validate` is called once more. `from_endpoint`: the token came in a response of one of the provider's
        endpoints, not in a request. Raises what `validate` raises, ProviderUnavailable, ProviderFault.
        """
        try:
            header = read_header(token, ALGORITHMS)
        except JwtInvalid:
            return validate(self._verification((), now))  # raises for the same header
        budget = self._budget(from_endpoint)
        keys = await self.keys_for(header.kid, header.alg, from_endpoint=from_endpoint)
        try:
            return validate(self._verification(keys, now))
        except (IdTokenInvalid, LogoutTokenInvalid, TokenInvalid) as refusal:
            if refusal.reason != "signature" or not await self._fetch_newer_keys(budget):
                raise
        validated = validate(self._verification(candidates(self._keys or (), header.kid, header.alg), now))
        if from_endpoint:
            budget.restore()
        return validated

    def verification(self, now: Callable[[], datetime]) -> Verification:
        """What an answer of this provider is checked with that no key signed. Raises ProviderUnavailable."""
        return self._verification((), now)

    def _verification(self, keys: Sequence[Key], now: Callable[[], datetime]) -> Verification:
        settings = self._settings
        return Verification(
            keys=keys, metadata=self.metadata, client_id=settings.client_id, now=now(), skew=settings.clock_skew
        )

    def _budget(self, from_endpoint: bool) -> KeyBudget:
        # SECURITY: strangers' logout tokens must not keep sign-ins from the provider's new keys (A-63).
        return self._endpoints if from_endpoint else self._strangers

    async def keys_for(self, kid: str | None, alg: str, *, from_endpoint: bool = False) -> tuple[Key, ...]:
        """The keys that may have signed a token with this header; none when nothing fits. `from_endpoint`: as `verify`.

        Raises ProviderUnavailable, ProviderFault.
        """
        budget = self._budget(from_endpoint)
        if self._keys is None and not await self._fetch_newer_keys(budget):
            raise ProviderUnavailable("keys: not fetched yet")
        found = candidates(self._keys or (), kid, alg)
        if found:
            return found
        # A fetch under way may have begun before the rotation; then this token is worth one of its own.
        for _ in range(2):
            if not found and await self._fetch_newer_keys(budget):
                found = candidates(self._keys or (), kid, alg)
        if found and from_endpoint:
            budget.restore()
        return found

    def has_key_of(self, id_token: str) -> bool:
        """Whether a published key signed this ID Token, an old one too; True while no keys are known. Nothing is fetched."""
        if self._keys is None:
            return True
        try:
            verified_claims(id_token, self._keys, ALGORITHMS)
        except JwtInvalid:
            return False
        return True

    async def _fetch_newer_keys(self, budget: KeyBudget) -> bool:
        """Fetch the keys outside their schedule, or wait for a fetch under way. False: the throttle forbids it."""
        # SECURITY: a thousand tokens with a thousand unknown kids cost the provider one request.
        if self._fetching_keys is None and not budget.spend():
            return False
        await self._fetch_keys()
        return True

    async def _fetch_keys(self) -> tuple[Key, ...]:
        """Fetch the keys; concurrent callers share one fetch, and none of them can cancel it for the others."""
        if self._fetching_keys is None:
            self._fetching_keys = asyncio.create_task(self._read_keys(), name="provider keys")
            self._fetching_keys.add_done_callback(self._keys_fetched)
        return await asyncio.shield(self._fetching_keys)

    def _keys_fetched(self, task: asyncio.Task[tuple[Key, ...]]) -> None:
        self._fetching_keys = None
        if not task.cancelled():
            task.exception()  # retrieved, also when no caller waits for it any more

    async def _read_keys(self) -> tuple[Key, ...]:
        try:
            response = await self.calls.get("keys", self.metadata.jwks_uri)
            if response.status != 200:
                raise ProviderUnavailable(f"keys: status {response.status}")
            keys = _parse("keys", lambda: parse_keys(response.body))
            if not keys:
                raise ProviderFault("keys: none that can be used")
        except (ProviderUnavailable, ProviderFault) as refusal:
            self.problem = refusal.detail
            raise
        before, self._keys, self.problem = self._keys, keys, None
        if before is not None and _public_halves(before) != _public_halves(keys):
            self.on_keys()
        return keys


def _public_halves(keys: Sequence[Key]) -> list[object]:
    return [key.as_dict(private=False) for key in keys]


def _parse(what: str, parse: Callable[[], Validated]) -> Validated:
    try:
        return parse()
    except ValueError as error:
        raise ProviderFault(f"{what}: {error}") from error
