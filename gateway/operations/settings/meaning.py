"""What settings mean for people, in sentences, before they are saved. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.overlay import SavedSettings, SavedValue
from gateway.config.schema import Config
from gateway.config.toggles import ToggleRow, refused_by_omission, registration, toggle_table

#: The names of the page that this product follows.
LABELS: Final = {
    "enabled": "OpenId integration on or off",
    "create_users": "Create new users if they don't exist",
    "prevent_password_login": "Prevent users from using their password to log in",
    "prevent_dashboard_password_login": "Prevent users from using their password to log in to this dashboard",
    "unregistered_when_sso_only": "When both are on: people who are not registered",
    "log_out_url": "Log out URL",
    "authority_url": "Authority URL",
    "client_id": "Client ID",
    "client_secret": "Client Secret",
}
MASKED: Final = "••••••••"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """`sentences` are what happens to people, `warnings` who will have no access; `rows` are the toggle table."""

    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: tuple[ToggleRow, ...]


def meaning_of(config: Config) -> Meaning:
    """What the toggles of a configuration mean."""
    return Meaning(
        sentences=tuple(_sentences(config)), warnings=tuple(_warnings(config)), rows=tuple(toggle_table(config))
    )


def label(key: str) -> str:
    """A key as the page calls it."""
    section, _, name = key.rpartition(".")
    provider = section.removeprefix("providers.")
    return LABELS.get(name, key) + (f" ({provider})" if provider != section else "")


def shown(key: str, value: SavedValue) -> str:
    """A value for people; a secret is masked."""
    if value is None:
        return "not set"
    if key.endswith("client_secret"):
        return MASKED
    if isinstance(value, bool):
        return "on" if value else "off"
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSetting:
    """One key and its two values, for people. Both are masked for a secret."""

    key: str
    label: str
    before: str
    after: str


def changes(
    before: SavedSettings, after: SavedSettings, fallback: Sequence[tuple[str, SavedValue]] = ()
) -> list[ChangedSetting]:
    """What differs between two versions. `fallback` has the file's values, for keys that one of them does not have."""
    file = dict(fallback)
    found = []
    for key in sorted(before.values.keys() | after.values.keys()):
        one, two = before.values.get(key, file.get(key)), after.values.get(key, file.get(key))
        if one != two:
            texts = (shown(key, one), shown(key, two))
            if texts[0] == texts[1]:
                texts = (texts[0], f"{texts[1]} (another one)")
            found.append(ChangedSetting(key=key, label=label(key), before=texts[0], after=texts[1]))
    return found


def _sentences(config: Config) -> Iterator[str]:
    openid = config.openid
    if not openid.enabled:
        yield "OpenID integration is off: no person is asked to sign in, requests pass without an identity, and every password page is open."
        return
    surfaces = {app.surface for app in config.apps.values()}
    if surfaces & {"portal", "shared"}:
        yield _registration_sentence(config)
        closed = openid.prevent_password_login
        yield (
            "No person can log in to the portal with a password."
            if closed
            else "People can still log in to the portal with their password."
        )
    if "dashboard" in surfaces:
        closed = openid.prevent_dashboard_password_login
        yield (
            "No person can log in to the dashboard with a password."
            if closed
            else "People can still log in to the dashboard with their password."
        )
    if "shared" in surfaces:
        either = openid.prevent_password_login or openid.prevent_dashboard_password_login
        yield f"On hosts that both use, passwords are {'refused, because one of the two is on' if either else 'accepted'}."


def _registration_sentence(config: Config) -> str:
    treated = registration(config.openid, "portal", config.directory.kind)
    if treated == "skip":
        return "Everyone whom the provider knows is let in: no directory of members is configured."
    if treated == "create":
        return "A person who signs in and is not registered gets an account, and is let in."
    return (
        "A person who signs in and is not registered is refused, and sees a page that says so; no account is created."
    )


def _warnings(config: Config) -> Iterator[str]:
    openid = config.openid
    if not openid.enabled:
        return
    both = openid.create_users and openid.prevent_password_login
    if both and registration(openid, "portal", config.directory.kind) == "refuse":
        yield (
            "Both “Create new users” and “Prevent users from using their password” are on: people who are not registered will have no "
            "access at all. They cannot use a password, and no account is created for them."
        )
        if refused_by_omission(config):
            yield (
                "You can choose that accounts are created for them all the same: set “When both are on” to "
                "“create an account, and let them in”."
            )
    elif openid.prevent_password_login and registration(openid, "portal", config.directory.kind) == "refuse":
        yield "People who are not registered will have no access to the portal: neither with a password nor through the provider."
