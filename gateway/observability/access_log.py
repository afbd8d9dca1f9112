"""The access log: one line for each request, written in batches.

The query is left out, because sign-in links and reset links carry secrets in it (C-48). Every value was validated before (method, canonical or
escaped path, request id), so a line is formatted without a JSON encoder.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import quote

_BATCH: Final = 64
_LONGEST_PATH: Final = 512


class AccessRecord(NamedTuple):
    """One finished request. `seconds` from its head to the end of the response, `size` in bytes of the body, `session` the public handle."""

    app: str
    method: str
    path: str
    status: int
    size: int
    seconds: float
    client: str
    session: str
    request_id: str
    rule: str


class AccessLog:
    """Formats lines, and passes them to `write` when a batch is full. The worker calls `flush` periodically."""

    __slots__ = ("_lines", "_second", "_stamp", "_text", "_write")

    def __init__(self, write: Callable[[bytes], None], *, text: bool = False) -> None:
        self._write = write
        self._text = text
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def write(self, record: AccessRecord) -> None:
        """Add the line of one request."""
        app, method, path, status, size, seconds, client, session, request_id, rule = record
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int((now - second) * 1000):03d}Z"
        if self._text:
            spent = f"{seconds * 1000:.1f}ms"
            line = f"{stamp} {client} {app} {method} {path} {status} {size} {spent} session={session or '-'} request={request_id}\n"
        else:
            line = (
                f'{{"time":"{stamp}","log":"access","app":"{app}","method":"{method}","path":"{path}","status":{status},"bytes":{size},'
                f'"ms":{seconds * 1000:.1f},"client":"{client}","session":"{session}","request_id":"{request_id}","rule":"{rule}"}}\n'
            )
        self._lines.append(line)
        if len(self._lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the lines that are waiting."""
        if self._lines:
            data = "".join(self._lines).encode("utf-8", "backslashreplace")
            self._lines.clear()
            self._write(data)


def path_as_logged(target: bytes) -> str:
    """The path of a request without a canonical target: as it was sent, escaped so that it ends no line and no JSON text (C-48)."""
    return quote(target.partition(b"?")[0][:_LONGEST_PATH], safe="/%!$&'()*+,;=:@~")
