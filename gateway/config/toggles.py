"""What the settings of the "Integrating OpenID" page mean for an app: who is admitted or created, and which password routes are closed.

`registration` decides about a person whom the directory does not know, `password_routes_closed` about the password routes of a surface;
`toggle_table` describes both for every app of a file. Nothing else reads the toggles for these decisions. Pure.
"""

from dataclasses import dataclass
from typing import Literal

from gateway.config.providers import offered
from gateway.config.schema import App, Config, OpenID, Surface

Registration = Literal["skip", "create", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToggleRow:
    """One app's row. `unregistered` describes the treatment of a person who is not registered, `password_routes` that of its password routes."""

    app: str
    surface: Surface
    providers: tuple[str, ...]
    registration: Registration
    unregistered: str
    password_routes_closed: bool
    password_routes: str


def registration(openid: OpenID, surface: Surface, directory_kind: str = "nexudus") -> Registration:
    """What a sign-in does for a person whom the directory does not know; `skip`: the directory is not called.

    `shared` apps follow the portal, so that a person who is refused there is refused at the other host too.
    """
    if not openid.enabled or surface == "dashboard" or directory_kind == "none":
        return "skip"
    if not openid.create_users:
        return "refuse"
    if openid.prevent_password_login:
        return openid.unregistered_when_sso_only or "refuse"
    return "create"


def password_routes_closed(openid: OpenID, surface: Surface) -> bool:
    """Whether the password routes of this surface are refused, with and without a session."""
    governing = {
        "portal": openid.prevent_password_login,
        "dashboard": openid.prevent_dashboard_password_login,
        "shared": openid.prevent_password_login or openid.prevent_dashboard_password_login,
    }
    return openid.enabled and governing[surface]


def refused_by_omission(config: Config) -> bool:
    """Whether both toggles are on without `unregistered_when_sso_only`: unregistered people are refused then."""
    openid = config.openid
    both = openid.enabled and openid.create_users and openid.prevent_password_login
    refused = any(registration(openid, app.surface, config.directory.kind) == "refuse" for app in config.apps.values())
    return both and openid.unregistered_when_sso_only is None and refused


def toggle_table(config: Config) -> list[ToggleRow]:
    """One row for each app, in the order of the file."""
    return [
        ToggleRow(
            app=name,
            surface=app.surface,
            providers=offered(config, app),
            registration=registration(config.openid, app.surface, config.directory.kind),
            unregistered=_unregistered(config, app.surface),
            password_routes_closed=password_routes_closed(config.openid, app.surface),
            password_routes=_password_routes(config, app),
        )
        for name, app in config.apps.items()
    ]


def _unregistered(config: Config, surface: Surface) -> str:
    openid = config.openid
    if not openid.enabled:
        return "not asked: requests pass without identity"
    if surface == "dashboard":
        return "not asked: on dashboards `require` decides, and nothing is created"
    if config.directory.kind == "none":
        return "let in: with directory.kind none everyone the provider knows counts as registered"
    if registration(openid, surface) == "create":
        return "created, let in"
    if not openid.create_users:
        return 'refused: 403 page "not registered"'
    setting = openid.unregistered_when_sso_only or "left out"
    return f"refused: create_users and prevent_password_login are both on (unregistered_when_sso_only: {setting})"


def _password_routes(config: Config, app: App) -> str:
    if password_routes_closed(config.openid, app.surface):
        if not app.password_routes:
            return "no password_routes are named: only HTTP Basic and its like are refused"
        return "refused for everyone"
    if config.openid.enabled and app.unauthenticated == "sign_in":
        return "open to those who are signed in (unauthenticated: sign_in)"
    return "open"
