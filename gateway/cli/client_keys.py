"""`doorward keys public`."""

import json
from typing import Annotated, Final

import typer

from gateway.cli.printing import ConfigPath, err, loaded, out
from gateway.config.client_keys import client_keys
from gateway.config.providers import key_of, providers_of
from gateway.config.schema import Config

_UNUSABLE: Final = 1


def public(
    config: ConfigPath,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Which provider, where several have keys.")
    ] = None,
) -> None:
    """Print the public half of each client_private_key as a JWK Set, to register at the provider. No private part is in it."""
    valid = loaded(config)
    name = _chosen(valid, provider)
    keys = client_keys(providers_of(valid)[name])
    out.print(json.dumps({"keys": [key.public_jwk() for key in keys]}, indent=2))


def _chosen(config: Config, wanted: str | None) -> str:
    """The name of a provider that has keys. Exit status 1 with the names that are allowed where it is not certain which."""
    able = [name for name, settings in providers_of(config).items() if settings.client_private_keys]
    if wanted in able:
        return str(wanted)
    if wanted is None and len(able) == 1:
        return able[0]
    if not able:
        err.print("no provider has a client_private_key; the guide on client authentication shows how one is made")
    else:
        places = ", ".join(f"--provider {name} ({key_of(name)}.client_private_key)" for name in able)
        err.print(f"which keys? allowed: {places}")
    raise typer.Exit(_UNUSABLE)
