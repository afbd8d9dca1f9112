"""`make mutate`: what it takes out, what it refuses, what it remembers; and what becomes of a mutant."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from tests.mutate.defences import defences, files_naming, files_near
from tests.mutate.kept import Finding, Kept, digest
from tests.mutate.mutants import Mutant, mutants
from tests.mutate.trial import Copy

GUARDS = """
def door(knock):
    # SECURITY: nobody comes in twice (A-01).
    if knock == "twice":
        raise ValueError
    # A comment of two lines.
    # SECURITY: nor loud,
    # nor late (B-02, C-03).
    if (
        knock == "loud"
        or knock == "late"
    ):
        return None
    return knock
"""
TESTS = """
import pytest
from gateway.doors import door

def test_twice():
    '''A-01.'''
    with pytest.raises(ValueError):
        door("twice")

def test_any():
    assert door("a") == "a"
"""


def a_tree(folder: Path, source: str = GUARDS, listed: dict[str, Any] | None = None, tests: str = TESTS) -> Path:
    for name, text in {
        "gateway/__init__.py": "",
        "gateway/doors.py": dedent(source),
        "tests/mutants.yaml": yaml.safe_dump(listed or {}),
        "tests/unit/test_doors.py": dedent(tests),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def made(folder: Path, source: str = GUARDS, *entries: dict[str, Any]) -> list[Mutant]:
    found, wrong = mutants(a_tree(folder, source, {"gateway/doors.py": list(entries)} if entries else None))
    assert wrong == []
    return found


def wrong(folder: Path, source: str = GUARDS, *entries: dict[str, Any]) -> list[str]:
    return mutants(a_tree(folder, source, {"gateway/doors.py": list(entries)} if entries else None))[1]


def door_of(mutant: Mutant) -> Any:
    names: dict[str, Any] = {}
    exec(mutant.source, names)
    return names["door"]


# --- what is found ----------------------------------------------------------------------------------------------------


def test_a_comment_has_its_cases_its_function_and_its_tests(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    twice, loud = defences(tree)
    assert (str(twice), twice.name, twice.cases) == ("gateway/doors.py:3", "door", ["A-01"])
    assert (loud.line, loud.text, loud.cases) == (7, "nor loud, nor late (B-02, C-03).", ["B-02", "C-03"])
    (named,) = files_naming(tree, twice)
    assert (named.file, named.nodes) == ("tests/unit/test_doors.py", ("tests/unit/test_doors.py::test_twice",))
    assert files_naming(tree, loud) == []
    assert files_near(tree, loud) == ["tests/unit/test_doors.py"]


def test_a_guard_is_never_true(tmp_path: Path) -> None:
    twice, loud = made(tmp_path)
    assert door_of(twice)("twice") == "twice"
    assert door_of(twice)("loud") is None
    assert door_of(loud)("late") == door_of(loud)("late") == "late"
    with pytest.raises(ValueError):
        door_of(loud)("twice")


@pytest.mark.parametrize("last", ["raise ValueError", "return None", "yield knock"])
def test_a_comment_may_be_the_first_thing_in_its_guard(tmp_path: Path, last: str) -> None:
    source = f"def door(knock):\n    if knock:\n        # SECURITY: (A-01).\n        what = 1\n        {last}\n    return what\n"
    (mutant,) = made(tmp_path, source)
    assert "if False:" in mutant.source


@pytest.mark.parametrize(
    "below",
    [
        "knock = knock.strip()\n    return knock",
        "if knock:\n        return knock\n    else:\n        return None",
        "if knock:\n        knock = None\n    return knock",
        "try:\n        return knock\n    except ValueError:\n        return None",
        "return knock",
    ],
)
def test_a_comment_above_anything_else_needs_an_entry(tmp_path: Path, below: str) -> None:
    source = f"def door(knock):\n    # SECURITY: (A-01).\n    {below}\n"
    (said,) = wrong(tmp_path, source)
    assert said.startswith("gateway/doors.py:2: it stands at no guard")


# --- what is listed ---------------------------------------------------------------------------------------------------

PLAIN = """
def other():
    return "x" + "y"

def door(knock):
    before = "x" + "y"
    # SECURITY: strangers have no say (A-01).
    after = "x" + "y"
    return before, after, other()
