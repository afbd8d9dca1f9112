"""What was found before. A finding counts as long as the mutant is the same and the tests that found it, or found nothing, are."""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.mutate.mutants import Mutant


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`verdict`: killed, timeout, invalid, or the stage that it survived: tests, suite. `by`: the test that failed, or what pytest said."""

    verdict: str
    by: str = ""
    digest: str = ""  # of the files of tests that decide it
    files: tuple[str, ...] = ()


class Kept:
    """Findings, by the mutant's content, in one file."""

    def __init__(self, root: Path, file: Path) -> None:
        self._root = root
        self._file = file
        self._known: dict[str, Any] = {}
        self._read()

    def _read(self) -> None:
        """Another run may have written meanwhile."""
        with contextlib.suppress(OSError, ValueError):
            self._known |= json.loads(self._file.read_text())

    def find(self, mutant: Mutant) -> Finding | None:
        data = self._known.get(_key(mutant))
        if data is None:
            return None
        finding = Finding(**{**data, "files": tuple(data["files"])})
        return finding if finding.digest == digest(self._root, finding.files) else None

    def hint(self, mutant: Mutant) -> str:
        """The test that found it the last time, whatever became of that test since; "" when none did."""
        data = self._known.get(_key(mutant), {})
        return str(data["by"]) if data.get("verdict") == "killed" else ""

    def keep(self, mutant: Mutant, finding: Finding) -> None:
        self._read()
        self._known[_key(mutant)] = asdict(finding)
        self._write()

    def strike(self, mutant: Mutant) -> None:
        self._read()
        self._known.pop(_key(mutant), None)
        self._write()

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(self._known, indent=1))
        fresh.replace(self._file)


def _key(mutant: Mutant) -> str:
    return hashlib.sha256(f"{mutant.defence.path}\n{mutant.scope()}".encode()).hexdigest()[:24]


def digest(root: Path, files: tuple[str, ...]) -> str:
    """Of the contents of these files; one that is gone counts as empty."""
    whole = hashlib.sha256()
    for name in sorted(files):
        file = root / name
        whole.update(name.encode() + b"\0" + (file.read_bytes() if file.exists() else b"") + b"\0")
    return whole.hexdigest()[:24]
