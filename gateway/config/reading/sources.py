"""Values from outside the file: `${NAME}` and `DOORWARD__...` from the environment, `file:PATH` from files.

The file is parsed, overrides are applied, then `${NAME}` and `file:PATH` are resolved, so that no secret is ever parsed as YAML or resolved
again. A value from outside is `hidden`: no problem may show it.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from gateway.config.reading import schema_walk as tree
from gateway.config.reading.problems import Problem, is_below, shown, with_parents
from gateway.config.reading.yaml_document import Document, parse_document

PREFIX: Final = "DOORWARD__"
_LARGEST_FILE: Final = 256 * 1024
_BARE: Final = re.compile(r"(?:^|[\s:/@=])\$[A-Za-z_][A-Za-z0-9_]*(?=[\s:/@]|$)")
_WITH_BRACES: Final = "allowed: ${NAME}, or file:PATH; also for a secret that has a $ there itself"
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Plain data, fit for JSON, and what is known about it; all keys are shown paths.

    `origins`: key to the environment variable that overrides it. `hidden`: keys whose value came from outside the file.
    `broken`: keys whose value could not be had; they already have their problem. `files`: keys of rule packs to the names of their files.
    """

    data: Any = field(repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For another process: the data and where each value comes from, without the problems."""
        known = {"data": self.data, "lines": dict(self.lines), "origins": dict(self.origins), "files": dict(self.files)}
        return {**known, "hidden": sorted(self.hidden)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Resolved":
        """What `to_json` gave."""
        return cls(**{**told, "hidden": frozenset(told["hidden"])})

    def problem(self, key: str, what: str, allowed: str = "") -> Problem:
        """A problem with the line, or the variable, of its value."""
        for place in with_parents(key):
            if place in self.origins:
                return Problem(key=key, what=f"{what} (from {self.origins[place]})", allowed=allowed)
            if place in self.lines:
                file = next((name for pack, name in self.files.items() if is_below(place, pack)), None)
                return Problem(key=key, what=what, allowed=allowed, line=self.lines[place], file=file)
        return Problem(key=key, what=what, allowed=allowed)


def resolve(text: str, environ: Mapping[str, str], base_dir: Path) -> Resolved:
    """The data of a file's text. Relative paths are below `base_dir`. Never raises; problems are in the result."""
    document = parse_document(text)
    overrides = _Overrides(document, environ)
    resolver = _Resolver(document, overrides, environ, base_dir)
    data = resolver.value(document.data, (), tree.ROOT)
    return Resolved(
        data=data,
        lines=document.lines,
        origins=overrides.origins,
        hidden=frozenset(resolver.hidden | overrides.origins.keys()),
        broken=frozenset(resolver.broken),
        problems=tuple(document.problems),
    )


class _Overrides:
    """Puts the values of `DOORWARD__...` variables into the document's data."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document = document
        self.origins: dict[str, str] = {}
        self.verbatim: set[str] = set()
        for variable in sorted(environ):
            if variable.upper().startswith(PREFIX):
                self._apply(variable, environ[variable])

    def _complain(self, variable: str, what: str, allowed: str = "") -> None:
        self.document.problems.append(Problem(key=variable, what=what, allowed=allowed))

    def _apply(self, variable: str, text: str) -> None:
        path = self._path_of(variable)
        if not path:
            return
        key, kind = shown(path), tree.at(path)
        if key in self.origins:
            self._complain(variable, f"sets the same key as {self.origins[key]}", "allowed: one of them")
            return
        if tree.takes(kind, SecretStr):
            # A secret is taken as it is: no password may turn into a number, a list or a reference.
            value: Any = text
            if not text.startswith("file:"):
                self.verbatim.add(key)
        else:
            value = self._parsed(variable, text, kind)
        self._put(path, value)
        for known in [known for known in self.document.lines if known == key or is_below(known, key)]:
            del self.document.lines[known]
        self.origins[key] = variable

    def _parsed(self, variable: str, text: str, kind: Any) -> Any:
        inner = parse_document(text)
        wanted = (str, type(None)) if tree.takes(kind, type(None)) else (str,)
        if tree.takes_text(kind) and (inner.problems or not isinstance(inner.data, wanted)):
            return text
        for problem in inner.problems:
            self._complain(variable, problem.what, problem.allowed)
        return inner.data

    def _path_of(self, variable: str) -> tuple[str, ...]:
        """The path that a variable names; empty, with a problem, when it names none."""
        kind, data = tree.ROOT, self.document.data
        path: list[str] = []
        parts = variable[len(PREFIX) :].lower().split("__")
        for index, part in enumerate(parts):
            names = list(tree.keys_of(kind))
            if not names and tree.keys_of(tree.named(kind)):
                names = list(data) if isinstance(data, dict) else []
            if not names:
                above = PREFIX + "__".join(parts[:index]).upper()
                self._complain(variable, "names no key", f"allowed: {above} with the whole value")
                return ()
            spelt = {_spelling(name): name for name in names}
            if part not in spelt:
                near = difflib.get_close_matches(part, spelt, 1)
                so_far = [_spelling(name) for name in path]
                choice = near or list(spelt)
                names_allowed = ", ".join(PREFIX + "__".join([*so_far, name]).upper() for name in choice)
                self._complain(variable, "names no key", f"{'nearest' if near else 'allowed'}: {names_allowed}")
                return ()
            name = spelt[part]
            kind, data = tree.below(kind, name), data.get(name) if isinstance(data, dict) else None
            path.append(name)
        return tuple(path)

    def _put(self, path: tuple[str, ...], value: Any) -> None:
        if self.document.data is None:
            self.document.data = {}
        node = self.document.data
        for part in path[:-1]:
            if isinstance(node, dict):
                if node.get(part) is None:
                    node[part] = {}
                node = node[part]
        if isinstance(node, dict):  # otherwise the file has no section there, which is a problem of its own
            node[path[-1]] = value


def _spelling(name: str) -> str:
    """A name as an environment variable can spell it."""
    return name.lower().replace("-", "_")


class _Resolver:
    """Copies the data with `${NAME}` and `file:PATH` replaced, and relative paths made absolute."""

    def __init__(self, document: Document, overrides: _Overrides, environ: Mapping[str, str], base_dir: Path) -> None:
        self.document = document
        self.overrides = overrides
        self.environ = environ
        self.base_dir = base_dir
        self.hidden: set[str] = set()
        self.broken: set[str] = set()

    def value(self, value: Any, path: tuple[str | int, ...], kind: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.value(inner, (*path, key), tree.below(kind, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, (*path, index), tree.below(kind, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str) or shown(path) in self.overrides.verbatim:
            return value
        # SECURITY: nothing replaces $NAME, so the name itself, which can be guessed, would be the secret (C-21).
        if (tree.takes(kind, SecretStr) or tree.takes(tree.listed(kind), SecretStr)) and _BARE.search(value):
            self._complain(shown(path), "has a $NAME without braces, which nothing replaces", _WITH_BRACES)
            return value
        text = self._resolved_text(value, shown(path))
        if tree.takes(kind, Path) and text and not text.startswith("~"):
            return str(self.base_dir / text)
        return text

    def _complain(self, key: str, what: str, allowed: str) -> None:
        self.broken.add(key)
        place = Resolved(data=None, lines=self.document.lines, origins=self.overrides.origins)
        self.document.problems.append(place.problem(key, what, allowed))

    def _resolved_text(self, raw: str, key: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            self.hidden.add(key)
            if match[1] is None:
                self._complain(key, "has a ${ without a name and a }", "allowed: ${NAME}, or $${ for the characters ${")
            elif match[1] not in self.environ:
                self._complain(key, f"needs the environment variable {match[1]}, which is not set", "allowed: set it")
            else:
                return self.environ[match[1]]
            return match[0]

        text = _REFERENCE.sub(replaced, raw)
        if not raw.startswith("file:") or key in self.broken:
            return text
        name = "the file" if key in self.hidden else raw
        self.hidden.add(key)
        return self._file(key, Path(text.removeprefix("file:")), name)

    def _file(self, key: str, path: Path, name: str) -> str:
        """The text of a secret's file without one newline at its end."""
        allowed = "allowed: file:PATH of a readable file, relative to this configuration's folder"
        try:
            with (self.base_dir / path).open("rb") as file:
                content = file.read(_LARGEST_FILE + 1).decode()
        except UnicodeDecodeError:
            self._complain(key, f"{name} is not UTF-8", allowed)
            return ""
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
            self._complain(key, f"{name} cannot be read: {reason.lower()}", allowed)
            return ""
        # SECURITY: a secret file that is missing or empty must stop the start, not become an empty secret (C-21).
        content = content.removesuffix("\n").removesuffix("\r")
        if not content.strip() or len(content) > _LARGEST_FILE:
            self._complain(key, f"{name} is empty or too large", allowed)
        return content
