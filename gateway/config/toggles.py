"""What the settings of the "Integrating OpenID" page come to: who is let in or created, whose password doors are shut.

Pure. Three questions, answered here only: `registration` (a person whom the provider knows and the directory does not),
`password_routes_closed` (the password routes of a surface), `toggle_table` (both, in words, for every app of a file).
"""

from dataclasses import dataclass
from typing import Literal

from gateway.config.providers import offered
from gateway.config.schema import App, Config, OpenID, Surface

Registration = Literal["skip", "create", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToggleRow:
    """One app's row: `stranger` is what happens to a person who is not registered, `doors` to its password routes."""

    app: str
    surface: Surface
    providers: tuple[str, ...]
    registration: Registration
    stranger: str
    password_routes_closed: bool
    doors: str


def registration(openid: OpenID, surface: Surface, directory_kind: str = "nexudus") -> Registration:
    """What happens at a login to a person unknown to the directory; `skip`: it is not asked.

    `shared` apps follow the portal: somebody refused there must not come in by the other host.
    """
    if not openid.enabled or surface == "dashboard" or directory_kind == "none":
        return "skip"
    if not openid.create_users:
        return "refuse"
    if openid.prevent_password_login:
        return openid.unregistered_when_sso_only or "refuse"
    return "create"


def password_routes_closed(openid: OpenID, surface: Surface) -> bool:
    """Whether the password routes of this surface are refused for everyone."""
    governing = {
        "portal": openid.prevent_password_login,
        "dashboard": openid.prevent_dashboard_password_login,
        "shared": openid.prevent_password_login or openid.prevent_dashboard_password_login,
    }
    return openid.enabled and governing[surface]


def refused_by_omission(config: Config) -> bool:
    """Whether both toggles are on and nobody said what that means: the page then says that strangers are refused."""
    openid = config.openid
    both = openid.enabled and openid.create_users and openid.prevent_password_login
    asked = any(registration(openid, app.surface, config.directory.kind) == "refuse" for app in config.apps.values())
    return both and openid.unregistered_when_sso_only is None and asked


def toggle_table(config: Config) -> list[ToggleRow]:
    """One row an app, in the order of the file."""
    return [
        ToggleRow(
            app=name,
            surface=app.surface,
            providers=offered(config, app),
            registration=registration(config.openid, app.surface, config.directory.kind),
            stranger=_stranger(config, app.surface),
            password_routes_closed=password_routes_closed(config.openid, app.surface),
            doors=_doors(config, app),
        )
        for name, app in config.apps.items()
    ]


def _stranger(config: Config, surface: Surface) -> str:
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
    said = openid.unregistered_when_sso_only or "left out"
    return f"refused: create_users and prevent_password_login are both on (unregistered_when_sso_only: {said})"


def _doors(config: Config, app: App) -> str:
    if password_routes_closed(config.openid, app.surface):
        if not app.password_routes:
            return "no password_routes are named: only HTTP Basic and its like are refused"
        return "refused for everyone"
    if config.openid.enabled and app.unauthenticated == "sign_in":
        return "open to those who are signed in (unauthenticated: sign_in)"
    return "open"
