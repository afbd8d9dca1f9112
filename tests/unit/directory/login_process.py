"""A worker process of the concurrency tests: many first logins of one person at once, round after round.

A round is a line of JSON on stdin with the arguments of `run`; the answer is "ready". The next line starts it; the answer
is a line of JSON: how often each outcome came about.
"""

import asyncio
import json
import sys
from collections import Counter

import aiohttp
from pydantic import SecretStr

from gateway.audit import Audit
from gateway.config import schema
from gateway.directory.calls import Means
from gateway.directory.nexudus import NexudusDirectory
from gateway.errors import Refusal
from gateway.sessions.client import connect
from tests.unit.directory.api import ANA, provisioner, section


async def run(base_url: str, redis_url: str, prefix: str, logins: int, timeout: float) -> dict[str, int]:
    redis = connect(schema.Redis(url=SecretStr(redis_url)))
    results: Counter[str] = Counter()
    audit = Audit(lambda line: None)
    async with aiohttp.ClientSession() as http:
        directory = NexudusDirectory(section(base_url, timeout), Means(http=http))
        desk = provisioner(directory, redis, prefix, audit, timeout)

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
