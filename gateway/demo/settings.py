"""The demo's ports and the configuration file that Doorward is started with.

Pure. The file is the same kind of file that an operator writes; its secrets come from the child's environment.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.schema import Budget

KEY_VARIABLE = "DOORWARD_KEY"
CLIENT_SECRET_VARIABLE = "OPENID_CLIENT_SECRET"
DIRECTORY_PASSWORD_VARIABLE = "NEXUDUS_PASSWORD"
CLIENT_ID = "doorward-demo"
LOWEST, HIGHEST = 1024, 65_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every port that must be known beforehand; the applications behind the gateway take free ones."""

    gateway: int

    @property
    def admin(self) -> int:
        return self.gateway + 1

    @property
    def provider(self) -> int:
        return self.gateway + 10

    @property
    def portal_host(self) -> str:
        return f"portal.localhost:{self.gateway}"

    @property
    def dashboard_host(self) -> str:
        return f"dashboard.localhost:{self.gateway}"

    @property
    def console_host(self) -> str:
        return f"console.localhost:{self.gateway}"

    @property
    def issuer(self) -> str:
        """One URL for the browser and for the gateway: `localhost` resolves everywhere, its subdomains do not."""
        return f"http://localhost:{self.provider}"

    def all(self) -> dict[str, int]:
        return {"the gateway": self.gateway, "the admin listener": self.admin, "the provider": self.provider}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """Where the parts behind the gateway listen."""

    portal: str
    dashboard: str
    directory: str
    directory_user: str


def render_settings(ports: Ports, upstreams: Upstreams, logo: Path) -> dict[str, Any]:
    """The configuration as plain data."""
    return {
        "listen": f"127.0.0.1:{ports.gateway}",
        "admin_listen": f"127.0.0.1:{ports.admin}",
        "external_url_scheme": "http",
        "workers": 1,
        "redis": {"url": "embedded"},
        "keys": [f"${{{KEY_VARIABLE}}}"],
        "openid": _openid(ports),
        "apps": _apps(ports, upstreams),
        "console": {"hosts": [ports.console_host], "require": {"groups": ["staff"]}},
        "directory": _directory(upstreams),
        "pages": {"title": "Harbour Desk", "logo": str(logo)},
        "log": {"format": "json", "level": "info"},
    }


def _openid(ports: Ports) -> dict[str, Any]:
    return {
        "enabled": True,
        "create_users": True,
        "prevent_password_login": True,
        "prevent_dashboard_password_login": True,
        "unregistered_when_sso_only": "create",
        "authority_url": ports.issuer,
        "client_id": CLIENT_ID,
        "client_secret": f"${{{CLIENT_SECRET_VARIABLE}}}",
        "scopes": ["openid", "email", "profile"],
    }


def _apps(ports: Ports, upstreams: Upstreams) -> dict[str, Any]:
    public = ("GET /assets/**", "GET /favicon.ico")
    return {
        "portal": {
            "surface": "portal",
            "hosts": [ports.portal_host],
            "upstream": upstreams.portal,
            "public": list(public),
            "password_routes": "nexudus",
            "client_headers": ["client_id"],
            "headers": {"X-Portal-Customer": "{directory.id}"},
        },
        "dashboard": {
            "surface": "dashboard",
            "hosts": [ports.dashboard_host],
            "upstream": upstreams.dashboard,
            "public": list(public),
            "require": {"groups": ["staff"]},
            "session": {"idle": "15m", "lifetime": "12h"},
            "password_routes": "nexudus",
            "client_headers": ["client_id"],
        },
    }


def _directory(upstreams: Upstreams) -> dict[str, Any]:
    return {
        "kind": "nexudus",
        "base_url": upstreams.directory,
        "username": upstreams.directory_user,
        "password": f"${{{DIRECTORY_PASSWORD_VARIABLE}}}",
        "business_ids": [501],
        "country_id": 1113,
        "time_zone_id": 2029,
        "budget": dict.fromkeys(Budget.model_fields, 0),  # the sample directory has no limits
    }
