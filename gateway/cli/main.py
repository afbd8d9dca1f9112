"""The command line: all commands of `doorward`."""

from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import break_glass, keys, provisioning, sessions
from gateway.cli import explain as explain_command
from gateway.cli import probe as probe_command
from gateway.cli import run as run_commands
from gateway.cli.printing import out

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False) -> None:
    """Doorward: an OpenID Connect gateway in front of portals and dashboards that cannot be changed."""
    if version:
        out.print(f"doorward {__version__}")
        raise typer.Exit


app.command()(run_commands.run)
app.command()(run_commands.reload)
app.command()(run_commands.check)
app.command()(explain_command.explain)
app.command()(probe_command.probe)
app.command()(run_commands.demo)
app.command()(provisioning.provision)
app.command()(provisioning.unlink)
app.command()(provisioning.reconcile)
app.add_typer(break_glass.app, name="break-glass")
app.add_typer(keys.app, name="keys")
app.add_typer(sessions.app, name="sessions")


def main() -> None:
    """The entry of the `doorward` command."""
    app(prog_name="doorward")


if __name__ == "__main__":
    main()
