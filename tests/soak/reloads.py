"""Reloads under load: no request is lost, be it of a client that keeps its connection, or of nginx that keeps a pool of them (D-07)."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.bench import cores
from tests.bench.children import Child, free_port
from tests.soak.place import Place, SoakFailed
from tests.soak.told import Told

CLIENTS: Final = 16
DRAIN: Final = "3s"
_BODY: Final = b"b" * 4000
_FRONT: Final = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream door {{ server 127.0.0.1:{door}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://door; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }}
  }}
}}
"""


async def echo_size(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the number of body bytes that came."""
    _, mark, rest = head.lower().partition(b"\r\ncontent-length: ")
    length = int(rest.split(b"\r\n")[0]) if mark else 0
    text = b"%d" % len(await reader.readexactly(length))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


async def reloads(place: Place, times: int) -> list[Told]:
    """`times` reloads each, with clients of our own and with nginx in front."""
    place.upstream.answer = echo_size
    told = [await _under_load(place, place.door.port, times, "clients that keep their connections")]
    nginx = shutil.which("nginx")
    if nginx is None:
        raise SoakFailed("nginx is not installed")
    with tempfile.TemporaryDirectory(prefix="doorward-front-") as name:
        folder, port = Path(name), free_port()
        (folder / "nginx.conf").write_text(_FRONT.format(folder=folder, door=place.door.port, port=port))
        front = Child("nginx", [nginx, "-p", folder, "-c", folder / "nginx.conf"], folder, cores.BOTH)
        try:
            await asyncio.to_thread(front.wait_until, lambda: _listens(port))
            told.append(await _under_load(place, port, times, "nginx with keepalive 64 in front"))
        finally:
            await asyncio.to_thread(front.stop)
    return told


async def _under_load(place: Place, port: int, times: int, case: str) -> Told:
    counts: Counter[str] = Counter()
    over = asyncio.Event()
    clients = [asyncio.create_task(_client(place, port, number, counts, over)) for number in range(CLIENTS)]
    for _ in range(times):
        await _reload(place)
    over.set()
    await asyncio.gather(*clients)
    lost = sum(counts.values()) - counts["answered"]
    found = (
        f"{times} reloads, {CLIENTS} clients: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}"
    )
    return Told(
        case=f"no request is lost by a reload: {case}", found=found, reached=lost == 0 and counts["answered"] > 0
    )


async def _reload(place: Place) -> None:
    """SIGHUP, until a new worker has served for a moment, beside the old one that drains."""
    before = set(place.door.workers())
    reloaded = place.door.child.errors.read_text().count('"reloaded: ')
    os.kill(place.door.child.pid, signal.SIGHUP)
    async with asyncio.timeout(60):
        while (
            place.door.child.errors.read_text().count('"reloaded: ') == reloaded
            or not set(place.door.workers()) - before
        ):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)


async def _client(place: Place, port: int, number: int, counts: Counter[str], over: asyncio.Event) -> None:
    """One request after the other on one connection, every fourth with a body, until it is told that the connection ends."""
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    turn = number
    while not over.is_set():
        turn += 1
        try:
            if streams is None:
                streams = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            counts["refused"] += 1
            await asyncio.sleep(0.05)
            continue
        reader, writer = streams
        body = _BODY if turn % 4 == 0 else b""
        line = f"POST /{turn}" if body else f"GET /{turn}"
        fields = [f"Content-Length: {len(body)}"] if body else []
        try:
            async with asyncio.timeout(20):
                writer.write(place.head(line, *fields) + body)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                answer = await reader.readexactly(int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]))
        except (OSError, EOFError, TimeoutError):
            head, answer = b"", b""
        status = int(head.split(b" ", 2)[1]) if head else 0
        right = status == 200 and answer == b"%d" % len(body)
        kind = "with a body " if body else ""
        counts["answered" if right else f"lost {kind}({status or 'the connection ended'})"] += 1
        if not right or b"\r\nconnection: close\r\n" in head:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            streams = None


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
