"""`doorward keys public`."""

import json
from typing import Annotated, Final

import typer

from gateway.cli.printing import ConfigPath, err, loaded, out
from gateway.config.client_keys import ClientKey, certificate_key, client_keys
from gateway.config.providers import key_of, providers_of
from gateway.config.schema import Config, ProviderKeys

_UNUSABLE: Final = 1
_SELF_SIGNED: Final = "self_signed_tls_client_auth"


def public(
    config: ConfigPath,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Which provider, where several have keys.")
    ] = None,
) -> None:
    """Print the public half of each client_private_key as a JWK Set, to register at the provider. Of a self-signed certificate, key and x5c."""
    valid = loaded(config)
    name = _chosen(valid, provider)
    try:
        keys = _keys(providers_of(valid)[name])
    except (OSError, ValueError) as error:
        err.print(f"{key_of(name)}.client_tls: {error}")
        raise typer.Exit(_UNUSABLE) from error
    out.print(json.dumps({"keys": [key.public_jwk() for key in keys]}, indent=2))


def _keys(settings: ProviderKeys) -> tuple[ClientKey, ...]:
    """Those of assertions and request objects, and the one of a self-signed certificate. Raises OSError, ValueError."""
    files = settings.client_tls.files
    if files is None or settings.client_authentication != _SELF_SIGNED:
        return client_keys(settings)
    return (certificate_key(*(file.read_text() for file in files)), *client_keys(settings))


def _chosen(config: Config, wanted: str | None) -> str:
    """The name of a provider that has keys. Exit status 1 with the names that are allowed where it is not certain which."""
    able = [
        name
        for name, settings in providers_of(config).items()
        if settings.client_private_keys or settings.client_authentication == _SELF_SIGNED
    ]
    if wanted in able:
        return str(wanted)
    if wanted is None and len(able) == 1:
        return able[0]
    if not able:
        err.print(
            "no provider has a client_private_key, or a certificate of its own; the guide on client authentication shows how one is made"
        )
    else:
        places = ", ".join(f"--provider {name}" for name in able)
        err.print(f"which keys? allowed: {places}")
    raise typer.Exit(_UNUSABLE)
