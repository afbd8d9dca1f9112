"""Many clients: slow ones, silent ones, some that leave, and normal people between them (D-20, D-08, B-54)."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.soak.place import Place, SoakFailed, Streams, answer_of, say_ok, status_of, wait_closed
from tests.soak.told import Told

MB: Final = 1_000_000
_KINDS: Final = {"H": "slow heads", "B": "slow bodies", "X": "slow readers", "R": "thousands of ranges"}
_EACH: Final = 500
_NORMAL: Final = 50
_ELSEWHERE: Final = "127.0.0.2"  # connections are limited by address, too
_LARGE: Final = 4_000_000
_RANGES: Final = "Range: bytes=0-," + ",".join(f"5-{number}" for number in range(1300))


async def _answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if head.startswith(b"GET /large"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _LARGE)
        for _ in range(0, _LARGE, 100_000):
            writer.write(bytes(100_000))
            await writer.drain()
    elif head.startswith(b"POST"):
        await reader.readexactly(100_000)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    else:
        await say_ok(head, reader, writer)


async def _narrow(place: Place) -> Streams:
    """A connection that takes little at once."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", place.door.port))
    return await asyncio.open_connection(sock=sock, limit=1024)


async def _attacker(place: Place, kind: str) -> None:
    """One connection, opened again whenever it is ended."""
    while True:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reader, writer = await (_narrow(place) if kind == "X" else place.connect())
            try:
                await _dawdle(place, kind, reader, writer)
            finally:
                wait_closed(writer)
        await asyncio.sleep(1)


