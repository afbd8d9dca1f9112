"""An upstream that authenticates connections, as IIS does with NTLM: whoever proved who they are once is it for all that comes after."""

import asyncio
from dataclasses import dataclass, field

from tests.fakes.recorder import Recorded


@dataclass
class Authenticating:
    """The `answer` of a recorder. `Authorization: SCHEME hello` is challenged, `SCHEME i-am-NAME` makes the connection NAME's, if it was challenged before.

    `people` says who each connection belongs to. `more` are further lines of its answers to people that it knows.
    """

    scheme: str = "NTLM"
    people: dict[int, bytes] = field(default_factory=dict)
    challenged: set[int] = field(default_factory=set)
    more: dict[str, bytes] = field(default_factory=dict)

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scheme, number = self.scheme.encode(), request.connection
        (said,) = request.values("authorization") or [b""]
        proof = said.partition(b" ")[2]
        if proof == b"hello":
            self.challenged.add(number)
            self._refuse(writer, scheme + b" TlRMTVNTUAAC")
            return
        if proof.startswith(b"i-am-") and number in self.challenged:
            self.people[number] = proof.removeprefix(b"i-am-")
        who = self.people.get(number)
        if who is None and not request.target.startswith("/open"):
            self._refuse(writer, scheme)
            return
        body = request.target.encode() + b" for " + (who or b"nobody")
        lines = self.more.get(request.target, b"")
        writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body))

    def _refuse(self, writer: asyncio.StreamWriter, challenge: bytes) -> None:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % challenge)
