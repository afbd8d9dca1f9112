"""How fast a client moves a body: a slow one holds a connection, and an upstream's, for as long as it likes (docs/threats.md D-20).

Pure. Asked now and then, while the client is the one who is waited for; judged over whole windows, since networks stumble.
"""


class Pace:
    """One exchange's. `moved` is the number of bytes, of both bodies, that the client has sent or taken so far."""

    __slots__ = ("_moved", "_since")

    def __init__(self, now: float, moved: int) -> None:
        self._since = now
        self._moved = moved

    def too_slow(self, now: float, moved: int, rate: int, window: float) -> bool:
        """Whether fewer than `rate` bytes a second moved in the window that ends now; False inside a window of so many seconds."""
        spent = now - self._since
        if spent < window:
            return False
        slow = moved - self._moved < rate * spent
        self._since, self._moved = now, moved
        return slow
