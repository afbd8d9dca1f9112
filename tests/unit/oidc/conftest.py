"""One misbehaving provider a test, and the client that it should not fool."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from gateway.config.schema import OpenID
from gateway.demo.provider import DemoClient
from gateway.oidc.authorization import (
    AuthorizationCode,
    LoginAttempt,
    authorization_parameters,
    authorization_url,
    validate_authorization_response,
)
from gateway.oidc.calls import Calls, open_session
from gateway.oidc.provider import Provider
from gateway.oidc.tokens import TokenClient, TokenResult
from tests.fakes.attempts import attempt_secrets
from tests.fakes.provider import Fault, MisbehavingProvider, dripping, parameters_of, sign_in_at

REDIRECT_URI = "http://portal.localhost:4180/oauth2/callback"
SECRET = "s3cret"


class Trip:
    """A gateway's side of a whole sign-in, against a provider on loopback."""

    def __init__(self, fake: MisbehavingProvider, http: aiohttp.ClientSession, browser: aiohttp.ClientSession) -> None:
        self.fake = fake
        self.http = http
        self.browser = browser
        self.clock = 1000.0
        self.settings: dict[str, Any] = {"client_id": "doorward", "client_secret": SecretStr(SECRET)}
        self.provider = self.new_provider()

    @property
    def openid(self) -> OpenID:
        return OpenID(authority_url=self.fake.issuer, **self.settings)

    def new_provider(self, **settings: Any) -> Provider:
        calls = Calls(self.http)
        fast = {"first_retry": timedelta(milliseconds=10), "longest_retry": timedelta(milliseconds=40)}
        return Provider(self.openid, self.http, lambda: self.clock, calls=calls, **{**fast, **settings})

    def fault(self, endpoint: str, fault: Fault) -> None:
        """The endpoint answers so from now on; a call that would never end has a short timeout."""
        self.fake.faults[endpoint] = fault
        if fault is dripping:
            self.provider.calls = Calls(self.http, timeout=timedelta(seconds=0.3))

    def register(self, **settings: Any) -> None:
        known = {"client_id": "doorward", "client_secret": SECRET, "redirect_uris": (REDIRECT_URI,)}
        self.fake.register(DemoClient(**{**known, **settings}))

    async def code(self, **asked: Any) -> AuthorizationCode:
        """Discovery, the authorization request, the login page, the callback."""
        if not self.provider.ready:
            await self.provider.ping()
        now = datetime.now(UTC)
        where: dict[str, Any] = {"app": "portal", "host": "portal", "return_to": "/", "started_at": now}
        attempt = LoginAttempt(**attempt_secrets(), **where, **asked)
        parameters = authorization_parameters(self.provider.metadata, self.openid, REDIRECT_URI, attempt)
        url = authorization_url(self.provider.metadata.authorization_endpoint, parameters)
        callback = await sign_in_at(self.browser, url)
        return validate_authorization_response(parameters_of(callback), attempt, self.provider.metadata, now)

    async def sign_in(self, **asked: Any) -> TokenResult:
        code = await self.code(**asked)
        return await TokenClient(self.provider, self.openid).redeem(code, REDIRECT_URI)


@pytest.fixture
async def trip() -> AsyncIterator[Trip]:
    fake = MisbehavingProvider()
    await fake.start()
    jar = aiohttp.CookieJar(unsafe=True)
    async with open_session() as http, aiohttp.ClientSession(cookie_jar=jar) as browser:
        going = Trip(fake, http, browser)
        going.register()
        yield going
        await going.provider.close()
    await fake.close()
