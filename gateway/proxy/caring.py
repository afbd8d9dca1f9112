"""Who looks after which app: a `Care` for each one whose settings ask for it, none for all others."""

from collections.abc import Mapping

from gateway.config.schema import Config
from gateway.hand_off.broker import Broker
from gateway.proxy.app_care import AppCare
from gateway.proxy.bridge import Bridge
from gateway.proxy.context import ProxyContext
from gateway.proxy.edits import ResponseRewriter


def cares_of(config: Config, door: ProxyContext, brokers: Mapping[str, Broker]) -> dict[str, AppCare]:
    """By app."""
    cares = {}
    for name, app in config.apps.items():
        edited = app.responses.hide or app.responses.drop_cookies
        edits = ResponseRewriter(name, app.responses) if edited else None
        bridge = Bridge(door, brokers[name]) if name in brokers else None
        if edits is not None or bridge is not None:
            cares[name] = AppCare(door, edits=edits, bridge=bridge)
    return cares
