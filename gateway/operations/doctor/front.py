"""What browsers get at the public address of each host: this Doorward, and its cookie and scheme as they were sent.

The proxy in front is judged by what comes through it. A connection goes where the host's name leads from this machine, or to `connect`.
"""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from gateway.config.providers import providers_of
from gateway.config.schema import Config
from gateway.gate.site import START, AppRoute, Site, app_routes
from gateway.operations.doctor.line import Line, broken, ok, unknown, warning
from gateway.operations.probe.runner import NotDoorward, require_doorward
from gateway.operations.probe.verdicts import ProbeResponse
from gateway.operations.probe.wire import GatewayAddress, parse_gateway_address, send

_SOON: Final = 21  # days until a certificate ends
_LATE: Final = 7
_SECONDS: Final = 10.0
_NAVIGATION: Final = (
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nConnection: close\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontAddress:
    """Where to connect in place of where the host's name leads (`HOST:PORT`), and a private CA of its certificate."""

    connect: str | None = None
    ca: Path | None = None

    def of(self, route: AppRoute) -> GatewayAddress:
        """Raises ValueError."""
        return parse_gateway_address(route.origin, self.connect, self.ca)


async def front_lines(config: Config, front: FrontAddress, now: datetime) -> list[Line]:
    """The lines of each host, in the order of the file."""
    found = await asyncio.gather(*(_host(config, route, front, now) for route in app_routes(config)))
    return [line for lines in found for line in lines]


async def _host(config: Config, route: AppRoute, front: FrontAddress, now: datetime) -> list[Line]:
    gateway = front.of(route)
    called = f"{route.origin} public address"
    try:
        await require_doorward(gateway, f"doctor-{secrets.token_hex(4)}")
    except NotDoorward as error:
        return [
            broken(
                called,
                str(error).removeprefix(f"{gateway.url}: "),
                "start the gateway, and let DNS and the proxy in front lead this host to it with its Host unchanged; where only this machine "
                "cannot reach the address, say --connect HOST:PORT",
            )
        ]
    lines = [ok(called, "this Doorward answers, and knows the host")]
    lines += [line async for line in _sign_in(config, route, gateway)]
    if gateway.tls is not None:
        lines.append(certificate_line(f"{route.origin} certificate", await _certificate_end(gateway), now))
    return lines


# --- a sign-in that begins --------------------------------------------------------------------------------------------


async def _sign_in(config: Config, route: AppRoute, gateway: GatewayAddress) -> AsyncIterator[Line]:
    site = Site(route, config)
    if not site.enabled or not site.providers:
        return
    called, provider = f"{route.origin} sign-in", site.providers[0]
    first, second = [await _begin(gateway, provider) for _ in range(2)]
    if first is None or second is None:
        yield unknown(called, f"{START} had no answer", "try once more")
        return
    if first.status != 302:
        yield broken(
            called,
            f"{START} has status {first.status} in place of a redirect to the provider",
            "see the log of the gateway at this moment",
        )
        return
    sent, again = (parse_qs(urlsplit(each.value("location")).query) for each in (first, second))
    wrong = list(_differences(sent, route, providers_of(config)[provider].client_id, provider))
    if sent.get("state") == again.get("state"):
        wrong.append(
            "two sign-ins got the same state: a cache in front answers for the gateway, and would give one person another's page"
        )
    if wrong:
        action = "reload the gateway with this file (doorward reload), and let the proxy in front pass Host, Location and all answers unchanged"
        yield broken(called, "; ".join(wrong), action)
    else:
        yield ok(
            called,
            f"it begins at {urlsplit(first.value('location')).netloc} and comes back to {route.redirect_uri(provider)}",
        )
    yield _cookie(route, first)


async def _begin(gateway: GatewayAddress, provider: str) -> ProbeResponse | None:
    target = f"{START}?rd=/&provider={quote(provider)}"
    try:
        return await send(gateway, f"GET {target} HTTP/1.1\r\nHost: {gateway.host}\r\n{_NAVIGATION}\r\n".encode())
    except OSError:
        return None


def _differences(sent: dict[str, list[str]], route: AppRoute, client_id: str, provider: str) -> Iterator[str]:
    """What the running gateway says otherwise than this file."""
    for name, wanted in (("redirect_uri", route.redirect_uri(provider)), ("client_id", client_id)):
        if sent.get(name) != [wanted]:
            yield f"{name} is {', '.join(sent.get(name, ['missing']))}, by this file it is {wanted}"


def _cookie(route: AppRoute, response: ProbeResponse) -> Line:
    called = f"{route.origin} cookie"
    name = f"{'__Host-' if route.secure else ''}doorward_login_"
    values = [value for key, value in response.fields if key.lower() == "set-cookie"]
    wrong = list(_cookie_faults(values, name, secure=route.secure))
    if wrong:
        return broken(
            called,
            f"{'; '.join(wrong)}: browsers do not keep it or send it elsewhere, so every sign-in ends with 'expired'",
            "let the proxy in front pass Set-Cookie unchanged (nginx: no proxy_cookie_path, proxy_cookie_domain, proxy_hide_header)",
        )
    return ok(
        called, "it comes through as it was set" + (", with the prefix __Host- and Secure" if route.secure else "")
    )


def _cookie_faults(values: Sequence[str], name: str, *, secure: bool) -> Iterator[str]:
    ours = [value for value in values if "doorward_login_" in value.partition("=")[0]]
    if not ours:
        yield "the sign-in's cookie does not arrive"
    for value in ours:
        pair, *attributes = [part.strip() for part in value.split(";")]
        given = {attribute.partition("=")[0].lower(): attribute.partition("=")[2] for attribute in attributes}
        if not pair.startswith(name):
            yield f"its name is {pair.partition('=')[0]} in place of {name}..."
        if given.get("path") != "/":
            yield f"its Path is {given.get('path') or 'missing'} in place of /"
        if "domain" in given:
            yield f"it has a Domain ({given['domain']}), so other hosts get it"
        if ("secure" in given) is not secure:
            yield "it has lost Secure" if secure else "it has Secure although external_url_scheme is http"
        if "httponly" not in given:
            yield "it has lost HttpOnly, so scripts can read it"


# --- certificates -----------------------------------------------------------------------------------------------------


async def _certificate_end(gateway: GatewayAddress) -> datetime | None:
    """The last moment of the certificate that browsers see; None where it was not seen."""
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(
                gateway.address, gateway.port, ssl=gateway.tls, server_hostname=gateway.name
            )
    except OSError:
        return None
    shown: Any = writer.get_extra_info("peercert")
    writer.transport.abort()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC) if shown else None


def certificate_line(called: str, ends: datetime | None, now: datetime) -> Line:
    """The line about a certificate that ends at this moment."""
    if ends is None:
        return unknown(called, "its last day was not seen", "look at it in a browser")
    days, means = (ends - now).days, f"its last day is {ends:%Y-%m-%d}"
    action = "renew it, and see why the renewal did not run (certbot renew --dry-run, or the logs of what does it)"
    if ends <= now:
        return broken(called, f"{means}: it has ended, and browsers refuse the site", action)
    if days < _SOON:
        return (broken if days < _LATE else warning)(called, f"{means}, in {days} days", action)
    return ok(called, f"{means}, in {days} days")
