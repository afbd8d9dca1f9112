"""The console as one more app: its upstream is the gateway's own process behind a unix socket, and its rules are the roles.

Pure. `console.roles` become rules of the app, so that the gate decides about a request to the console as about any other, step-up included.
"""

from datetime import timedelta
from typing import Final

from gateway.config.schema import App, AssertionSettings, Config, Console, Require, Rule, SessionLimits

CONSOLE: Final = "console"  # the app's name, in events, metrics and the assertion's audience
PREFIX: Final = "/console"
ACT: Final = f"{PREFIX}/act"  # below it, pages that end sessions, open password routes, send requests
EDIT: Final = f"{PREFIX}/settings/edit"  # below it, pages that change settings
#: For what asks the rules and sends nothing: the running gateway alone has the console's address.
UNUSED_UPSTREAM: Final = "unix:/console"
_SESSION: Final = SessionLimits(idle=timedelta(hours=1), lifetime=timedelta(hours=12))


class ConsoleAssertion(AssertionSettings):
    """`named`: the groups that the console's rules name. A person's other groups would crowd these out, and are nothing to the console."""

    named: tuple[str, ...]

    def kept(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(group for group in groups if group in self.named)


def console_app(console: Console, upstream: str) -> App:
    """The app of a `console` section. `upstream` is `unix:PATH`."""
    roles = console.roles
    rules = [
        Rule(name=name, match=(f"* {prefix}/**",), require=Require(groups=role.groups), max_age=role.max_age)
        for name, prefix, role in (("act", ACT, roles.act), ("settings", EDIT, roles.settings))
    ]
    if roles.view.groups:
        rules.append(Rule(name="view", match=("* /**",), require=Require(groups=roles.view.groups)))
    granting = (console.require, roles.view, roles.act, roles.settings)
    named = tuple(sorted({group for each in granting for group in each.groups}))
    return App(
        assertion=ConsoleAssertion(named=named),
        surface="dashboard", hosts=console.hosts, upstream=(upstream,), provider=console.provider, providers=console.providers,
        require=console.require, rules=tuple(rules), session=_SESSION, upgrades=(),
    )  # fmt: skip


def with_console(config: Config, upstream: str | None) -> Config:
    """The configuration with the console among its apps, where it has one and the console's address is known."""
    if config.console is None or upstream is None:
        return config
    return config.model_copy(update={"apps": {**config.apps, CONSOLE: console_app(config.console, upstream)}})


def is_console(config: Config, app: str) -> bool:
    """Whether an app's name stands for the console: `check` refuses an app of this name beside it."""
    return app == CONSOLE and config.console is not None
