"""Calls to the provider's endpoints: bounded in size and time, never redirected, never decompressed.

The invariant: a response costs at most `limit` bytes and `timeout`, and no secret travels to a URL that the metadata did
not name.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from gateway.errors.network import network_failure
from gateway.errors.signing_in import ProviderFault, ProviderUnavailable
from gateway.observability.counters import Histogram
from gateway.oidc.client_certificate import client_tls
from gateway.oidc.metadata import is_loopback
from gateway.oidc.strict_json import parse_object

_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderResponse:
    """A response that was read to its end. `what` names the endpoint in messages; the fields with a default are header fields."""

    what: str
    status: int
    content_type: str
    body: bytes
    date: str | None = None
    age: str | None = None
    dpop_nonce: str | None = None
    www_authenticate: str = ""

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ProviderFault."""
        # SECURITY: a page of HTML, an array or a member given twice is no response, with any status.
        if self.content_type != "application/json" and not self.content_type.endswith("+json"):
            raise ProviderFault(f"{self.what}: the content type is not JSON")
        try:
            return parse_object(self.body)
        except ValueError as error:
            raise ProviderFault(f"{self.what}: {error}") from error


class Calls:
    """The calls to one provider. Every method raises ProviderUnavailable without a response in time, ProviderFault for an unusable one.

    `timer(what)` is where the durations of the calls to one endpoint are counted.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        timeout: timedelta = timedelta(seconds=10),
        limit: int = _LIMIT,
        timer: Callable[[str], Histogram] = lambda what: Histogram(),
    ) -> None:
        self._http = http
        self._seconds = timeout.total_seconds()
        self._timeout = aiohttp.ClientTimeout(total=self._seconds)
        self._limit = limit
        self._timer = timer

    async def get(self, what: str, url: str, headers: Mapping[str, str] | None = None) -> ProviderResponse:
        return await self._call(what, "GET", url, headers or {}, None)

    async def post(self, what: str, url: str, form: bytes, headers: Mapping[str, str]) -> ProviderResponse:
        """POST a form, application/x-www-form-urlencoded."""
        fields = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self._call(what, "POST", url, fields, form)

    async def _call(
        self, what: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> ProviderResponse:
        responded, begun = False, time.perf_counter()
        try:
            async with self._http.request(
                method,
                URL(url, encoded=True),
                data=body,
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
                allow_redirects=False,
                auto_decompress=False,
                timeout=self._timeout,
            ) as response:
                responded = True
                return await self._read(what, response)
        except TimeoutError as error:
            raise ProviderUnavailable(f"{what}: {_host(url)}: no complete answer in {self._seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if responded:
                raise ProviderFault(f"{what}: {_host(url)}: the response broke off") from error
            raise ProviderUnavailable(f"{what}: {network_failure(_host(url), error)}") from error
        finally:
            self._timer(what).observe(time.perf_counter() - begun)

    async def _read(self, what: str, response: aiohttp.ClientResponse) -> ProviderResponse:
        # SECURITY: a redirect would carry the code, the secret or the token to any URL.
        if 300 <= response.status < 400:
            raise ProviderFault(f"{what}: the response is a redirect")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ProviderFault(f"{what}: a content encoding that was not requested")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            # SECURITY: an endless response ends here, and the connection with it.
            if len(body) > self._limit:
                response.close()
                raise ProviderFault(f"{what}: the response is larger than {self._limit} bytes")
        nonces = response.headers.getall("DPoP-Nonce", [])
        return ProviderResponse(
            what=what, status=response.status, content_type=response.content_type, body=bytes(body),
            date=response.headers.get("Date"), age=response.headers.get("Age"),
            dpop_nonce=nonces[0] if len(nonces) == 1 else None,
            www_authenticate=", ".join(response.headers.getall("WWW-Authenticate", [])),
        )  # fmt: skip


def open_session(ca: Path | None = None, client: tuple[Path, Path] | None = None) -> aiohttp.ClientSession:
    """A client session for calls to the provider: no cookies, no proxies from the environment.

    `ca`: a private authority in place of the system's. `client`: certificate and key that are presented where a server asks for them; then no
    connection is kept, so that each call presents those of now. Raises OSError or ssl.SSLError when a file cannot be used.
    """
    context = client_tls(ca, client)
    connector = aiohttp.TCPConnector(
        ssl=context or True, resolver=LoopbackResolver(), limit=100, force_close=client is not None
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


def _host(url: str) -> str:
    return URL(url, encoded=True).host_port_subcomponent or ""


class LoopbackResolver(AbstractResolver):
    """Resolves names below `localhost` to this machine, as browsers do (RFC 6761), and other names with the system's resolver."""

    def __init__(self) -> None:
        self._system: AbstractResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if is_loopback(host) and not _is_address(host):
            return [_loopback(host, port)]
        if self._system is None:
            self._system = DefaultResolver(loop=asyncio.get_running_loop())
        return await self._system.resolve(host, port, family)

    async def close(self) -> None:
        if self._system is not None:
            await self._system.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _loopback(host: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host="127.0.0.1",
        port=port,
        family=socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
