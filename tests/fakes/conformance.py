"""A door and a provider that the modules of the OpenID Foundation's plans share, one wrong value at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from redis import Redis as SyncRedis

from tests.fakes.browser import Answer, Browser
from tests.fakes.house import House
from tests.fakes.provider import MisbehavingProvider, Told

_NUMBERS = count(1)


@dataclass
class Stage:
    """A door and its provider."""

    house: House
    provider: MisbehavingProvider
    page: Answer = field(init=False)
    browser: Browser = field(init=False)

    def reset(self) -> None:
        """Honest again, and nothing seen yet."""
        self.provider.told, self.provider.sign, self.provider.faults = Told(), None, {}
        self.provider.seen.clear()
        self.house.upstream.requests.clear()

    async def sign_in(self) -> Browser:
        self.browser = self.house.browser()
        self.page = await self.house.sign_in(self.browser, at="/deep?x=1")
        if self.page.url.startswith(self.provider.issuer) and self.page.document.forms:
            self.page = await self.browser.submit(0)  # the response by form_post
        return self.browser

    async def assert_accepted(self) -> Browser:
        browser = await self.sign_in()
        assert (self.page.status, self.page.text) == (200, "you asked for /deep?x=1")
        assert self.house.upstream.requests[-1].values("x-forwarded-email") == [b"mia@example.com"]
        return browser

    async def assert_refused(self) -> None:
        browser = await self.sign_in()
        assert 400 <= self.page.status < 500, self.page.status
        assert not [cookie.name for cookie in browser.jar.cookies if cookie.name.endswith("doorward_session")]
        assert self.house.upstream.requests == []


@asynccontextmanager
async def a_stage(
    redis: SyncRedis, provider: MisbehavingProvider | None = None, **sections: Any
) -> AsyncIterator[Stage]:
    provider = provider or MisbehavingProvider()
    if not provider.running:
        await provider.start()
    url = f"unix://{redis.get_connection_kwargs()['path']}"
    house = await House.open(url, f"conformance-{next(_NUMBERS)}:", provider=provider, **sections)
    try:
        yield Stage(house, provider)
    finally:
        await house.close()
        await provider.close()
