"""A worker process of the concurrency tests: many first logins of one person at once, round after round.

A round is a line of JSON on stdin with the arguments of `run`; the answer is "ready". The next line starts it; the answer
is a line of JSON: how often each outcome came about.
"""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import aiohttp
from pydantic import SecretStr

from gateway.config import schema
from gateway.directory.api.calls import ApiTransport
from gateway.directory.factory import backend
from gateway.errors.refusal import Refusal
from gateway.observability.events import Audit
from gateway.redis_client.client import connect
from tests.unit.directory.api import ANA, provisioner
from tests.unit.directory.every import settings_of


async def run(section: dict[str, Any], redis_url: str, prefix: str, logins: int) -> dict[str, int]:
    settings = settings_of(section)
    redis = connect(schema.Redis(url=SecretStr(redis_url)))
    results: Counter[str] = Counter()
    audit = Audit(lambda line: None)
    async with aiohttp.ClientSession() as http:
        directory = backend(settings, ApiTransport(http=http))
        desk = provisioner(directory, redis, prefix, audit, settings.timeout.total_seconds())

        async def log_in() -> None:
            try:
                identity = await desk.ensure(ANA, app="portal", registration="create")
            except Refusal as refusal:
                results[f"{refusal.code}:{refusal.detail}"] += 1
            else:
                results[identity.directory["id"]] += 1

        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(log_in() for _ in range(logins)))
    await redis.aclose()
    for (event, _), number in audit.counts.items():
        results[event] += number
    return dict(results)


if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(asyncio.run(run(**json.loads(line)))), flush=True)
