"""`doorward explain`: the gate's decision on one request, step by step, without sending anything."""

from typing import Annotated

import typer

from gateway.cli.printing import ConfigPath, err, loaded, show_steps
from gateway.config.values import parse_duration
from gateway.errors.refusal import Refusal
from gateway.operations.explain import AssumedSignIn
from gateway.operations.explain import explain as steps_of


def explain(
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
    acr: Annotated[
        str | None,
        typer.Option("--acr", metavar="VALUE", help="The acr that the provider said of that person's sign-in."),
    ] = None,
    signed_in_ago: Annotated[
        str, typer.Option("--signed-in-ago", metavar="DURATION", help="How long ago that was: 90s, 2h.")
    ] = "0s",
    body: Annotated[str | None, typer.Option("--body", help="The request's body.")] = None,
) -> None:
    """Say what would happen to one request: the rule, the decision, the headers that the upstream would get."""
    valid = loaded(config)
    try:
        age = parse_duration(signed_in_ago)
        sign_in = (
            None if email is None else AssumedSignIn(email=email, groups=tuple(group or ()), acr=acr, signed_in_ago=age)
        )
        steps = steps_of(valid, method, url, sign_in=sign_in, headers=tuple(header or ()), body=body)
    except (Refusal, ValueError) as error:
        err.print(f"{url}: {error}")
        raise typer.Exit(2) from error
    show_steps(steps)
