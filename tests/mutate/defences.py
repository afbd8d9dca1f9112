"""The `# SECURITY:` comments, the code that each stands above, and the tests that name its cases."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CASE: Final = re.compile(r"\b[A-D]-\d\d\b")
#: Those that `make test` does not run, or that are about this tool.
_NOT_RUN: Final = ("tests/e2e/", "tests/unit/mutate/", "tests/test_architecture.py", "tests/test_docs.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """A comment and where it stands. Lines count from 1; `first` to `last` is the function around it, or the whole file."""

    path: str
    line: int
    below: int  # the line after the comment
    name: str  # of the function, with its classes; "" where there is none
    first: int
    last: int
    text: str

    @property
    def cases(self) -> list[str]:
        return CASE.findall(self.text)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def defences(root: Path) -> list[Defence]:
    """Every one in `gateway/`."""
    found: list[Defence] = []
    for file in sorted((root / "gateway").rglob("*.py")):
        source = file.read_text()
        if "SECURITY:" in source:
            found += _in_file(str(file.relative_to(root)), source)
    return found


def _in_file(path: str, source: str) -> Iterator[Defence]:
    lines = source.count("\n") + 1
    functions = list(_functions(ast.parse(source)))
    for line, below, text in _comments(source):
        around = [(name, node) for name, node in functions if _begin(node) <= line <= (node.end_lineno or 0)]
        name, first, last = "", 1, lines
        if around:
            name, node = around[-1]  # the innermost: it comes after those around it
            first, last = _begin(node), node.end_lineno or 0
        yield Defence(path=path, line=line, below=below, name=name, first=first, last=last, text=text)


def _begin(node: Function) -> int:
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield above + node.name, node
        yield from _functions(node, f"{above}{node.name}." if isinstance(node, Function | ast.ClassDef) else above)


def _comments(source: str) -> Iterator[tuple[int, int, str]]:
    """(first line, line after it, text from the mark on) of each block of comment lines with a mark; each mark begins one of its own."""
    first = last = 0
    words: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("# ")
        begins = "SECURITY:" in text
        if words and (begins or token.start[0] != last + 1):
            yield first, last + 1, " ".join(words)
            words = []
        if begins:
            first, words = token.start[0], [text.partition("SECURITY:")[2].strip()]
        elif words:
            words.append(text)
        last = token.start[0]
    if words:
        yield first, last + 1, " ".join(words)


def guard_at(defence: Defence, source: str) -> ast.If | None:
    """The `if` under the comment, or the one whose body begins with it."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    below = [node for node in nodes if defence.below <= node.lineno <= defence.last]
    statement = min(below, key=lambda node: (node.lineno, node.col_offset), default=None)
    if isinstance(statement, ast.If):
        return statement
    around = [node for node in nodes if isinstance(node, ast.If) and node.body[0] is statement]
    return next((node for node in around if node.lineno < defence.line), None)


# --- tests ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """The tests of one file that name a case. `nodes`: pytest's names for them."""

    file: str
    nodes: tuple[str, ...]


def files_naming(root: Path, defence: Defence) -> list[Named]:
    """The files that name one of its cases: those first that are about its module, then the small ones."""
    found = [
        Named(file, tuple(nodes))
        for file, (cases, functions) in _test_files(root).items()
        if cases & {*defence.cases}
        for nodes in [[node for node, named in functions if named & {*defence.cases}]]
    ]
    words = [word for word in re.split(r"[/_.]", defence.path.removeprefix("gateway/").removesuffix(".py")) if word]

    def distance(named: Named) -> tuple[int, int]:
        near = len({*words} & {*re.split(r"[/_.]", named.file)})
        return -near, (root / named.file).stat().st_size

    return sorted(found, key=distance)


def files_near(root: Path, defence: Defence) -> list[str]:
    """The unit tests of its package, those first that are about its module: they may hold it without naming the case."""
    *folders, module = defence.path.removeprefix("gateway/").removesuffix(".py").split("/")
    near = f"tests/unit/{folders[0]}/" if folders else "tests/unit/test_"  # of a package within another, too
    files = [file for file in _test_files(root) if file.startswith(near)]
    return sorted(files, key=lambda file: (module not in file, (root / file).stat().st_size))


@cache
def _test_files(root: Path) -> dict[str, tuple[set[str], list[tuple[str, set[str]]]]]:
    """By file: the cases it names anywhere, and those that each of its tests names."""
    files: dict[str, tuple[set[str], list[tuple[str, set[str]]]]] = {}
    for file in sorted((root / "tests").rglob("test_*.py")):
        path = str(file.relative_to(root))
        if path.startswith(_NOT_RUN):
            continue
        source = file.read_text()
        tests = [
            (f"{path}::{name.replace('.', '::')}", {*CASE.findall(_segment(source, node))})
            for name, node in _functions(ast.parse(source))
            if node.name.startswith("test_")
        ]
        files[path] = {*CASE.findall(source)}, tests
    return files


def _segment(source: str, node: Function) -> str:
    return "\n".join(source.splitlines()[_begin(node) - 1 : node.end_lineno])
