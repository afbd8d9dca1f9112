"""Log lines never make the program wait, and what is lost is counted and said."""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from gateway.observability.log_writer import LogWriter
from tests.fakes.waiting import eventually

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def read(descriptor: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += os.read(descriptor, size - len(found))
    return found


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    dropped: Counter[str] = Counter()
    writer = LogWriter(pipe[1], "stdout", dropped, queue=10_000)
    writer.notice = lambda lines: b"%d were dropped\n" % lines
    for _ in range(1000):
        writer.write(LINE)
    assert dropped["stdout"] >= 800  # the pipe holds 4096 bytes, the queue 10,000
    kept = 1000 - dropped["stdout"]
    assert read(pipe[0], kept * len(LINE)) == LINE * kept
    notice = b"%d were dropped\n" % dropped["stdout"]
    assert read(pipe[0], len(notice)) == notice
    writer.write(LINE)
    assert read(pipe[0], len(LINE)) == LINE
    writer.close(10)


def test_what_waits_is_written_before_the_end(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], "stdout", Counter(), queue=10_000)
    for _ in range(20):
        writer.write(LINE)
    writer.close(10)
    assert os.read(pipe[0], 4096) == LINE * 20


def test_the_end_does_not_wait_for_a_reader_for_ever(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], "stdout", Counter(), queue=100_000)
    writer.write(LINE * 500)
    writer.close(0.05)  # returns


async def test_a_pipe_without_a_reader_and_a_full_disk_lose_lines_and_are_counted(pipe: tuple[int, int]) -> None:
    for descriptor in (pipe[1], os.open("/dev/full", os.O_WRONLY)):
        with suppress(OSError):
            os.close(pipe[0])
        dropped: Counter[str] = Counter()
        writer = LogWriter(descriptor, "stderr", dropped, queue=10_000)
        writer.write(LINE * 3)
        await eventually(partial(_counted, dropped, 3))
        writer.write(LINE)
        await eventually(partial(_counted, dropped, 4))
        writer.close(10)


def _counted(dropped: Counter[str], lines: int) -> bool:
    return dropped["stderr"] == lines


async def test_a_descriptor_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    dropped: Counter[str] = Counter()
    writer = LogWriter(pipe[1], "stdout", dropped, queue=100_000)
    writer.write(LINE * 200)
    assert read(pipe[0], 200 * len(LINE)) == LINE * 200
    assert not dropped
    writer.close(10)
