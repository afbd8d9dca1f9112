"""From a file to a Config, or to all of its problems.

`load` reads the file once, in the parent process; `build` makes the Config again from the plain data, in the workers, without reading any file.
A value that is wrong is reported and then set aside, so that everything that does not depend on it is checked too.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config.checks import consistency, files, page_texts, safety
from gateway.config.overlay import NOTHING_SAVED, SavedSettings, overlaid
from gateway.config.reading.messages import Fault, faults
from gateway.config.reading.packs import with_pack_files
from gateway.config.reading.problems import ConfigInvalid, Finding, Problem, is_below, overlap
from gateway.config.reading.sources import Resolved, resolve
from gateway.config.schema import Config, PackFile, PackRule

__all__ = [
    "ConfigInvalid",
    "Loaded",
    "Problem",
    "Resolved",
    "build",
    "judged",
    "load",
    "load_config",
    "read",
    "resolve",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`data` is for `build`: plain data that fits JSON, with every secret in it."""

    config: Config
    data: dict[str, Any] = field(repr=False)


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration of a file. Raises ConfigInvalid."""
    return load(path, environ).config


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """The configuration of a file, with its data for the workers. Raises ConfigInvalid."""
    return judged(read(path, environ))


def judged(source: Resolved, saved: SavedSettings = NOTHING_SAVED) -> Loaded:
    """The configuration of a source with what was saved over it. Raises ConfigInvalid."""
    source = overlaid(source, saved)
    return Loaded(config=_judged(source, with_files=True), data=source.data)


def read(path: Path, environ: Mapping[str, str]) -> Resolved:
    """The data of a file, with the problems of reading it. Raises ConfigInvalid for a file that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigInvalid([Problem(key=str(path), what="is not UTF-8", allowed="allowed: a YAML file")]) from None
    except OSError as error:
        what = f"cannot be read: {(error.strerror or 'unknown').lower()}"
        raise ConfigInvalid([Problem(key=str(path), what=what, allowed="allowed: a YAML file")]) from error
    folder = path.absolute().parent
    return with_pack_files(resolve(text, environ, folder), folder)


def load_pack_file(path: Path) -> tuple[PackRule, ...]:
    """The rules of one pack file, checked as in a configuration. Raises ConfigInvalid."""
    app = {"hosts": ["pack.invalid"], "upstream": "http://127.0.0.1:1", "password_routes": [str(path)]}
    source = with_pack_files(Resolved(data={"apps": {"pack": app}}), Path.cwd())
    judge = _Judge(source)
    config = judge.validated()
    if config is not None:
        judge.conclude(consistency.password_routes("apps.pack", config.apps["pack"]))
    if judge.problems or config is None:
        place = "apps.pack.password_routes[0]"
        raise ConfigInvalid(
            dataclasses.replace(problem, key=problem.key.removeprefix(f"{place}.").replace(place, str(path)))
            for problem in judge.problems
        )
    return tuple(
        rule for entry in config.apps["pack"].password_routes if isinstance(entry, PackFile) for rule in entry.rules
    )


def build(data: dict[str, Any], lines: Mapping[str, int] | None = None) -> Config:
    """A Config from resolved data, without reading any file. Raises ConfigInvalid."""
    return _judged(Resolved(data=data, lines=lines or {}), with_files=False)


def _judged(source: Resolved, *, with_files: bool) -> Config:
    judge = _Judge(source)
    config = judge.validated()
    if config is not None:
        judge.conclude(_findings(config, with_files))
    if judge.problems or config is None:
        raise ConfigInvalid(judge.problems)
    return config


def _findings(config: Config, with_files: bool) -> Iterator[Finding]:
    yield from consistency.findings(config)
    yield from safety.refusals(config)
    yield from page_texts.findings(config)
    if with_files:
        yield from files.findings(config)


class _Judge:
    """Collects problems. `broken` are the keys whose values are wrong, so that no finding may depend on them."""

    def __init__(self, source: Resolved) -> None:
        self.source = source
        self.problems = list(source.problems)
        self.broken = set(source.broken)
        self.data = copy.deepcopy(source.data)

    def validated(self) -> Config | None:
        """The Config without the values that are wrong; None where there is none."""
        if not isinstance(self.data, dict):
            if not self.problems:
                self.problems.append(Problem(key="the file", what="is not a mapping", allowed="allowed: key: value"))
            return None
        for _ in range(20):
            try:
                return Config.model_validate(self.data)
            except ValidationError as error:
                for fault in list(faults(error, self.source, self.data)):
                    self._note(fault)
                    _set_aside(self.data, fault)
        return None

    def conclude(self, found: Iterator[Finding]) -> None:
        for finding in found:
            if not finding.depends_on(self.broken):
                self.problems.append(self.source.problem(finding.key, finding.what, finding.allowed))

    def _note(self, fault: Fault) -> None:
        key = fault.problem.key
        if not any(_follows_from(fault, known) for known in self.broken):
            self.problems.append(fault.problem)
        self.broken.add(key)
        if fault.instead is not None:
            self.broken.add(fault.instead)


def _follows_from(fault: Fault, known: str) -> bool:
    """Whether a fault follows from a key that is known to be wrong: what was set aside is missing afterwards."""
    key = fault.problem.key
    return key == known or is_below(key, known) or (fault.missing and overlap(key, known))


def _set_aside(data: Any, fault: Fault) -> None:
    """Take a wrong value out of the data, or fill in a missing one, so that it does not hide other problems."""
    parents: list[Any] = []
    node: Any = data
    for part in fault.place[:-1]:
        parents.append(node)
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return  # gone already, with what it stood in
    last = fault.place[-1]
    if fault.missing:
        node[last] = _filler(fault)
    elif isinstance(node, dict):
        node.pop(last, None)
    elif isinstance(node, list) and "hosts" in fault.place:
        node[int(last)] = f"broken-{last}.invalid"
    elif isinstance(node, list) and parents:
        # The whole list: the others' positions stand in problems.
        parents[-1].pop(fault.place[-2], None) if isinstance(parents[-1], dict) else node.clear()


def _filler(fault: Fault) -> Any:
    """A valid value for a required key; no finding depends on it."""
    last = str(fault.place[-1])
    if last == "match":
        return "* /" if "password_routes" in fault.place else ["* /"]
    return copy.deepcopy(_FILLERS.get(last, "missing"))


_FILLERS: dict[str, Any] = {
    "hosts": ["missing.invalid"],
    "upstream": "http://127.0.0.1:1",
    "apps": {},
    "base_url": "https://missing.invalid",
    "username": "missing",
    "password": "missing",
    "token": "missing",
    "business_ids": [1],
    "requests": {"find": {"path": "/"}, "fetch": {"path": "/"}},
    "find": {"path": "/"},
    "fetch": {"path": "/"},
    "path": "/",
    "answer": {"id": "/id", "email": "/email"},
    "id": "/id",
    "email": "/email",
}
