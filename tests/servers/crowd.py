"""Many clients at once: some ask for what the server sends bytes after, the others for something of their own. Who got whose answer?

How long a run takes is not said; how many answers are judged is.
"""

import asyncio
from dataclasses import dataclass, field

from tests.servers.wire import Line, NoAnswer

HONEST = 6
HEADS = 6


@dataclass
class Judged:
    """`asked`: the honest clients' requests; `wrong`: each answer that was not theirs; `failed`: no answer, or an error's."""

    asked: int = 0
    attacks: int = 0
    wrong: list[bytes] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def crowd(port: int, host: str, asked: int) -> Judged:
    """Six clients each ask for a path of their own, `asked` times together; six send HEAD for the stored file all the while, and two
    ask for the 204 and the 304 that bytes follow."""
    judged = Judged()
    over = asyncio.Event()
    stored = f"HEAD /assets/pay HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    empty = f"GET /assets/empty HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    kept = f'GET /assets/kept HTTP/1.1\r\nHost: {host}\r\nIf-None-Match: "1"\r\n\r\n'.encode()
    async with asyncio.TaskGroup() as clients:
        attackers = [
            clients.create_task(_attack(port, each, judged, over)) for each in (*[stored] * HEADS, empty, kept)
        ]
        async with asyncio.TaskGroup() as honest:
            for number in range(HONEST):
                honest.create_task(_honest(port, host, number, asked, judged))
        over.set()
        await asyncio.wait(attackers)
    return judged


async def _attack(port: int, request: bytes, judged: Judged, over: asyncio.Event) -> None:
    async with Line(port) as line:
        while not over.is_set():
            judged.attacks += 1
            try:
                await line.ask(request, head_only=request.startswith(b"HEAD"))
            except NoAnswer:
                await asyncio.sleep(0)


async def _honest(port: int, host: str, number: int, asked: int, judged: Judged) -> None:
    async with Line(port) as line:
        while judged.asked < asked:
            judged.asked += 1
            path = f"/assets/own/{number}-{judged.asked}"
            right = f"route=plain\nmethod=GET\nuri={path}\n".encode()
            try:
                reply = await line.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            except NoAnswer as error:
                if "no HTTP" in str(error):
                    judged.wrong.append(str(error).encode())
                else:
                    judged.failed.append(str(error))
                continue
            if reply.status >= 500:
                judged.failed.append(f"{reply.status} {reply.body[:200]!r}")
            elif reply.status != 200 or not reply.body.startswith(right):
                judged.wrong.append(reply.head + reply.body[:300])
