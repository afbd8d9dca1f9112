"""`doorward keys new | status | public`. `new` needs neither the configuration nor Redis, and imports neither."""

from typing import ClassVar

import typer

from gateway.cli.lazy import LazyGroup
from gateway.sessions.keyring import new_key


class KeyCommands(LazyGroup):
    """`new` is here, the others import the gateway."""

    table: ClassVar = {
        "new": ("keys", "new", "Make a key: 32 random bytes, base64url."),
        "status": (
            "key_status",
            "status",
            "Say how many sessions each key still encrypts, and under which `kid` it signs.",
        ),
        "public": (
            "client_keys",
            "public",
            "Print the public half of each client_private_key as a JWK Set, to register at the provider.",
        ),
    }


app = typer.Typer(cls=KeyCommands, no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keys that encrypt sessions, sign assertions, and authenticate at a provider."""


def new() -> None:
    """Make a key: 32 random bytes, base64url. Put it last in `keys` first: the guide on sessions shows how keys are changed."""
    typer.echo(new_key())
