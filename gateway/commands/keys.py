"""`doorward keys new`."""

import typer

from gateway.commands.printing import out
from gateway.sessions.keyring import new_key

app = typer.Typer(no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keys that encrypt sessions."""


@app.command()
def new() -> None:
    """Make a key: 32 random bytes, base64url. Put it first in `keys`; the old ones stay behind it until their sessions are over."""
    out.print(new_key())
