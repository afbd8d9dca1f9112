"""A gateway for two apps, portal and dashboard, as the web half sees it: its sites, and the small parts that tests put together."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.config.loader import build
from gateway.config.schema import Config
from gateway.gate.site import AppRoute, Site, Sites
from gateway.oidc.metadata import ProviderMetadata
from gateway.sessions.keyring import new_key

PORTAL = "portal.example.com"
DASHBOARD = "dashboard.example.com"
PORTAL_ORIGIN = f"https://{PORTAL}"
DASHBOARD_ORIGIN = f"https://{DASHBOARD}"
NOON = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)

METADATA = ProviderMetadata(
    issuer="https://login.example.net",
    authorization_endpoint="https://login.example.net/authorize",
    token_endpoint="https://login.example.net/token",
    jwks_uri="https://login.example.net/jwks",
)


def made_config(**sections: Any) -> Config:
    data: dict[str, Any] = {
        "keys": [new_key()],
        "openid": {
            "authority_url": "https://login.example.net",
            "client_id": "doorward",
            "client_secret": "a secret of some length",
            "prevent_password_login": True,
        },
        "apps": {
            "portal": {"hosts": [PORTAL], "upstream": "http://127.0.0.1:9", "password_routes": "nexudus"},
            "dashboard": {"surface": "dashboard", "hosts": [DASHBOARD], "upstream": "http://127.0.0.1:9"},
        },
    }
    for name, value in sections.items():
        data[name] = {**data.get(name, {}), **value} if isinstance(value, dict) else value
    return build(data)


def made_sites(config: Config | None = None) -> Mapping[str, Site]:
    """By host, as the worker makes them."""
    config = config or made_config()
    scheme = config.external_url_scheme
    routes = [
        AppRoute(name=name, config=app, host=host, origin=f"{scheme}://{host}", secure=scheme == "https")
        for name, app in config.apps.items()
        for host in app.hosts
    ]
    return dict(Sites(routes, config).by_host)
