"""Findings about the `console` section: who may reach it is said in it, and its hosts and its name are its own. Pure."""

from collections.abc import Iterator

from gateway.config.addresses import canonical_host
from gateway.config.checks.requirements import empty_lists, requires
from gateway.config.console import CONSOLE
from gateway.config.providers import provider_choice
from gateway.config.reading.problems import Finding
from gateway.config.schema import Config


def findings(config: Config) -> Iterator[Finding]:
    """Everything that contradicts itself in `console`, and between it and the apps."""
    console = config.console
    if console is None:
        return
    # SECURITY: without a `require` everyone whom the provider knows could end sessions and change the settings (C-92).
    if not requires(console.require):
        allowed = "allowed: groups, emails or email_domains of those who may see the console, as {groups: [ops]}"
        yield Finding(key="console.require", what="is missing: everyone could see the console", allowed=allowed)
    yield from empty_lists("console.require", console.require)
    for name in ("view", "act", "settings"):
        role = getattr(console.roles, name)
        if "groups" in role.model_fields_set and not role.groups:
            # SECURITY: an empty list reads as no person and would be applied as no restriction (C-21).
            allowed = "allowed: at least one group, or no such key"
            yield Finding(key=f"console.roles.{name}.groups", what="is empty", allowed=allowed)
    if CONSOLE in config.apps:
        what = f"is the name of the console, which is an app called {CONSOLE}"
        yield Finding(key=f"apps.{CONSOLE}", what=what, allowed="allowed: another name", reads=("console",))
    yield from _hosts(config)
    yield from provider_choice(CONSOLE, config, console)


def _hosts(config: Config) -> Iterator[Finding]:
    assert config.console is not None
    if not config.console.hosts:
        yield Finding(key="console.hosts", what="is empty", allowed="allowed: at least one host name")
    scheme = config.external_url_scheme
    seen = {
        canonical_host(host, scheme): f"apps.{name}.hosts[{index}]"
        for name, app in config.apps.items()
        for index, host in enumerate(app.hosts)
    }
    for index, host in enumerate(config.console.hosts):
        canonical, key = canonical_host(host, scheme), f"console.hosts[{index}]"
        if canonical in seen:
            # SECURITY: an app's own pages would stand in the console's origin, and could click there for an operator (C-91).
            what, reads = f"is the same host as {seen[canonical]}", ("external_url_scheme", seen[canonical])
            yield Finding(key=key, what=what, allowed="allowed: a host of the console alone", reads=reads)
        seen.setdefault(canonical, key)
