"""The provider's clock, and the addresses that must be registered there."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.config.providers import dependency_of, key_of, offered_by_app, providers_of
from gateway.config.schema import Config, ProviderKeys
from gateway.errors.refusal import Refusal
from gateway.gate.site import Site, app_routes
from gateway.oidc.calls import Calls, open_session
from gateway.oidc.metadata import discovery_url
from gateway.operations.doctor.line import Line, State, broken, ok, unknown, warning
from gateway.web.sign_out import SIGNED_OUT

_RESOLUTION: Final = timedelta(seconds=1)  # of the field Date


async def clock_lines(config: Config, clock: Callable[[], float] = time.time) -> list[Line]:
    """For each provider, how far its clock is off, by the field Date of its metadata's response."""
    if not config.openid.enabled:
        return []
    return [await _clock(name, settings, clock) for name, settings in providers_of(config).items()]


async def _clock(name: str, settings: ProviderKeys, clock: Callable[[], float]) -> Line:
    called = f"{dependency_of(name)} clock"
    async with open_session(settings.ca, settings.client_tls.files) as http:
        begun = clock()
        try:
            response = await Calls(http).get("discovery", discovery_url(settings.authority_url))
        except Refusal as refusal:
            return unknown(called, f"it was not seen: {refusal.detail}", "mend discovery first")
        ended = clock()
    try:
        date = parsedate_to_datetime(response.date or "").astimezone(UTC).timestamp()
    except (ValueError, TypeError):
        return unknown(called, "the provider's response has no readable Date", "compare the clocks by hand: date -u")
    if response.age not in (None, "0"):
        return unknown(
            called, f"a cache answered, {response.age} s after the provider", "compare the clocks by hand: date -u"
        )
    # The moment of Date lies between the two of ours; it was cut to a whole second.
    ahead = max(date - ended, 0.0) or min(date + _RESOLUTION.total_seconds() - begun, 0.0)
    return _judge(called, key_of(name), timedelta(seconds=ahead), settings.clock_skew)


def _judge(called: str, key: str, ahead: timedelta, allowed: timedelta) -> Line:
    seconds = abs(ahead).total_seconds()
    where = "ahead of" if ahead > timedelta(0) else "behind"
    means = f"the provider's clock is {seconds:.0f} s {where} this machine's; {key}.clock_skew allows {allowed.total_seconds():g} s"
    action = "let this machine follow a time server (timedatectl set-ntp true), and the provider's too; a larger clock_skew is the last resort"
    if abs(ahead) > allowed:
        return broken(called, f"{means}: its ID Tokens are refused as not yet valid or expired", action)
    if abs(ahead) > allowed / 2:
        return warning(called, means, action)
    return ok(called, "the provider's clock and this machine's agree" if seconds < 1 else means)


def address_lines(config: Config) -> Iterator[Line]:
    """For each provider, the addresses to register, by the provider's names for them."""
    offering = offered_by_app(config)
    signing_in = [route for route in app_routes(config) if Site(route, config).enabled]
    for name in providers_of(config):
        routes = [route for route in signing_in if name in offering[route.name]]
        kinds = {
            "redirect_uris": [route.redirect_uri(name) for route in routes],
            "post_logout_redirect_uris": [route.origin + SIGNED_OUT for route in routes],
            "backchannel_logout_uri": [route.origin + "/oauth2/backchannel-logout" for route in routes[:1]],
        }
        words = {
            "redirect_uris": "register each of these, letter by letter; one that is missing ends a sign-in on the provider's error page",
            "post_logout_redirect_uris": "register each of these, or people end on the provider's page after a sign-out",
            "backchannel_logout_uri": "register this one where the provider offers it: then a sign-out there ends the sessions here",
        }
        for kind, addresses in kinds.items():
            if addresses:
                yield Line(
                    name=f"{dependency_of(name)} {kind}", state=State.OK, means=words[kind], addresses=tuple(addresses)
                )
