"""The `console` section: where operators see what the gateway does, who may, and who may change something."""

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from gateway.config import addresses
from gateway.config.sections.app import Require
from gateway.config.sections.fields import Age, Name, Section

#: How old a sign-in may be that changes something.
FRESH: Final = timedelta(minutes=15)


class ConsoleView(Section):
    groups: tuple[Name, ...] = ()


class ConsoleRole(Section):
    groups: tuple[Name, ...] = ()
    max_age: Age = FRESH


class ConsoleRoles(Section):
    """One of `groups` gives a role; without groups everyone whom `console.require` lets in has it."""

    view: ConsoleView = ConsoleView()
    act: ConsoleRole = ConsoleRole()
    settings: ConsoleRole = ConsoleRole()


class Console(Section):
    hosts: tuple[Annotated[str, AfterValidator(addresses.parse_host)], ...]
    require: Require = Require()
    settings: Literal["edit", "read_only"] = "edit"
    roles: ConsoleRoles = ConsoleRoles()
    provider: Name | None = None
    providers: tuple[Name, ...] = ()
