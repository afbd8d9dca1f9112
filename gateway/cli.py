"""The command line: `doorward run | check | explain | demo | keys new`. The only module that prints."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway import __version__, workers
from gateway.checkup import ask_everything
from gateway.config.loader import ConfigInvalid, load_config
from gateway.config.safety import warnings
from gateway.config.schema import Config
from gateway.config.toggles import toggle_table
from gateway.demo import run as demo_run
from gateway.errors import Refusal
from gateway.explain import explain
from gateway.sessions.keyring import new_key

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
keys_app = typer.Typer(no_args_is_help=True)
app.add_typer(keys_app, name="keys", help="Keys that encrypt sessions.")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file.")]

_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False) -> None:
    """Doorward: an OpenID Connect gateway in front of portals and dashboards that cannot be changed."""
    if version:
        _out.print(f"doorward {__version__}")
        raise typer.Exit


@app.command()
def run(config: ConfigPath) -> None:
    """Open the door and keep it open. SIGTERM drains, SIGHUP reads CONFIG again."""
    loaded = _load(config)
    _show_warnings(loaded)
    _show_toggles(loaded, _err)
    raise typer.Exit(workers.run(config, os.environ, lambda line: _err.print(line)))


@app.command()
def check(
    config: ConfigPath,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the provider, Redis, the directory and the upstreams.")
    ] = False,
) -> None:
    """Say every problem of CONFIG at once. Exit status 0, or 1 with problems."""
    loaded = _load(config)
    _show_warnings(loaded)
    _show_toggles(loaded, _out)
    failed = False
    if online:
        for name, problem in asyncio.run(ask_everything(loaded)):
            failed = failed or problem is not None
            _out.print(f"{name}: {'ok' if problem is None else problem}")
    _out.print(f"{config}: {'something does not answer' if failed else 'no problems'}")
    raise typer.Exit(1 if failed else 0)


@app.command(name="explain")
def explain_command(
    config: ConfigPath,
    method: Annotated[str, typer.Argument(help="GET, POST...")],
    url: Annotated[str, typer.Argument(help="As a browser would ask for it: https://portal.example.com/admin")],
    email: Annotated[
        str | None, typer.Option("--as", metavar="EMAIL", help="Ask as this person; without it, as a stranger.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="G", help="A group of that person; may be repeated.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="A header field of the request.")
    ] = None,
    body: Annotated[str | None, typer.Option("--body", help="The request's body.")] = None,
) -> None:
    """Say what would happen to one request: the rule, the decision, the headers that the upstream would get."""
    loaded = _load(config)
    try:
        steps = explain(
            loaded, method, url, email=email, groups=tuple(group or ()), headers=tuple(header or ()), body=body
        )
    except (Refusal, ValueError) as error:
        _err.print(f"{url}: {error}")
        raise typer.Exit(2) from error
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in steps:
        table.add_row(name, text)
    _out.print(table)


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="The door's port; the demo's other servers follow it.")] = 4180,
) -> None:
    """Run the whole product on this machine: a provider, a portal, a dashboard, a directory, and the door in front."""
    raise typer.Exit(demo_run.main(port))


@keys_app.command(name="new")
def keys_new() -> None:
    """Make a key: 32 random bytes, base64url. Put it first in `keys`; the old ones stay behind it until their sessions are over."""
    _out.print(new_key())


def _load(path: Path) -> Config:
    try:
        return load_config(path, os.environ)
    except ConfigInvalid as error:
        for problem in error.problems:
            _err.print(str(problem))
        _err.print(f"{path}: {len(error.problems)} problem{'s' if len(error.problems) != 1 else ''}")
        raise typer.Exit(1) from error
    except OSError as error:
        _err.print(f"{path}: cannot be read: {error.strerror}")
        raise typer.Exit(1) from error


def _show_warnings(config: Config) -> None:
    for warning in warnings(config):
        _err.print(f"warning: {warning}")


def _show_toggles(config: Config, console: Console) -> None:
    table = Table("app", "surface", "a person the directory does not know", "password routes", box=None, pad_edge=False)
    for row in toggle_table(config):
        table.add_row(row.app, row.surface, row.stranger, row.doors)
    console.print(table)


def main() -> None:
    """The entry of the `doorward` command."""
    app(prog_name="doorward")


if __name__ == "__main__":
    main()
