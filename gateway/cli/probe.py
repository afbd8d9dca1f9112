"""`doorward probe`: every spelling of every password rule, fired at a running door from outside."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.printing import err, loaded, out
from gateway.config.addresses import canonical_host
from gateway.config.loader import ConfigInvalid, load_pack_file
from gateway.config.reading.packs import is_pack_file
from gateway.config.schema import App, Config, PasswordRule
from gateway.operations.probe.firing import FASTEST, NoDoor, Outcome, Probe, Shot, plan
from gateway.operations.probe.knocks import Knock
from gateway.operations.probe.reading import ProbeVerdict
from gateway.operations.probe.wire import Place, place_of
from gateway.policy.passwords import load_pack, named_rules

_SHOWN: Final = 20
Rules = Sequence[tuple[str, PasswordRule]]


def probe(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The door as browsers reach it: https://portal.example.com")
    ],
    pack: Annotated[
        list[str] | None,
        typer.Option("--pack", metavar="NAME|FILE", help="The rules to fire; default: nexudus, or CONFIG's."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="CONFIG", help="Fire the rules of the app that this file has at URL."),
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
    ca: Annotated[Path | None, typer.Option(help="A private CA of the door's certificate.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say every single answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the table.")] = False,
) -> None:
    """Fire every spelling of every password rule at a running door. Exit status 0; 1 where one got through; 2 where that cannot be said."""
    try:
        aims = _aims(place_of(url, connect, ca), pack or [], loaded(config) if config else None, surface, every)
        outcome = asyncio.run(Probe(rate).fire(aims))
    except (NoDoor, ValueError, ConfigInvalid) as error:
        err.print(str(error))
        raise typer.Exit(2) from error
    if as_json:
        out.print(json.dumps(_document(url, outcome, verbose=verbose), indent=2))
    else:
        _show(outcome, verbose=verbose)
    raise typer.Exit(outcome.status)


def _aims(
    place: Place, packs: Sequence[str], config: Config | None, surface: str | None, every: int
) -> list[tuple[Place, Sequence[Knock]]]:
    """What to fire at which host. Raises ValueError or ConfigInvalid."""
    given = [named for name in packs for named in _rules_of(name)]
    if config is None:
        if surface is not None:
            raise ValueError("--surface says which of CONFIG's apps; allowed: with --config")
        return [(place, plan(given or _rules_of("nexudus"), every=every))]
    found = list(_places(place, config, surface))
    if not found:
        kinds = sorted({app.surface for app in config.apps.values()})
        hosts = [host for app in config.apps.values() for host in app.hosts]
        allowed = ", ".join(kinds if surface is not None else hosts)
        raise ValueError(f"no app of the configuration is {surface or 'at ' + place.host}; allowed: {allowed}")
    return [(where, plan(given or named_rules(app), every=every)) for where, app in found]


def _places(place: Place, config: Config, surface: str | None) -> Iterator[tuple[Place, App]]:
    """The hosts to ask for, and the app behind each."""
    scheme = config.external_url_scheme
    for app in config.apps.values():
        for host in app.hosts:
            if app.surface == surface if surface is not None else canonical_host(host, scheme) == place.host.lower():
                yield place.under(host), app


def _rules_of(name: str) -> Rules:
    """A pack's rules by their names. Raises ValueError or ConfigInvalid."""
    rules = load_pack_file(Path(name)) if is_pack_file(name) else load_pack(name)
    return [(f"{name}: {rule.match}", rule) for rule in rules]


# --- what is shown ----------------------------------------------------------------------------------------------------


def _show(outcome: Outcome, *, verbose: bool) -> None:
    rows = outcome.rows()
    several = len({host for host, _, _ in rows}) > 1
    named = [(f"{host} {rule}" if several else rule, counts) for host, rule, counts in rows]
    width = max(len(name) for name, _ in named)
    out.print(f"{'rule':{width}}  {'sent':>6}" + "".join(f"  {verdict:>12}" for verdict in ProbeVerdict))
    for name, counts in named:
        out.print(
            f"{name:{width}}  {counts.total():>6}"
            + "".join(f"  {_cell(counts, verdict):>12}" for verdict in ProbeVerdict)
        )
    groups = Counter(shot.knock.group for shot in outcome.shots)
    out.print("tricks: " + ", ".join(f"{group} {count}" for group, count in groups.items()))
    if verbose:
        for shot in outcome.shots:
            out.print(_line(shot))
    for heading, some in (("got through", outcome.holes), ("without an answer", outcome.unanswered)):
        if some and not verbose:
            out.print(f"{heading}:")
            for shot in some[:_SHOWN]:
                out.print(f"  {_line(shot)}")
            if len(some) > _SHOWN:
                out.print(f"  and {len(some) - _SHOWN} more (--verbose shows all)")
    out.print(_sentence(outcome))


def _cell(counts: Counter[ProbeVerdict], verdict: ProbeVerdict) -> str:
    return str(counts[verdict]) if counts[verdict] else ""


def _line(shot: Shot) -> str:
    knock = shot.knock
    fields = "".join(f" {name.decode()}: {value.decode('latin-1')}" for name, value in knock.fields)
    how = f"{knock.group}, {knock.how}" if knock.how else knock.group
    target = ascii(knock.target.decode("latin-1"))[1:-1]
    return f"{shot.reading.verdict}: {shot.reading.said}: {knock.method} {target}{fields} ({how}; {knock.rule})"


def _sentence(outcome: Outcome) -> str:
    sent, holes, silent = len(outcome.shots), len(outcome.holes), len(outcome.unanswered)
    if holes:
        return f"{holes} of {sent} requests got through"
    if silent:
        return f"none of {sent} requests is known to have got through, but {silent} had no answer that says so"
    return f"nothing got through: {sent} requests, all refused"


def _document(url: str, outcome: Outcome, *, verbose: bool) -> dict[str, Any]:
    rows = [
        {
            "host": host,
            "rule": rule,
            "sent": counts.total(),
            **{str(verdict): counts[verdict] for verdict in ProbeVerdict},
        }
        for host, rule, counts in outcome.rows()
    ]
    told = outcome.shots if verbose else (*outcome.holes, *outcome.unanswered)
    return {
        "url": url,
        "sent": len(outcome.shots),
        "holes": len(outcome.holes),
        "unanswered": len(outcome.unanswered),
        "rules": rows,
        "requests": [
            {
                "host": shot.place.host,
                "rule": shot.knock.rule,
                "group": shot.knock.group,
                "how": shot.knock.how,
                "method": shot.knock.method,
                "target": shot.knock.target.decode("latin-1"),
                "verdict": str(shot.reading.verdict),
                "said": shot.reading.said,
            }
            for shot in told
        ],
    }
