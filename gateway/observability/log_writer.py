"""Writes log lines to a descriptor without ever making the caller wait.

A pipe that is not read blocks the process that writes to it, and a descriptor that other processes share must not be made non-blocking. So a
thread writes, from a queue that is bounded: what does not fit is dropped and counted, and a line says so as soon as lines flow again.
"""

import os
import select
import threading
from collections import Counter, deque
from collections.abc import Callable


class LogWriter:
    """`stream` is the name under which `dropped` counts lines; `queue` is how many bytes may wait."""

    def __init__(self, descriptor: int, stream: str, dropped: Counter[str], queue: int) -> None:
        self._descriptor = descriptor
        self._stream = stream
        self._dropped = dropped
        self.queue = queue
        self.notice: Callable[[int], bytes] = lambda lines: b""
        self._waiting: deque[bytes] = deque()
        self._size = 0  # bytes that wait or are being written
        self._lost = 0  # lines dropped since the last notice
        self._closing = False
        self._changed = threading.Condition()
        # A daemon: a thread that waits for a reader must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"log-{stream}", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Queue whole lines, or drop them. Never blocks."""
        with self._changed:
            if self._size + len(lines) > self.queue:
                self._drop(lines)
                return
            self._waiting.append(lines)
            self._size += len(lines)
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Write what waits, for at most `seconds`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _drop(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self._lost += count
        self._dropped[self._stream] += count

    def _run(self) -> None:
        written = True
        while True:
            with self._changed:
                while not (self._waiting or self._closing or (self._lost and written)):
                    self._changed.wait()
                if not self._waiting and not (self._lost and written):
                    return
                lines = b"".join(self._waiting)
                self._waiting.clear()
                lost, self._lost = self._lost, 0
            written = self._write_all(lines) and (not lost or self._write_all(self.notice(lost)))
            with self._changed:
                self._size -= len(lines)
                if not written:
                    self._lost += lost

    def _write_all(self, lines: bytes) -> bool:
        """Whether all was written: a disk may be full, a pipe without a reader. What is left is dropped."""
        while lines:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except BlockingIOError:  # another process made the descriptor non-blocking
                select.select((), (self._descriptor,), ())
            except OSError:
                with self._changed:
                    self._drop(lines)
                return False
        return True
