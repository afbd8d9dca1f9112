"""The command line: every command of `doorward`, put together from `commands`."""

from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import break_glass, keys, sessions
from gateway.cli import explain as explaining
from gateway.cli import probe as probing
from gateway.cli import provisioning as people
from gateway.cli import run as serving
from gateway.cli.printing import out

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False) -> None:
    """Doorward: an OpenID Connect gateway in front of portals and dashboards that cannot be changed."""
    if version:
        out.print(f"doorward {__version__}")
        raise typer.Exit


app.command()(serving.run)
app.command()(serving.check)
app.command()(explaining.explain)
app.command()(probing.probe)
app.command()(serving.demo)
app.command()(people.provision)
app.command()(people.unlink)
app.command()(people.reconcile)
app.add_typer(break_glass.app, name="break-glass")
app.add_typer(keys.app, name="keys")
app.add_typer(sessions.app, name="sessions")


def main() -> None:
    """The entry of the `doorward` command."""
    app(prog_name="doorward")


if __name__ == "__main__":
    main()
