"""`python -m tests.bench.idle_connections [COUNT]`: what a worker holds for a keep-alive connection that waits.

Each connection has had one request of a signed-in person. The worker's own memory is counted; the kernel's, which every server
needs alike, is printed beside it. Prints figures, asserts nothing.
"""

import argparse
import asyncio
import resource
import socket
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from gateway.config.schema import Redis
from gateway.identity.claims import Identity
from gateway.redis_client.client import connect
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.bench import cores
from tests.bench.children import BenchFailed
from tests.bench.doors import Doorward, Household, new_key
from tests.bench.parties import EMAIL, HOST, SUBJECT
from tests.fakes.recorder import RecordingUpstream

_NOBODY = "http://127.0.0.1:9/"
_ALLOWED = 20_000
_AT_ONCE = 100


def raise_limit(count: int) -> None:
    """As many descriptors as there are connections, and some. Raises BenchFailed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 500
    if hard < needed:
        raise BenchFailed(f"{needed} descriptors are needed, the limit is {hard}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def sign_in(url: str, key: str) -> str:
    """A session as a sign-in makes it; the Cookie field's value."""
    redis = connect(Redis(), url)
    identity = Identity(
        issuer=_NOBODY, subject=SUBJECT, email=EMAIL, name="Mia Lindqvist", groups=("members",),
        preferred_username="mia", directory={},
    )  # fmt: skip
    session = Session(
        key_host=HOST, app="portal", sid=SessionStore.new_sid(), identity=identity, provider_sid=None, auth_time=utc_now(),
        acr=None, created_at=utc_now(), idle=timedelta(hours=1), lifetime=timedelta(hours=2), id_token=None,
        access_token=None, refresh_token=None,
    )  # fmt: skip
    token = await SessionStore(redis, KeyRing([key]), Redis().key_prefix, utc_now).issue(session)
    await redis.aclose()
    return f"theme=dark; doorward_session={token}; lang=en"


async def hold(port: int, cookie: str, count: int) -> list[socket.socket]:
    """That many connections, each with one answer behind it."""
    loop = asyncio.get_running_loop()
    request = (
        f"GET /bookings HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nCookie: {cookie}\r\n\r\n"
    )

    async def one() -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, request.encode())
        answer = await loop.sock_recv(sock, 65536)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BenchFailed(f"a connection got no answer: {answer[:100]!r}")
        return sock

    held: list[socket.socket] = []
    while len(held) < count:
        held += await asyncio.gather(*(one() for _ in range(min(_AT_ONCE, count - len(held)))))
    return held


def kernel() -> int:
    """Bytes of the kernel's own objects and of socket buffers, of everybody."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    tcp = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(meminfo["Slab"].split()[0]) * 1024 + int(tcp.split()[-1]) * resource.getpagesize()


async def measure(count: int) -> None:
    upstream = RecordingUpstream()
    await upstream.start()
    valkey = EmbeddedValkey()
    await asyncio.to_thread(valkey.start)
    house = Household(redis=valkey.url, key=new_key(), issuer=_NOBODY, upstream=upstream.port)
    limits = {"connections": 2 * count, "connections_per_address": 2 * count, "idle_timeout": "1h"}
    try:
        with tempfile.TemporaryDirectory(prefix="doorward-bench-") as folder:
            door = Doorward("idle", house, Path(folder), on=cores.BOTH, limits=limits)
            try:
                await asyncio.to_thread(door.wait_ready)
                await report(door, await sign_in(valkey.url, house.key), count)
            finally:
                await asyncio.to_thread(door.stop)
    finally:
        await upstream.close()
        await asyncio.to_thread(valkey.stop)


async def report(door: Doorward, cookie: str, count: int) -> None:
    worker = door.workers()[0]
    for sock in await hold(door.port, cookie, 200):
        sock.close()
    await asyncio.sleep(1)
    before, kernel_before = cores.memory(worker)[0], kernel()
    held = await hold(door.port, cookie, count)
    await asyncio.sleep(1)
    each = (cores.memory(worker)[0] - before) / count
    in_kernel = (kernel() - kernel_before) / count
    used = cores.cpu([worker]).total
    await asyncio.sleep(5)
    busy = (cores.cpu([worker]).total - used) / 5
    last = await hold(door.port, cookie, 1)
    for sock in (*held, *last):
        sock.close()
    verdict = "reached" if each < _ALLOWED else "MISSED"
    print(
        f"{count} idle keep-alive connections: {each / 1000:.1f} KB each in the worker (target: under 20 KB, {verdict})"
    )
    print(f"kernel memory, both ends of a connection and whatever else went on: {in_kernel / 1000:.1f} KB each")
    print(f"the worker's CPU while all of them are idle: {busy:.1%} of a core")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle_connections", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    count = parser.parse_args().count
    try:
        raise_limit(count)
        asyncio.run(measure(count))
    except BenchFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
