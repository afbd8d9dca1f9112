"""`doorward probe`: sends every spelling of every password rule to a running gateway, from outside."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.printing import err, loaded, out
from gateway.config.loader import ConfigInvalid, load_pack_file
from gateway.config.reading.packs import is_pack_file
from gateway.config.schema import Config
from gateway.operations.probe.report import document, sentence
from gateway.operations.probe.runner import FASTEST, NotDoorward, Outcome, Probe, ProbeResult, plan, plan_for
from gateway.operations.probe.targets import ProbeTarget, Rules, hosts_at
from gateway.operations.probe.verdicts import ProbeVerdict
from gateway.operations.probe.wire import GatewayAddress, parse_gateway_address
from gateway.policy.passwords import load_pack

_SHOWN: Final = 20
_WIDTH: Final = max(map(len, ProbeVerdict))


def probe(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The gateway as browsers reach it: https://portal.example.com")
    ],
    pack: Annotated[
        list[str] | None,
        typer.Option("--pack", metavar="NAME|FILE", help="The rules to fire; default: nexudus, or CONFIG's."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="Fire the password rules and access rules of the app that this file has at URL.",
        ),
    ] = None,
    surface: Annotated[
        str | None,
        typer.Option(metavar="SURFACE", help="With --config: all apps of this surface, each by its own hosts."),
    ] = None,
    rate: Annotated[int, typer.Option(min=1, max=FASTEST, help="Requests a second.")] = 200,
    every: Annotated[int, typer.Option(min=1, help="Only one in so many spellings: a quick look.")] = 1,
    connect: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Connect there, and ask for URL's host.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="A private CA of the gateway's certificate.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say every single answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the table.")] = False,
) -> None:
    """Send every spelling of every password rule and access rule to a gateway. Exit status 1 if one passed, 2 if that is not known of all."""
    try:
        targets = _targets(
            parse_gateway_address(url, connect, ca), pack or [], loaded(config) if config else None, surface, every
        )
        outcome = asyncio.run(Probe(rate).run(targets))
    except (NotDoorward, ValueError, ConfigInvalid) as error:
        err.print(str(error))
        raise typer.Exit(2) from error
    if as_json:
        out.print(json.dumps(document(url, outcome, verbose=verbose), indent=2))
    else:
        _show(outcome, verbose=verbose)
    raise typer.Exit(outcome.status)


def _targets(
    gateway: GatewayAddress, packs: Sequence[str], config: Config | None, surface: str | None, every: int
) -> list[ProbeTarget]:
    """The requests for each host. Raises ValueError or ConfigInvalid."""
    given = [named for name in packs for named in _rules_of(name)]
    if config is None:
        if surface is not None:
            raise ValueError("--surface chooses an app of CONFIG; allowed: with --config")
        return [(gateway, plan(given or _rules_of("nexudus"), every=every))]
    found = list(hosts_at(gateway, config, surface))
    if not found:
        kinds = sorted({app.surface for app in config.apps.values()})
        hosts = [host for app in config.apps.values() for host in app.hosts]
        allowed = ", ".join(kinds if surface is not None else hosts)
        raise ValueError(f"no app of the configuration is {surface or 'at ' + gateway.host}; allowed: {allowed}")
    return [(where, plan_for(app, given, every=every)) for where, app in found]


def _rules_of(name: str) -> Rules:
    """A pack's rules by their names. Raises ValueError or ConfigInvalid."""
    rules = load_pack_file(Path(name)) if is_pack_file(name) else load_pack(name)
    return [(f"{name}: {rule.match}", rule) for rule in rules]


# --- output ----------------------------------------------------------------------------------------------------


def _show(outcome: Outcome, *, verbose: bool) -> None:
    rows = outcome.rows()
    several = len({host for host, _, _ in rows}) > 1
    named = [(f"{host} {rule}" if several else rule, counts) for host, rule, counts in rows]
    width = max(len(name) for name, _ in named)
    out.print(f"{'rule':{width}}  {'sent':>6}" + "".join(f"  {verdict:>{_WIDTH}}" for verdict in ProbeVerdict))
    for name, counts in named:
        out.print(
            f"{name:{width}}  {counts.total():>6}"
            + "".join(f"  {_cell(counts, verdict):>{_WIDTH}}" for verdict in ProbeVerdict)
        )
    groups = Counter(result.request.group for result in outcome.results)
    out.print("tricks: " + ", ".join(f"{group} {count}" for group, count in groups.items()))
    if verbose:
        for result in outcome.results:
            out.print(_line(result))
    for heading, some in (("got through", outcome.passed), ("without an answer", outcome.unanswered)):
        if some and not verbose:
            out.print(f"{heading}:")
            for result in some[:_SHOWN]:
                out.print(f"  {_line(result)}")
            if len(some) > _SHOWN:
                out.print(f"  and {len(some) - _SHOWN} more (--verbose shows all)")
    out.print(sentence(outcome))


def _cell(counts: Counter[ProbeVerdict], verdict: ProbeVerdict) -> str:
    return str(counts[verdict]) if counts[verdict] else ""


def _line(result: ProbeResult) -> str:
    request = result.request
    fields = "".join(f" {name.decode()}: {value.decode('latin-1')}" for name, value in request.fields)
    how = f"{request.group}, {request.how}" if request.how else request.group
    target = ascii(request.target.decode("latin-1"))[1:-1]
    return f"{result.finding.verdict}: {result.finding.text}: {request.method} {target}{fields} ({how}; {request.rule})"
