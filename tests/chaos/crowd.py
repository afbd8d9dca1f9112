"""Very many sessions in a Valkey of their own: what each takes, and how long `doorward sessions list` and `revoke --all` need.

Every record is sealed and entered in its indexes by the product's code; only the pipeline that takes the records is ours, because redis-py's
would take most of the time. Each session is another person's, with tokens as large as common providers make them.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import yaml
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.config import schema
from gateway.redis_client.client import connect
from gateway.runtime.composition import utc_now
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.records import Records
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.bench.cores import memory
from tests.chaos.judging import Figures
from tests.chaos.stage import HOST, PREFIX, Stage
from tests.fakes.valkey import running_valkey

_BATCH: Final = 500
_ID_TOKEN, _ACCESS_TOKEN, _REFRESH_TOKEN = 900, 900, 120  # bytes, RS256 with a handful of claims
_COMMAND_SECONDS: Final = 900.0


class Packed:
    """Takes records as a pipeline does, and writes them in Redis' protocol."""

    def __init__(self) -> None:
        self.commands = 0
        self.data = bytearray()

    def set(self, name: str, value: bytes, *, px: timedelta) -> None:
        self.commands += 1
        words = (b"SET", name.encode(), value, b"PX", b"%d" % (px // timedelta(milliseconds=1)))
        self.data += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

    async def send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Raises RuntimeError when a command was refused. Every reply is one line."""
        writer.write(bytes(self.data))
        said = b""
        while self.commands > 0:
            said += await reader.read(65536)
            lines, _, said = said.rpartition(b"\r\n")
            replies = lines.split(b"\r\n") if lines else []
            self.commands -= len(replies)
            refused = [line for line in replies if line.startswith(b"-")]
            if refused or (not replies and reader.at_eof()):
                raise RuntimeError(refused[0].decode() if refused else "the server is gone")
        self.data.clear()


def sessions(pattern: Session, count: int) -> Iterator[Session]:
    """`count` sessions like the pattern, of as many persons."""
    for number in range(count):
        name = f"person-{number:07}"
        identity = replace(pattern.identity, subject=name, email=f"{name}@example.com", name=f"Person {number}")
        yield replace(pattern, sid=SessionStore.new_sid(), provider_sid=SessionStore.new_sid(), identity=identity)


def like_a_real_one(plain: Session) -> Session:
    def token(size: int) -> str:
        return secrets.token_urlsafe(size)[:size]

    return replace(
        plain, id_token=token(_ID_TOKEN), access_token=token(_ACCESS_TOKEN), refresh_token=token(_REFRESH_TOKEN), address="203.0.113.7",
        access_expires_at=plain.created_at + timedelta(hours=1), access_lifetime=timedelta(hours=1),
    )  # fmt: skip


async def seed(redis: Redis, path: str, key: str, pattern: Session, count: int) -> str:
    """Store them; a token of one of them. `redis` and `path` are of the same server."""
    ring = KeyRing([key])
    records, indexes, packed = Records(ring, f"{PREFIX}s:"), Indexes(ring, PREFIX), Packed()
    reader, writer = await asyncio.open_unix_connection(path)
    token = ""
    entries: list[tuple[str, Session]] = []
    for number, session in enumerate(sessions(pattern, count), 1):
        token = SessionStore.new_token()
        name, now = SessionStore.key_of(token), utc_now()
        entries.append((name, session))
        packed.set(f"{PREFIX}s:{name}", records.seal(name, session), px=session.ttl(now))
        if number % _BATCH == 0 or number == count:
            await indexes.enter(redis, entries)
            entries.clear()
            await packed.send(reader, writer)
    writer.close()
    return token


async def measure(stage: Stage, *, count: int) -> Figures:
    with running_valkey() as server:
        redis: Redis = connect(schema.Redis(), server.url)
        before = await redis.info("memory")
        began = time.monotonic()
        pattern = like_a_real_one(stage.session("pattern"))
        token = await seed(redis, server.url.removeprefix("unix://"), stage.key, pattern, count)
        took = time.monotonic() - began
        lines, unmet = await _sizes(redis, server.url, before, count)
        lines.insert(0, f"{count} sessions stored in {took:.0f} s")
        store = SessionStore(redis, KeyRing([stage.key]), PREFIX, utc_now)
        if await store.fetch(store.key_of(token), HOST, "portal") is None:
            unmet.append("a seeded session is none to the product")
        config = stage.folder / "crowd.yaml"
        data = yaml.safe_load(stage.replicas[0].config.read_text())
        config.write_text(yaml.safe_dump({**data, "redis": {"url": server.url, "key_prefix": PREFIX}}))
        config.chmod(0o600)
        for words in (["list", "--limit", "0"], ["revoke", "--all", "--yes"]):
            told, wrong = await asyncio.to_thread(_timed, [words[0], str(config), *words[1:]], stage, count)
            lines.append(told)
            unmet += wrong
        left = await redis.dbsize()
        lines.append(f"{left} keys are left of {count} sessions")
        if left > 10:
            unmet.append("sessions or indexes are left after all were revoked")
        await redis.aclose()
    return Figures(name=f"{count} sessions", lines=lines, unmet=unmet)


async def _sizes(redis: Redis, url: str, before: Mapping[str, Any], count: int) -> tuple[list[str], list[str]]:
    after = await redis.info("memory")
    each = (int(after["used_memory"]) - int(before["used_memory"])) / count
    samples: dict[str, list[int]] = {"s": [], "sub": [], "psid": []}
    async for name in redis.scan_iter(match=f"{PREFIX}*", count=1000):
        kind = name.decode().removeprefix(PREFIX).partition(":")[0]
        if kind in samples and len(samples[kind]) < 100:
            samples[kind].append(await redis.memory_usage(name) or 0)
        if all(len(found) >= min(100, count) for found in samples.values()):
            break
    record, person, provider = (sum(found) / max(len(found), 1) for found in samples.values())
    rss = memory(int((await redis.info("server"))["process_id"]))[1]
    return [
        f"{each:.0f} bytes each (used_memory): record {record:.0f}, index of the person {person:.0f}, of the provider's session {provider:.0f},"
        " the rest is the key table",
        f"{rss / 1024**2:.0f} MiB resident",
    ], ([] if record > _ID_TOKEN + _ACCESS_TOKEN else ["the records are not as large as they should be"])


def _timed(words: list[str], stage: Stage, count: int) -> tuple[str, list[str]]:
    """A command, as an operator types it; its output goes to a file."""
    output = stage.folder / "crowd.out"
    began = time.monotonic()
    with output.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", "sessions", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            check=False,
            env=os.environ,
        )
    took = time.monotonic() - began
    text = output.read_text(errors="replace")
    output.unlink()
    counted = str(count) in text[-4000:].replace(",", "")
    shown = f"doorward sessions {words[0]} {' '.join(words[2:])}: {took:.1f} s, exit {done.returncode}"
    return shown, [] if done.returncode == 0 and counted else [f"{shown}: {text[-300:]!r}"]
