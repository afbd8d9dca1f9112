"""A group of commands whose modules are imported when a command is used, because most of them import the whole gateway."""

from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


class LazyGroup(TyperGroup):
    """`table` has, by the name of a command, its module in `gateway.cli`, what that calls it, and the first sentence of its help."""

    table: ClassVar[dict[str, tuple[str, str, str]]]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """None for a name that is no command."""
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        found = getattr(import_module(f"gateway.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)
        else:
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command()(found)
            command = get_command(single)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The part of the help that lists them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self.table.items()])
