"""The sealed copy of the record in a folder of this machine, for a start while Redis is out of reach or empty."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

_NAME: Final = "settings.sealed"
_LARGEST: Final = 1024 * 1024


class SettingsCopy:
    """`folder` is `redis.data_dir`; None: no copy is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.path: Final = None if folder is None else folder / _NAME

    def read(self) -> bytes:
        """The value as the store seals it; empty where there is none. Raises OSError."""
        if self.path is None:
            return b""
        try:
            with self.path.open("rb") as file:
                return file.read(_LARGEST + 1)
        except FileNotFoundError:
            return b""

    def write(self, value: bytes) -> None:
        """Replace the copy, whole or not at all. Raises OSError."""
        if self.path is None:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=_NAME, dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
