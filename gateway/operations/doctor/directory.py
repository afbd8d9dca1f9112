"""What the directory's credentials may do, as far as reading shows it: no account is created or changed to find out."""

from typing import Final

from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.account import Ability
from gateway.directory.factory import open_directory
from gateway.errors.refusal import Refusal
from gateway.oidc.calls import open_session
from gateway.operations.doctor.line import Line, broken, unknown

_CALLED: Final = "directory rights"
_ABSENT: Final = "absent@doorward.invalid"
_SEEN_IN_USE: Final = (
    "compare the credentials' rights with the guide of this directory; `doorward provision --dry-run` shows each call"
)


async def directory_lines(config: Config) -> list[Line]:
    """One line; none for `kind: none`."""
    settings = config.directory
    if settings.kind == "none":
        return []
    async with open_session(settings.ca) as http:
        directory = open_directory(settings, http, hold_writes=True)
        assert directory is not None
        try:
            await directory.find(_ABSENT)
        except Refusal as refusal:
            return [
                broken(_CALLED, f"the search for a person is refused: {refusal.detail or refusal.code}", _SEEN_IN_USE)
            ]
        finally:
            await directory.close()
        wanted = _wanted(config)
        missing = [ability for ability in wanted if not directory.can(ability)]
    if missing:
        means = f"the configuration asks for what this directory cannot do: {', '.join(missing)}"
        return [broken(_CALLED, means, "see the directory's section in config/gateway.example.yaml")]
    writes = ", ".join(wanted) or "nothing"
    return [
        unknown(
            _CALLED, f"it may search for people; whether it may write ({writes}) shows in the first write", _SEEN_IN_USE
        )
    ]


def _wanted(config: Config) -> list[Ability]:
    settings = config.directory
    creates = any(registration(config.openid, app.surface, settings.kind) == "create" for app in config.apps.values())
    updates = settings.kind != "none" and settings.update == "at_login"
    wanted: dict[Ability, bool] = {"create": creates, "update": updates}
    return [ability for ability, needed in wanted.items() if needed]