"""


def test_an_entry_changes_what_stands_under_the_comment_first(tmp_path: Path) -> None:
    (mutant,) = made(tmp_path, PLAIN, {"comment": "strangers have no", "old": ' + "y"', "new": ""})
    assert door_of(mutant)("") == ("xy", "x", "xy")
    (mutant,) = made(tmp_path, PLAIN, {"comment": "strangers", "old": 'before = "x" + "y"', "new": "before = 1"})
    assert door_of(mutant)("") == (1, "xy", "xy")
    (mutant,) = made(tmp_path, PLAIN, {"comment": "strangers", "in": "other", "old": ' + "y"', "new": ""})
    assert door_of(mutant)("") == ("xy", "xy", "x")


def test_an_entry_may_be_one_of_several_and_several_changes(tmp_path: Path) -> None:
    edits = [{"old": '"x"', "new": "'a' * 9"}, {"old": '"y"', "new": "'b'"}]
    one, other = made(
        tmp_path, PLAIN, {"comment": "strangers", "edits": edits}, {"comment": "no say", "old": '"x"', "new": "''", "equivalent": "so"}
    )  # fmt: skip
    assert door_of(one)("")[1] == "a" * 9 + "b"
    assert (door_of(other)("")[1], other.equivalent, one.equivalent) == ("y", "so", None)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"comment": "of nobody", "old": "x", "new": "y"}, "0 comments have these words"),
        ({"comment": "", "old": "x", "new": "y"}, "0 comments have these words"),
        ({"comment": "strangers", "old": "gone", "new": "y"}, "has no 'gone'"),
        ({"comment": "strangers", "old": "x"}, "needs both old and new"),
        ({"comment": "strangers", "old": "after =", "new": "after ="}, "changes nothing"),
        ({"comment": "strangers", "old": "after =", "new": "after = ("}, "no Python any more"),
        ({"comment": "strangers", "old": "x", "new": "y", "why": "z"}, "unknown keys ['why']"),
        ({"comment": "strangers", "in": "nowhere", "old": "x", "new": "y"}, "has no function nowhere"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    found = wrong(tmp_path, PLAIN, entry)
    assert any(said in line for line in found), found


def test_words_that_two_comments_have_and_files_without_a_comment_are_refused(tmp_path: Path) -> None:
    (said,) = wrong(tmp_path, GUARDS, {"comment": "no", "old": "x", "new": "y"})
    assert "2 comments have these words" in said
    tree = a_tree(tmp_path, GUARDS, {"gateway/gone.py": [{"comment": "x", "old": "x", "new": "y"}]})
    assert mutants(tree)[1] == ["tests/mutants.yaml: gateway/gone.py has no # SECURITY: comment"]


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_a_finding_counts_while_the_mutant_and_its_tests_are_the_same(tmp_path: Path) -> None:
    twice, loud = made(tmp_path)
    files = ("tests/unit/test_doors.py",)
    finding = Finding(verdict="killed", by="x", digest=digest(tmp_path, files), files=files)
    Kept(tmp_path, tmp_path / "found.json").keep(twice, finding)
    kept = Kept(tmp_path, tmp_path / "found.json")
    assert (kept.find(twice), kept.find(loud)) == (finding, None)
    moved, _ = made(tmp_path, "# a line more\n" + GUARDS)
    assert kept.find(moved) == finding
    other, _ = made(tmp_path, GUARDS.replace("return knock\n", "return str(knock)\n"))
    assert kept.find(other) is None
    a_tree(tmp_path, tests=TESTS + "\n")
    assert kept.find(twice) is None


# --- what becomes of one ----------------------------------------------------------------------------------------------


def test_a_mutant_is_tested_in_a_copy_and_leaves_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "root"
    twice, loud = made(root)
    copy = Copy(root, root / "build" / "tree")
    copy.make()
    with copy.without(twice):
        outcome = copy.run(["tests/unit"], 60)
        assert (root / "gateway/doors.py").read_text() == dedent(GUARDS)
    assert (outcome.found, outcome.failed) == (True, "tests/unit/test_doors.py::test_twice")
    assert copy.run(["tests/unit"], 60).passed
    with copy.without(loud):
        assert copy.run(["tests/unit"], 60).passed


def test_a_mutant_that_hangs_is_ended_and_one_that_cannot_be_imported_is_no_finding(tmp_path: Path) -> None:
    root = tmp_path / "root"
    hangs, _ = made(
        root, GUARDS, {"comment": "in twice", "old": "raise ValueError", "new": "\n        while True: pass"}
    )
    copy = Copy(root, tmp_path / "tree")
    copy.make()
    with copy.without(hangs):
        outcome = copy.run(["tests/unit"], 3)
    assert (outcome.code, outcome.passed, outcome.found) == (None, False, False)
    broken, _ = made(
        root, GUARDS, {"comment": "in twice", "in": "door", "old": "def door(knock):", "new": "def door(knock=gone):"}
    )
    with copy.without(broken):
        outcome = copy.run(["tests/unit"], 60)
    assert (outcome.passed, outcome.found) == (False, False)
    assert "NameError" in outcome.said
