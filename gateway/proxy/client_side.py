"""The client's connection, as whoever answers on it sees it."""

from typing import Protocol

from gateway.errors import Refusal
from gateway.proxy.upstream import UpstreamConnection


class Client(Protocol):
    """The client's side, as an exchange sees it."""

    def write(self, data: bytes) -> None: ...

    def stop_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    def answered(self, status: int, size: int, *, keep_alive: bool) -> None: ...

    def refuse(self, refusal: Refusal) -> None: ...

    def cut(self, status: int, size: int) -> None: ...

    def tunnel(self, connection: UpstreamConnection, head: bytes, first: bytes) -> None: ...
