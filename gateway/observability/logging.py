"""The two streams of a process: events and access lines to standard output, and ordinary logs, one JSON line each, to standard error."""

import json
import logging
import os
import time
import traceback
from collections import Counter
from typing import Final

from gateway.config.schema import Log
from gateway.observability.log_writer import LogWriter

_CLOSE_SECONDS: Final = 2.0


class JsonFormatter(logging.Formatter):
    """One JSON line a record. Of an exception it has the class and the places, not the text, which may quote secrets (C-48)."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "log": record.name,
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["at"] = " < ".join(
                f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames[-8:])
            )
        return json.dumps(line, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """One plain line a record, for people. Of an exception it has the class alone (C-48)."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        error = f" ({record.exc_info[0].__name__})" if record.exc_info and record.exc_info[0] is not None else ""
        return f"{stamp} {record.levelname.lower():7} {record.name}: {record.getMessage()}{error}"


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
        formatter = JsonFormatter() if config.format == "json" else TextFormatter()
        self.setFormatter(formatter)
        for writer in (self._output, self._errors):
            writer.queue = config.queue
            writer.notice = lambda lines: _line(formatter, _notice(lines))
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(logging.WARNING)  # of other libraries
        logging.getLogger("doorward").setLevel(config.level.upper())
        logging.getLogger("asyncio").setLevel(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._errors.write(_line(self.formatter or TextFormatter(), record))
        except Exception:
            self.handleError(record)

    def print(self, text: str) -> None:
        """A plain line for standard error."""
        self._errors.write(text.encode("utf-8", "backslashreplace") + b"\n")

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
