"""Ordinary logs through Python's logging: one JSON line each, to standard error. `events` writes security events."""

import json
import logging
import os
import sys
import time
import traceback

from gateway.config.schema import Log


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


def configure_logging(config: Log) -> None:
    """Send all logs of this process to standard error in the configured form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # of other libraries
    logging.getLogger("doorward").setLevel(config.level.upper())
    logging.getLogger("asyncio").setLevel(logging.ERROR)
