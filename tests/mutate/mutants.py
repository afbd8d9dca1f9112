"""How each defence is taken out.

By rule where the comment stands above a guard, or is the first thing in it (`if bad:` whose body raises, returns, goes on or yields a finding,
and no `else`): the condition becomes False.
Elsewhere, and where the rule would not take out the defence, `tests/mutants.yaml` says it:

    gateway/gate/admission.py:                     # the file
      - comment: for another method      # words of the comment, which no other comment of the file has; of one entry, or of several
        old: "methods = also | own"      # what stands under the comment, or else anywhere in its function (the file where it is in none)
        new: "methods = own"             # what stands there instead
        equivalent: ...                  # only where no test can fail by it: why
      - comment: ...
        edits:                           # where one change is not enough
          - {old: ..., new: ...}
        in: parse                        # where the change is in another function of the file

Raises MutantError for whatever does not fit the code any more.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from tests.mutate.defences import Defence, defences, guard_at

LIST: Final = "tests/mutants.yaml"
_KEYS: Final = frozenset(("comment", "old", "new", "edits", "in", "equivalent"))


class MutantError(Exception):
    """A comment without a mutant, a mutant without a comment, or one that is no change or no Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`source`: the whole file without the defence, `before`: as it is. `said`: the change, on one line."""

    defence: Defence
    said: str
    source: str
    before: str
    equivalent: str | None = None

    def scope(self) -> str:
        """What the change is, whatever stands around the changed functions."""
        return _changed_functions(self.before, self.source)


def mutants(root: Path) -> tuple[list[Mutant], list[str]]:
    """All of them, in the order of the files, and what is wrong."""
    listed: dict[str, list[dict[str, Any]]] = yaml.safe_load((root / LIST).read_text()) or {}
    found: list[Mutant] = []
    wrong: list[str] = []
    by_file: dict[str, list[Defence]] = {}
    for defence in defences(root):
        by_file.setdefault(defence.path, []).append(defence)
    for path in sorted(listed.keys() - by_file.keys()):
        wrong.append(f"{LIST}: {path} has no # SECURITY: comment")
    for path, its in by_file.items():
        source = (root / path).read_text()
        entries, misplaced = _placed(path, its, listed.get(path, []))
        wrong += misplaced
        for defence in its:
            try:
                found += _of(defence, source, entries.get(defence.line, []))
            except MutantError as error:
                wrong.append(f"{defence}: {error}")
    return found, wrong


def _placed(
    path: str, its: list[Defence], entries: list[dict[str, Any]]
) -> tuple[dict[int, list[dict[str, Any]]], list[str]]:
    """Entries by the line of the comment that they are about, and what is wrong."""
    placed: dict[int, list[dict[str, Any]]] = {}
    wrong: list[str] = []
    for entry in entries:
        words = " ".join(str(entry.get("comment", "")).split())
        about = [defence for defence in its if words and words in defence.text]
        if unknown := sorted(entry.keys() - _KEYS):
            wrong.append(f"{LIST}: {path}, {words!r}: unknown keys {unknown}; allowed: {sorted(_KEYS)}")
        elif len(about) != 1:
            wrong.append(f"{LIST}: {path}, {words!r}: {len(about)} comments have these words; allowed: words of one")
        else:
            placed.setdefault(about[0].line, []).append(entry)
    return placed, wrong


def _of(defence: Defence, source: str, entries: list[dict[str, Any]]) -> Iterator[Mutant]:
    if entries:
        for entry in entries:
            yield _listed(defence, source, entry)
        return
    guard = guard_at(defence, source)
    if guard is None or guard.orelse or not _ends(guard.body[-1]):
        raise MutantError(f"it stands at no guard: {LIST} has to say how this defence is taken out")
    yield _guard_off(defence, source, guard.test)


def _ends(statement: ast.stmt) -> bool:
    tells = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield)
    return tells or isinstance(statement, ast.Raise | ast.Return | ast.Continue | ast.Break)


def _guard_off(defence: Defence, source: str, test: ast.expr) -> Mutant:
    lines = source.splitlines(keepends=True)
    begin = _offset(lines, test.lineno, test.col_offset)
    end = _offset(lines, test.end_lineno or 0, test.end_col_offset or 0)
    raw = source.encode()
    changed = (raw[:begin] + b"False" + raw[end:]).decode()
    return _mutant(defence, source, changed, "the condition below is False")


def _offset(lines: list[str], line: int, column: int) -> int:
    return sum(len(text.encode()) for text in lines[: line - 1]) + column


def _listed(defence: Defence, source: str, entry: dict[str, Any]) -> Mutant:
    edits = entry.get("edits") or [{"old": entry.get("old"), "new": entry.get("new")}]
    first, last, below = defence.first, defence.last, defence.below
    if entry.get("in"):
        first, last = _span(source, str(entry["in"]))
        below = first
    changed = source
    for edit in edits:
        old, new = edit.get("old"), edit.get("new")
        if not isinstance(old, str) or not isinstance(new, str) or not old.strip():
            raise MutantError("an entry needs both old and new")
        changed = _replaced(changed, old, new, (first, last + changed.count("\n") - source.count("\n"), below))
    said = "; ".join(f"{_short(edit['old'])} -> {_short(edit['new'])}" for edit in edits)
    mutant = _mutant(defence, source, changed, said)
    why = entry.get("equivalent")
    return replace(mutant, equivalent=str(why)) if why else mutant


def _replaced(source: str, old: str, new: str, span: tuple[int, int, int]) -> str:
    first, last, below = span
    lines = source.splitlines(keepends=True)
    start, end = (sum(map(len, lines[:count])) for count in (first - 1, last))
    under = sum(map(len, lines[: below - 1]))
    at = source.find(old, under, end)
    if at < 0:
        at = source.find(old, start, end)
        if at < 0:
            raise MutantError(f"its function has no {_short(old)!r}")
        if source.find(old, at + 1, end) >= 0:
            raise MutantError(f"its function has {_short(old)!r} more than once, and not under the comment")
    return source[:at] + new + source[at + len(old) :]


def _span(source: str, name: str) -> tuple[int, int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            return node.lineno, node.end_lineno or 0
    raise MutantError(f"the file has no function {name}")


def _mutant(defence: Defence, source: str, changed: str, said: str) -> Mutant:
    if changed == source:
        raise MutantError(f"the change changes nothing: {said}")
    try:
        compile(changed, defence.path, "exec")
    except SyntaxError as error:
        raise MutantError(f"{said}: no Python any more: {error}") from error
    return Mutant(defence=defence, said=said, source=changed, before=source)


def _changed_functions(source: str, changed: str) -> str:
    """The changed functions as they are now and as they were, without what stands around them."""
    before, after = (
        {node.name + str(number): ast.unparse(node) for number, node in enumerate(_defined(text))}
        for text in (source, changed)
    )
    differ = [f"{before.get(name)}\n->\n{text}" for name, text in after.items() if before.get(name) != text]
    return "\n".join(differ) or changed


def _defined(text: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 80 else words[:77] + "..."
