"""An upstream that says more than it was asked for, a moment after each answer, as servers do that send a body where none can be."""

import asyncio
from dataclasses import dataclass, field

from tests.fakes.recorder import Recorded

EVIL = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nEVIL"
_LATER = 0.05  # seconds: the head has long been passed on by then


@dataclass
class Late:
    """The `answer` of a recorder. A target in `heads` is answered with its head, and with `EVIL` later; every other one as it should be.

    Requests of one connection wait for one another, as they do at real servers. `said` counts the bytes too many.
    """

    heads: dict[str, bytes] = field(default_factory=dict)
    said: int = 0

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = self.heads.get(request.target)
        if head is None:
            (who,) = request.values("x-forwarded-user") or [b"nobody"]
            body = b"" if request.line.startswith(b"HEAD ") else request.target.encode() + b" for " + who
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        writer.write(b"HTTP/1.1 " + head + b"\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(_LATER)
        self.said += len(EVIL)
        writer.write(EVIL)
