"""Requests at a steady rate, whatever the server does: `python -m tests.bench.paced PORT PATH RATE SECONDS CONNECTIONS`.

wrk has no rate, so this stands in for it. Each request has a moment at which it is due, and its time runs from that moment, not from
the moment that a connection was free for it: a server that stops for a while cannot hide it. The Cookie field comes on standard
input. Prints one line of JSON; times in milliseconds, infinite where the rate was not kept.
"""

import ctypes
import gc
import json
import math
import select
import socket
import sys
import time
from collections import deque
from typing import Final

from tests.bench.parties import HOST

_PR_SET_TIMERSLACK: Final = 29
_WARM_UP: Final = 0.2  # this share of the requests is not counted


class Paced:
    """`rate` requests a second on `connections` connections; a request that finds none free waits in line."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._request = request
        self._poll = select.epoll()
        self._socks: dict[int, socket.socket] = {}
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socks[sock.fileno()] = sock
            self._poll.register(sock, select.EPOLLIN)
        self._free = list(self._socks)
        self._due: dict[int, float] = {}
        self._line: deque[float] = deque()
        self._missing: dict[int, int] = {}
        self.times: list[float] = []

    def run(self, rate: float, seconds: float) -> None:
        step, start = 1 / rate, time.perf_counter()
        total, sent = int(rate * seconds), 0
        while len(self.times) < total:
            now = time.perf_counter()
            while sent < total and start + sent * step <= now:
                self._line.append(start + sent * step)
                sent += 1
            while self._line and self._free:
                self._send(self._line.popleft())
            pause = start + sent * step - time.perf_counter() if sent < total else 1.0
            # select() on the epoll descriptor waits for microseconds; epoll_wait() would round up to milliseconds.
            if pause > 0:
                select.select([self._poll], [], [], pause)
            for descriptor, _ in self._poll.poll(0):
                self._receive(descriptor)
            if now > start + seconds + 10:
                raise TimeoutError(f"{total - len(self.times)} answers are missing")

    def _send(self, due: float) -> None:
        descriptor = self._free.pop()
        self._due[descriptor] = due
        self._socks[descriptor].send(self._request)

    def _receive(self, descriptor: int) -> None:
        data = self._socks[descriptor].recv(65536)
        missing = self._missing.pop(descriptor, 0)
        if missing:
            missing -= len(data)
        else:
            head, _, body = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"not a 200: {data[:80]!r}")
            lower = head.lower()
            missing = int(lower[lower.index(b"\r\ncontent-length:") + 17 :].split(b"\r\n", 1)[0]) - len(body)
        if missing:
            self._missing[descriptor] = missing
            return
        self.times.append(time.perf_counter() - self._due.pop(descriptor))
        self._free.append(descriptor)


def main() -> None:
    port, path, rate, seconds, connections = sys.argv[1:]
    cookie = sys.stdin.read().strip()
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.disable()
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n" + (f"Cookie: {cookie}\r\n" if cookie else "") + "\r\n"
    paced = Paced(int(port), head.encode(), int(connections))
    try:
        paced.run(float(rate), float(seconds))
    except TimeoutError:
        print(json.dumps({"count": len(paced.times), "p50": math.inf, "p99": math.inf}))
        return
    counted = sorted(paced.times[int(len(paced.times) * _WARM_UP) :])
    told = {f"p{share}": counted[min(len(counted) - 1, len(counted) * share // 100)] * 1e3 for share in (50, 99)}
    print(json.dumps({"count": len(counted), **told}))


if __name__ == "__main__":
    main()