async def _dawdle(place: Place, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if kind == "H":
        writer.write(place.head("GET /slow")[:-2])
        while not reader.at_eof():
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(2)
    elif kind == "B":
        writer.write(place.head("POST /slow", "Content-Length: 100000"))
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(2)
    elif kind == "X":
        writer.write(place.head("GET /large") * 5)
        while await reader.read(32):
            await asyncio.sleep(2)
    else:
        while True:
            writer.write(place.head("GET /ranges", _RANGES))
            await answer_of(reader)
            await asyncio.sleep(2)


async def _person(place: Place, times: list[float], wrong: list[str]) -> None:
    """Asks for something five times a second, each time on a new connection."""
    while True:
        began = time.monotonic()
        try:
            reader, writer = await place.asked("GET /normal", source=_ELSEWHERE)
            status, _ = await status_of(reader)
            writer.close()
            if status != 200:
                wrong.append(str(status))
        except (OSError, asyncio.IncompleteReadError) as error:
            wrong.append(type(error).__name__)
        times.append(time.monotonic() - began)
        await asyncio.sleep(0.2)


async def slow_clients(place: Place, seconds: float) -> Told:
    """Five hundred of each kind at once."""
    place.upstream.answer = _answer
    quiet: list[float] = []
    wrong: list[str] = []
    await _together([lambda: _person(place, quiet, wrong)] * _NORMAL, 5)
    before, used, began = place.forget_peak(), place.cpu(), time.monotonic()
    times: list[float] = []
    attackers = [lambda kind=kind: _attacker(place, kind) for kind in _KINDS for _ in range(_EACH)]
    await _together([*attackers, *[lambda: _person(place, times, wrong)] * _NORMAL], seconds)
    cpu = (place.cpu() - used) / (time.monotonic() - began)
    more = place.peak() - before
    await _all_gone(place)
    p99, p99_before = _percentile(times, 99), _percentile(quiet, 99)
    return Told(
        case=f"{_EACH} each of {', '.join(_KINDS.values())} for {seconds:g} s, {_NORMAL} normal people between them",
        reached=not wrong and len(times) > _NORMAL * seconds / 2,
        found=f"people: {len(times)} requests, {len(wrong)} wrong {sorted(set(wrong))}, p99 {p99 * 1e3:.0f} ms (before: {p99_before * 1e3:.0f} ms); "
        f"{more / MB:.0f} MB more at most, {more / (len(_KINDS) * _EACH) / 1000:.0f} KB each; {cpu:.0%} of a core; all connections gone afterwards",
    )


async def leavers(place: Place, count: int) -> Told:
    """So many leave at a random moment of their answer; then as many each get their own."""
    rng = random.Random(1)

    async def slowly(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = head.split(b" ", 2)[1] * 200
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 500):
            writer.write(body[at : at + 500])
            await writer.drain()
            await asyncio.sleep(0)

    place.upstream.answer = slowly

    async def leave(number: int) -> None:
        _, writer = await place.asked(f"GET /leave/{number}")
        await asyncio.sleep(rng.random() * 0.02)
        wait_closed(writer)

    async def stay(number: int) -> int:
        reader, writer = await place.asked(f"GET /canary/{number}")
        status, body = await answer_of(reader)
        writer.close()
        return int(status == 200 and body == f"/canary/{number}".encode() * 200)

    right = asked = 0
    for start in range(0, count, 50):
        batch = await asyncio.gather(
            *(leave(number) for number in range(start, start + 50)),
            *(stay(number) for number in range(start, start + 5)),
        )
        right, asked = right + sum(one for one in batch if one), asked + 5
    for start in range(0, count, 50):
        right += sum(await asyncio.gather(*(stay(number) for number in range(start, start + 50))))
        asked += 50
    await _all_gone(place)
    return Told(
        case=f"{count} clients leave inside their answers, then {count} ask",
        reached=right == asked,
        found=f"{right} of {asked} got their own answer",
    )


async def steady(place: Place, seconds: float) -> Told:
    """Requests, WebSockets that come and go, and nothing that grows: the slope over the second half."""
    place.upstream.answer = say_ok
    wrong: list[str] = []
    times: list[float] = []
    held: list[tuple[float, int, int]] = []

    async def sample() -> None:
        began = time.monotonic()
        while True:
            held.append((time.monotonic() - began, place.resident(), place.descriptors()))
            await asyncio.sleep(1)

    async def ask() -> None:
        reader, writer = await place.connect()
        for number in range(10_000_000):
            began = time.monotonic()
            writer.write(place.head(f"GET /steady/{number % 10_000}", f"X-Number: {number}"))
            status, _ = await answer_of(reader)
            times.append(time.monotonic() - began)
            if status != 200:
                wrong.append(str(status))
            if number % 100 == 99:
                writer.close()
                reader, writer = await place.connect()
            await asyncio.sleep(0.001)

    await _together([sample, *[ask] * 8], seconds)
    late = held[len(held) // 2 :]
    slope = _slope([(at, size) for at, size, _ in late]) * 3600
    judged = seconds >= 600
    return Told(
        case=f"{seconds:g} s of requests at ease",
        reached=not wrong and (not judged or slope < MB),
        found=f"{len(times)} requests, {len(wrong)} wrong; {late[0][1] / MB:.1f} to {late[-1][1] / MB:.1f} MB, {slope / MB:+.1f} MB an hour"
        f"{' (allowed: 1)' if judged else ' (judged from 600 s on)'}; {late[0][2]} to {late[-1][2]} descriptors",
    )


async def _together(work: list[Callable[[], Awaitable[None]]], seconds: float) -> None:
    """All of it for so long; then it is broken off. Raises what one of them raised."""
    tasks = [asyncio.ensure_future(each()) for each in work]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        await task


async def _all_gone(place: Place) -> None:
    """Raises SoakFailed when a connection stays behind."""
    for _ in range(200):
        if place.door.metric("doorward_requests_in_flight") == 0 and place.descriptors() < 400:
            return
        await asyncio.sleep(0.1)
    raise SoakFailed(f"{place.descriptors()} descriptors stay open")


def _percentile(times: list[float], share: int) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * share // 100)]


def _slope(points: list[tuple[float, int]]) -> float:
    """Of the straight line through them, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
