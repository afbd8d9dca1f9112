"""`doorward keys status`."""

import asyncio
import json
from collections import Counter
from typing import Annotated, Final

import typer
from rich.table import Table

from gateway.cli.printing import ConfigPath, err, loaded, out, show_table
from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.identity.assertion import AssertionSigner
from gateway.redis_client.client import connected
from gateway.sessions.keyring import KeyRing
from gateway.sessions.scan import SessionScan

NO_STORE: Final = 3


def status(
    config: ConfigPath,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say how many sessions each key still encrypts, and under which `kid` it signs. Exit status 3 when Redis does not answer."""
    valid = loaded(config)
    try:
        counts = asyncio.run(_count(valid))
    except StoreUnavailable as error:
        err.print(f"Redis: {error.detail}")
        raise typer.Exit(NO_STORE) from error
    kids = AssertionSigner(KeyRing(valid.keys).raw).kids
    if as_json:
        rows = [{"key": place + 1, "kid": kid, "sessions": counts[place]} for place, kid in enumerate(kids)]
        out.print(json.dumps({"keys": rows, "unknown": counts[None]}))
        return
    table = Table("key", "kid of its assertions", "sessions", "", box=None, pad_edge=False)
    for place, kid in enumerate(kids):
        table.add_row(str(place + 1), kid, str(counts[place]), _meaning(place, counts[place]))
    show_table(table, out)
    if counts[None]:
        out.print(f"{counts[None]} records of other keys: no person is signed in by them")


def _meaning(place: int, sessions: int) -> str:
    if place == 0:
        return "encrypts and signs"
    return "nothing needs it" if sessions == 0 else "still needed: these move to the first key when they are used"


async def _count(config: Config) -> Counter[int | None]:
    total: Counter[int | None] = Counter()
    async with connected(config.redis) as redis:
        async for some in SessionScan(redis, KeyRing(config.keys), config.redis.key_prefix).sealed_by():
            total += some
    return total
