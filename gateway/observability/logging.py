"""The two streams of a process: events and access lines to standard output, and ordinary logs, one JSON line each, to standard error.

Every line of the log, an event's and an access line's too, is a JSON object that begins with `time`, `level` and `log`: UTC with milliseconds
(RFC 3339); debug, info, warning, error or critical; the logger's name, `event` or `access`.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from gateway.config.schema import Log
from gateway.observability.log_writer import LogWriter
from gateway.observability.redaction import hide_addresses

_CLOSE_SECONDS: Final = 2.0


def rfc3339(seconds: float) -> str:
    """`2026-11-29T14:58:19.123Z`; `seconds` since 1970."""
    second = int(seconds)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{stamp}.{int((seconds - second) * 1000):03d}Z"


def json_line(seconds: float, level: str, log: str, values: Mapping[str, Any]) -> str:
    """One line without its end. What JSON does not know is written as text."""
    line = {"time": rfc3339(seconds), "level": level, "log": log, **values}
    return json.dumps(line, default=str, separators=(",", ":"))


class JsonFormatter(logging.Formatter):
    """One JSON line a record. Of an exception it has the class and the places, not the text, which may quote secrets (C-48)."""

    def __init__(self, *, pii_full: bool = False) -> None:
        super().__init__()
        self._pii_full = pii_full

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"message": _message(record, pii_full=self._pii_full), "pid": record.process}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["at"] = " < ".join(
                f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames[-8:])
            )
        return json_line(record.created, record.levelname.lower(), record.name, line)


class TextFormatter(logging.Formatter):
    """One plain line a record, for people. Of an exception it has the class alone (C-48)."""

    def __init__(self, *, pii_full: bool = False) -> None:
        super().__init__()
        self._pii_full = pii_full

    def format(self, record: logging.LogRecord) -> str:
        message = _message(record, pii_full=self._pii_full)
        error = f" ({record.exc_info[0].__name__})" if record.exc_info and record.exc_info[0] is not None else ""
        return f"{rfc3339(record.created)} {record.levelname.lower():7} {record.name}: {message}{error}"


def _message(record: logging.LogRecord, *, pii_full: bool) -> str:
    # SECURITY: a provider's text, a directory's, and the path of a call to it may name the person (C-48).
    return record.getMessage() if pii_full else hide_addresses(record.getMessage())


class LogStreams(logging.Handler):
    """Standard output and standard error, written to without waiting. `dropped` counts the lines that were lost, by stream.

    `output` takes whole lines for standard output; what this handler gets from Python's logging goes to standard error.
    """

    def __init__(self, config: Log) -> None:
        super().__init__()
        self.dropped: Counter[str] = Counter()
        self._output = LogWriter(1, "stdout", self.dropped, config.queue)
        self._errors = LogWriter(2, "stderr", self.dropped, config.queue)
        self.output = self._output.write
        self.apply(config)

    def apply(self, config: Log) -> None:
        """Send all logs of this process here, in the configured form."""
        formatter = _formatter(config)
        self.setFormatter(formatter)
        for writer in (self._output, self._errors):
            writer.queue = config.queue
            writer.notice = lambda lines: _line(formatter, _notice(lines))
        _take_over(self, config)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._errors.write(_line(self.formatter or TextFormatter(), record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits; two seconds for a reader that is slow. Python calls it as the process ends."""
        super().close()
        for writer in (self._output, self._errors):
            writer.close(_CLOSE_SECONDS)


def _line(formatter: logging.Formatter, record: logging.LogRecord) -> bytes:
    return formatter.format(record).encode("utf-8", "backslashreplace") + b"\n"


def _notice(lines: int) -> logging.LogRecord:
    text = "%d lines were dropped: this stream was not read fast enough (log.queue)"
    return logging.LogRecord("doorward.log", logging.WARNING, __file__, 0, text, (lines,), None)


def configure_start(config: Log) -> None:
    """Send all that this process says to standard error, until it has its LogStreams."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(config))
    _take_over(handler, config)


def _formatter(config: Log) -> logging.Formatter:
    form = JsonFormatter if config.format == "json" else TextFormatter
    return form(pii_full=config.pii == "full")


def _take_over(handler: logging.Handler, config: Log) -> None:
    """Have `handler` get the logs of this process, Python's warnings, and an exception that ends it."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # of other libraries
    logging.getLogger("doorward").setLevel(config.level.upper())
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    # SECURITY: the interpreter's own traceback would quote the exception's text (C-48).
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("doorward").critical("the process ends by an exception", exc_info=(kind, error, trace))
