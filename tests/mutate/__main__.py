"""Runs the mutants: the tests that name their cases, then the whole suite for those that are left. Non-zero when one is left that is not equivalent.

python -m tests.mutate                 all of them; what was found before counts while nothing of it changed
python -m tests.mutate WORD ...        those whose file, function or comment holds one of the words
python -m tests.mutate --named         without the suite
python -m tests.mutate --again         what was found before does not count
python -m tests.mutate --check         whether each comment has a mutant that fits the code; runs none
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from tests.mutate.defences import files_naming, files_near
from tests.mutate.kept import Finding, Kept, digest
from tests.mutate.mutants import LIST, Mutant, mutants
from tests.mutate.trial import Copy, Outcome

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "build" / "mutate"
_NAMED_SECONDS: Final = 300.0
_FILES_SECONDS: Final = 900.0
_SUITE_SECONDS: Final = 3600.0
_NOT_OF_THE_SUITE: Final = ("tests/unit/mutate", "tests/test_architecture.py", "tests/test_docs.py")


class Run:
    """One run over some mutants."""

    def __init__(self, *, suite: bool, again: bool) -> None:
        self._suite = suite
        self._again = again
        self._kept = Kept(ROOT, FOLDER / "found.json")
        self._copy = Copy(ROOT, FOLDER / f"tree-{os.getpid()}")

    def all(self, wanted: list[Mutant]) -> list[tuple[Mutant, Finding]]:
        for left in FOLDER.glob("tree-*"):  # by a run that was ended from outside
            if not Path("/proc", left.name.removeprefix("tree-")).exists():
                shutil.rmtree(left, ignore_errors=True)
        self._copy.make()
        try:
            found = [self._one(f"{number:4}/{len(wanted)}", mutant) for number, mutant in enumerate(wanted, 1)]
            return self._confirmed(found)
        finally:
            shutil.rmtree(self._copy.folder, ignore_errors=True)

    def _one(self, number: str, mutant: Mutant) -> tuple[Mutant, Finding]:
        began = time.monotonic()
        before = self._kept.find(mutant) if not self._again else None
        if before is not None and not (self._suite and before.verdict == "tests"):
            print(f"{number} {before.verdict:8} before   {mutant.defence} {before.by}", flush=True)
            return mutant, before
        finding = self._judge(mutant, named=before is None)
        if finding.verdict != "invalid":
            self._kept.keep(mutant, finding)
        print(
            f"{number} {finding.verdict:8} {time.monotonic() - began:5.0f} s  {mutant.defence} {finding.by}", flush=True
        )
        return mutant, finding

    def _judge(self, mutant: Mutant, *, named: bool) -> Finding:
        """`named`: with the tests that name its cases and those of its package, which come before the suite."""
        naming = files_naming(self._copy.folder, mutant.defence)
        nodes = [node for each in naming for node in each.nodes]
        files = list(dict.fromkeys([*files_near(self._copy.folder, mutant.defence), *(each.file for each in naming)]))
        hint = [
            node for node in [self._kept.hint(mutant)] if Path(self._copy.folder, node.partition("::")[0]).is_file()
        ]
        stages = [(hint, _NAMED_SECONDS), (nodes, _NAMED_SECONDS), (files, _FILES_SECONDS)] if named else []
        if self._suite:
            stages.append((self._whole(), _SUITE_SECONDS))
        with self._copy.without(mutant):
            for tests, seconds in stages:
                outcome = self._copy.run(tests, seconds) if tests else Outcome(0)
                if tests is hint and not outcome.found:
                    continue  # it may be gone, or have another name
                if (finding := self._finding(outcome)) is not None:
                    return finding
        decide = self._all_files() if self._suite else tuple(files)
        return Finding(
            verdict="suite" if self._suite else "tests", digest=digest(self._copy.folder, decide), files=decide
        )

    def _finding(self, outcome: Outcome) -> Finding | None:
        """None: nothing was found."""
        if outcome.passed:
            return None
        if outcome.code is None:
            return Finding(verdict="timeout", digest=digest(self._copy.folder, ()))
        files = (outcome.failed.partition("::")[0],) if outcome.failed else ()
        if outcome.found:
            return Finding(verdict="killed", by=outcome.failed, digest=digest(self._copy.folder, files), files=files)
        return Finding(verdict="invalid", by=outcome.said)

    @staticmethod
    def _whole() -> list[str]:
        return ["tests", *(f"--ignore={path}" for path in _NOT_OF_THE_SUITE)]

    def _all_files(self) -> tuple[str, ...]:
        files = [
            str(file.relative_to(self._copy.folder)) for file in sorted((self._copy.folder / "tests").rglob("*.py"))
        ]
        return tuple(file for file in files if not file.startswith((*_NOT_OF_THE_SUITE, "tests/mutate", "tests/e2e")))

    def _confirmed(self, found: list[tuple[Mutant, Finding]]) -> list[tuple[Mutant, Finding]]:
        """A test that fails on the tree as it is has found nothing: what it was taken for is struck, and judged in the next run."""
        killers = sorted({finding.by for _, finding in found if finding.verdict == "killed"})
        sound = self._copy.run(killers, _SUITE_SECONDS, first=False) if killers else Outcome(0)
        if sound.passed:
            return found
        broken = {name for name in killers if name in sound.said or not self._copy.run([name], _NAMED_SECONDS).passed}
        for mutant, finding in found:
            if finding.by in broken:
                self._kept.strike(mutant)
        print(f"fail without any mutant: {', '.join(sorted(broken))}", flush=True)
        return [(m, Finding(verdict="unsure", by=f.by) if f.by in broken else f) for m, f in found]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make mutate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    parser.add_argument("--named", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    everything, wrong = mutants(ROOT)
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    if asked.check:
        print(f"{len(everything)} mutants for {len({str(mutant.defence) for mutant in everything})} defences")
        return 1 if wrong else 0
    wanted = [mutant for mutant in everything if not asked.words or _is_about(mutant, asked.words)]
    found = Run(suite=not asked.named, again=asked.again).all(wanted)
    return 1 if _told(found) or wrong else 0


def _is_about(mutant: Mutant, words: list[str]) -> bool:
    text = f"{mutant.defence} {mutant.defence.name} {mutant.defence.text}"
    return any(word in text for word in words)


def _told(found: list[tuple[Mutant, Finding]]) -> int:
    """Prints what was not found, and how many are of each kind; how many must not stay so."""
    by_verdict: dict[str, int] = {}
    bad = 0
    for mutant, finding in found:
        verdict = finding.verdict if finding.verdict not in ("tests", "suite") else "survived"
        by_verdict[verdict] = by_verdict.get(verdict, 0) + 1
        if verdict in ("killed", "timeout"):
            if mutant.equivalent is not None:
                bad += 1
                print(f"{mutant.defence} ({LIST} calls it equivalent) was found by {finding.by}")
            continue
        kind = f"equivalent: {mutant.equivalent}" if mutant.equivalent is not None else verdict.upper()
        bad += mutant.equivalent is None
        print(
            f"{mutant.defence} {mutant.defence.name} {', '.join(mutant.defence.cases)}: {mutant.said}\n    {kind} {finding.by}"
        )
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(by_verdict.items())))
    return bad


if __name__ == "__main__":
    sys.exit(main())
