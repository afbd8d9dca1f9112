"""The access log: one line for each request, written in batches.

The query is left out, because sign-in links and reset links carry secrets in it (C-48). Every value was validated before (method, canonical or
escaped path, request id), so a line is formatted without a JSON encoder. E-mail addresses in paths are hidden, unless `pii` is `full`: a batch
is searched for them, not each line.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.observability.redaction import hide_addresses

_BATCH: Final = 64
_LONGEST_PATH: Final = 512
_LONGEST_CHOSEN: Final = 2048  # characters of a value of `fields`, which a client wrote


class AccessRecord(NamedTuple):
    """One finished request. `seconds` from its head to the end of the response, `size` in bytes of the body, `session` the public handle.

    `chosen` are the values of the log's `fields`, in their order.
    """

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
    chosen: Sequence[str] = ()


class AccessLog:
    """Formats lines, and passes them to `write` when a batch is full. The worker calls `flush` periodically.

    `fields` are what the configuration adds to a line: user, host, agent.
    """

    __slots__ = ("_lines", "_pii_full", "_second", "_stamp", "_text", "_write", "fields")

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        text: bool = False,
        pii_full: bool = False,
        fields: Sequence[str] = (),
    ) -> None:
        self.fields = fields
        self._write = write
        self._text = text
        self._pii_full = pii_full
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def choose(self, values: Mapping[str, str]) -> Sequence[str]:
        """The values of `fields`; those that are not known are empty."""
        return [values.get(name, "")[:_LONGEST_CHOSEN] for name in self.fields]

    def write(self, record: AccessRecord) -> None:
        """Add the line of one request."""
        app, method, path, status, size, seconds, client, session, request_id, rule, chosen = record
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int((now - second) * 1000):03d}Z"
        if self._text:
            spent = f"{seconds * 1000:.1f}ms"
            more = (
                "".join(f" {name}={json.dumps(value)}" for name, value in zip(self.fields, chosen, strict=True))
                if chosen
                else ""
            )
            line = f"{stamp} {client} {app} {method} {path} {status} {size} {spent} session={session or '-'} request={request_id}{more}\n"
        else:
            more = (
                "".join(f',"{name}":{json.dumps(value)}' for name, value in zip(self.fields, chosen, strict=True))
                if chosen
                else ""
            )
            line = (
                f'{{"time":"{stamp}","level":"info","log":"access","app":"{app}","method":"{method}","path":"{path}","status":{status},'
                f'"bytes":{size},"ms":{seconds * 1000:.1f},"client":"{client}","session":"{session}","request_id":"{request_id}",'
                f'"rule":"{rule}"{more}}}\n'
            )
        self._lines.append(line)
        if len(self._lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the lines that are waiting."""
        if self._lines:
            text = "".join(self._lines)
            # SECURITY: a person's address may be a part of an application's paths, and of a client's own fields (C-48).
            if not self._pii_full and _may_carry_address(text):
                text = "".join(
                    self._without_addresses(line) if _may_carry_address(line) else line for line in self._lines
                )
            data = text.encode("utf-8", "backslashreplace")
            self._lines.clear()
            self._write(data)

    def _without_addresses(self, line: str) -> str:
        if self._text:
            return hide_addresses(line)
        values = json.loads(line)
        for name in ("path", *self.fields):
            values[name] = hide_addresses(values[name])
        return json.dumps(values, separators=(",", ":")) + "\n"


def _may_carry_address(text: str) -> bool:
    return "@" in text or "%" in text


def path_as_logged(target: bytes) -> str:
    """The path of a request without a canonical target: as it was sent, escaped so that it ends no line and no JSON text (C-48)."""
    return quote(target.partition(b"?")[0][:_LONGEST_PATH], safe="/%!$&'()*+,;=:@~")
