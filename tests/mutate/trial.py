"""A copy of the tree in which one mutant at a time is tested. The working tree itself is never changed."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutate.mutants import Mutant

_TESTS_FAILED: Final = 1
_NOTHING_COLLECTED: Final = 5
_MADE: Final = ("build", "dist", "node_modules", "__pycache__", "*.egg-info", ".*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run of pytest. `code`: its exit status, None: it was ended, for it took too long. `failed`: the test that did."""

    code: int | None
    failed: str = ""
    said: str = ""

    @property
    def passed(self) -> bool:
        return self.code in (0, _NOTHING_COLLECTED)

    @property
    def found(self) -> bool:
        return self.code == _TESTS_FAILED


class Copy:
    """The tree in a folder of its own, without what is made from it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self.folder = folder

    def make(self) -> None:
        """As the working tree is now."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._root, self.folder, ignore=shutil.ignore_patterns(*_MADE), symlinks=True)

    @contextlib.contextmanager
    def without(self, mutant: Mutant) -> Iterator[None]:
        """The copy without one defence, for as long as that is needed."""
        file = self.folder / mutant.defence.path
        before = file.read_text()
        try:
            self._write(file, mutant.source)
            yield
        finally:
            self._write(file, before)

    @staticmethod
    def _write(file: Path, text: str) -> None:
        file.write_text(text)
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()  # it is looked up by second and size, which may be those of another mutant

    def run(self, tests: Sequence[str], seconds: float, *, first: bool = True) -> Outcome:
        """These tests, to the first that fails or to the end."""
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--tb=line", "-rfE", *(["-x"] if first else [])]
        command += tests
        # What is compiled stands beside its source, where `_write` finds it.
        environ = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONPYCACHEPREFIX": "", "COLUMNS": "400"}
        with subprocess.Popen(
            command, cwd=self.folder, env=environ, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        ) as running:  # fmt: skip
            try:
                said, _ = running.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                running.communicate()
                return Outcome(None)
            finally:
                with contextlib.suppress(ProcessLookupError):  # what the tests started and left
                    os.killpg(running.pid, signal.SIGKILL)
        failed = re.findall(r"^(?:FAILED|ERROR) (tests/\S+?::.*?)(?: - .*)?$", said, re.M)
        return Outcome(running.returncode, failed[0] if failed else "", "\n".join(said.splitlines()[-15:]))
