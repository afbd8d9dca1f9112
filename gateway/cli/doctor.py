"""`doorward doctor`: every part of a set-up, one line each."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.printing import ConfigPath, err, loaded, out
from gateway.operations.doctor.examination import Surroundings, examine_set_up
from gateway.operations.doctor.front import FrontAddress
from gateway.operations.doctor.line import Line, State, worst
from gateway.operations.doctor.report import document


def doctor(
    config: ConfigPath,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")] = False,
    connect: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Connect there for the public addresses, and ask for their hosts."),
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="A private CA of the public addresses' certificate.")] = None,
) -> None:
    """Say of every part of a set-up its state, what that means, and what to do. Exit status 1 when something is broken."""
    valid = loaded(config)
    try:
        around = Surroundings(now=datetime.now(UTC), front=FrontAddress(connect=connect, ca=ca))
        lines = asyncio.run(examine_set_up(valid, around))
    except (ValueError, OSError) as error:
        err.print(str(error))
        raise typer.Exit(2) from error
    if as_json:
        out.print(json.dumps(document(lines), indent=2))
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            out.print(_text(line, width))
        out.print(_sentence(lines))
    raise typer.Exit(1 if worst(lines) is State.BROKEN else 0)


def _text(line: Line, width: int) -> str:
    state = line.state.upper() if line.state is State.BROKEN else line.state
    action = f". To do: {line.action}" if line.action else ""
    below = "".join(f"\n           {address}" for address in line.addresses)
    return f"{state:9}  {line.name:{width}}  {line.means}{action}{below}"


def _sentence(lines: list[Line]) -> str:
    counts = {state: sum(line.state is state for line in lines) for state in State}
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    return f"{len(lines)} lines: {', '.join(parts)}"
