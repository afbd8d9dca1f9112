"""Rule packs: files of password routes, ours by name and an operator's by path.

A file's rules replace its name in the data, with their lines, so that they are checked like the rest and workers need not read the file again.
`${NAME}` is not resolved in them.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.config.reading.problems import shown
from gateway.config.reading.sources import Resolved
from gateway.config.reading.yaml_document import Document, parse_document

PACKS: Final = Path(__file__).resolve().parents[2] / "policy" / "packs"
_SUFFIXES: Final = (".yaml", ".yml")
_LARGEST: Final = 1024 * 1024
_ALLOWED: Final = "allowed: a YAML file with `rules:`, relative to this configuration's folder"


def pack_names() -> tuple[str, ...]:
    """The rule packs that this installation has."""
    return tuple(sorted(path.stem for path in PACKS.glob("*.yaml")))


def is_pack_file(entry: object) -> bool:
    """Whether an entry of `password_routes` names a file, and not a pack of ours."""
    return isinstance(entry, str) and (entry.lower().endswith(_SUFFIXES) or "/" in entry)


def with_pack_files(source: Resolved, folder: Path) -> Resolved:
    """The source with the rules of every file of `password_routes`. Never raises; problems are in the result."""
    reader = _PackReader(source, folder)
    for parents, place in list(_entries(source.data)):
        reader.read(parents, place)
    return reader.result()


def _entries(data: Any) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    """Each entry of each `password_routes`: its container and its path."""
    apps = data.get("apps") if isinstance(data, dict) else None
    for name, app in apps.items() if isinstance(apps, dict) else ():
        given = app.get("password_routes") if isinstance(app, dict) else None
        if is_pack_file(given):
            given = app["password_routes"] = [given]
        if isinstance(given, list):
            yield from ((given, ("apps", name, "password_routes", index)) for index in range(len(given)))
        elif given is not None:
            yield app, ("apps", name, "password_routes")


class _PackReader:
    def __init__(self, source: Resolved, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._lines = dict(source.lines)
        self._files = dict(source.files)
        self._broken = set(source.broken)
        self._problems = list(source.problems)

    def result(self) -> Resolved:
        return dataclasses.replace(
            self._source,
            lines=self._lines,
            files=self._files,
            broken=frozenset(self._broken),
            problems=tuple(self._problems),
        )

    def read(self, parents: Any, place: tuple[str | int, ...]) -> None:
        entry, key = parents[place[-1]], shown(place)
        if isinstance(entry, dict) and "rules" in entry:
            self._complain(key, "holds rules of its own", "allowed: a rule, a pack's name, a file, or a list of these")
        elif is_pack_file(entry) and key not in self._broken:
            document = self._document(key, self._folder / entry)
            if document is not None:
                parents[place[-1]] = {"file": entry, "rules": document.data["rules"]}

    def _document(self, key: str, path: Path) -> Document | None:
        """The file's document; None, with problems, when it cannot be used at all."""
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST + 1)
            document = parse_document(text.decode("utf-8-sig"))
        except UnicodeDecodeError:
            self._complain(key, "names a file that is not UTF-8", _ALLOWED)
            return None
        except OSError as error:
            # SECURITY: a pack that is not there would leave every password route open (C-21).
            reason = (error.strerror or "unknown").lower()
            self._complain(key, f"names a file that cannot be read: {reason}", _ALLOWED)
            return None
        if len(text) > _LARGEST:
            self._complain(key, "names a file that is larger than 1MiB", _ALLOWED)
            return None
        self._files[key] = path.name
        self._lines |= {f"{key}.{inner}": line for inner, line in document.lines.items()}
        for problem in document.problems:
            inner = key if problem.key == "the file" else f"{key}.{problem.key}"
            self._problems.append(dataclasses.replace(problem, key=inner, file=path.name))
        if not isinstance(document.data, dict) or "rules" not in document.data:
            if not document.problems:
                self._complain(key, "names a file without `rules`", _ALLOWED)
            self._broken.add(key)
            return None
        for name in document.data.keys() - {"rules"}:
            self._add_problem(f"{key}.{name}", "is not a known key", "allowed: rules")
        return document

    def _complain(self, key: str, what: str, allowed: str) -> None:
        self._broken.add(key)
        self._add_problem(key, what, allowed)

    def _add_problem(self, key: str, what: str, allowed: str) -> None:
        self._problems.append(self.result().problem(key, what, allowed))
