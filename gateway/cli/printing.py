"""What all commands share: the CONFIG argument, the two consoles, the configuration or all of its problems."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from gateway.config.checks.safety import warnings
from gateway.config.loader import ConfigInvalid, load_config
from gateway.config.schema import Config
from gateway.config.toggles import toggle_table

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file.")]

out: Final = Console(highlight=False, markup=False, soft_wrap=True)
err: Final = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

_UNFOLDED: Final = 1000  # columns


def loaded(path: Path, report: Callable[[str], object] = err.print) -> Config:
    """The configuration. With problems: all of them to `report`, one by one, and exit status 1."""
    try:
        return load_config(path, os.environ)
    except ConfigInvalid as error:
        for problem in error.problems:
            report(str(problem))
        report(f"{path}: {len(error.problems)} problem{'s' if len(error.problems) != 1 else ''}")
        raise typer.Exit(1) from error
    except OSError as error:
        report(f"{path}: cannot be read: {error.strerror}")
        raise typer.Exit(1) from error


def show_warnings(config: Config) -> None:
    """Print the warnings on standard error, one line each."""
    for warning in warnings(config):
        err.print(f"warning: {warning}")


def show_toggles(config: Config, console: Console) -> None:
    """The effective settings of each app."""
    table = Table(
        "app",
        "surface",
        "signs in at",
        "a person the directory does not know",
        "password routes",
        box=None,
        pad_edge=False,
    )
    for row in toggle_table(config):
        table.add_row(row.app, row.surface, " or ".join(row.providers), row.unregistered, row.password_routes)
    console.print(table)


def show_table(table: Table, console: Console) -> None:
    """Print a table, folded to the terminal; unfolded into a file or a pipe."""
    wide = (
        console if console.is_terminal else Console(file=console.file, width=_UNFOLDED, highlight=False, markup=False)
    )
    wide.print(table)


def show_steps(steps: list[tuple[str, str]]) -> None:
    """Names and texts, one line each, in two columns."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in steps:
        table.add_row(name, text)
    out.print(table)
