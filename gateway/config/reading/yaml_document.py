"""One YAML document as plain data, with the line of every key, and every key that is given twice.

Pure. YAML's safe subset and less: text, numbers, true and false, null, lists, mappings. No tags, no merge keys, no dates;
a key is always its text (`on:` is not true). An error of YAML's reader is reported without repeating a piece of
the file, which may be a secret.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gateway.config.reading.problems import Problem, shown

_DEEPEST: Final = 40
_MOST: Final = 50_000  # values after aliases: ten lines of YAML can stand for billions
_TEXT: Final = "tag:yaml.org,2002:str"
_TYPED: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_AS_TEXT: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "merge", "value"))

Place = tuple[str | int, ...]

_QUOTED: Final = "the value in quotes"
_ALIGNED: Final = "keys of one section that begin in the same column, each as key: value"
#: Words of an error and its context in PyYAML's scanner, parser and composer; the first that fits counts.
_ERRORS: Final = (
    ("found character '\\t'", "a tab begins the line or the value", "blanks, as many for each key of a section"),
    ("that cannot start any token", "a value begins with @, `, % or another sign of YAML", _QUOTED),
    ("mapping values are not allowed", "a second ': ' on a line, or a line that stands further in than the one above",
     f"one key: value a line; {_QUOTED} where it has ': ' in it"),
    ("mapping keys are not allowed", "a key where none can stand", _ALIGNED),
    ("sequence entries are not allowed", "a list begins behind a key on its line", "each '- entry' on a line of its own, or [one, two]"),
    ("scanning an alias", "a value begins with * outside of quotes", f'{_QUOTED}, as "* /admin/**"'),
    ("undefined alias", "a value begins with * outside of quotes", f'{_QUOTED}, as "* /admin/**"'),
    ("scanning an anchor", "a value begins with & outside of quotes", _QUOTED),
    ("quoted scalar: found unexpected", "a quote that was opened is not closed", "a quote at both ends of the value"),
    ("escape", "a backslash between double quotes that means nothing", "single quotes, where a backslash is itself, or \\\\"),
    ("parsing a flow sequence", "a list in [ ] is not closed, or lacks a comma", "[one, two], each entry with a special sign in quotes"),
    ("parsing a flow mapping", "a section in { } is not closed, or lacks a comma", "{key: value, other: value}"),
    ("expected the node content", "a bracket, a comma or another sign where a value belongs", _QUOTED),
    ("could not find expected ':'", "a line without a colon behind its key, in this line or the one above",
     "key: value, with a blank behind the colon"),
    ("parsing a block collection", "a line between the entries of a list that is none", "'- entry' lines that begin in the same column"),
    ("parsing a block mapping", "a line that begins in another column than its section, or text behind a closing quote",
     f"{_ALIGNED}; '' for a quote between single quotes"),
    ("scanning a block scalar", "text behind | or >", "the text on the lines below, further in"),
    ("another document", "a second document", "one document, without a line of ---"),
    ("document start", "a directive of YAML, or text behind the document's end", "key: value, and % in quotes"),
    ("tag", "a value begins with ! outside of quotes", _QUOTED),
)  # fmt: skip
_UNKNOWN: Final = ("what stands here cannot be read", f"allowed: key: value; {_QUOTED} where it has special signs")


@dataclass(slots=True, kw_only=True)
class Document:
    """`lines`: shown path to line, 1 for the first."""

    data: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_document(text: str) -> Document:
    """Never raises: what is wrong is in the document's problems."""
    reader = _YamlReader(text)
    try:
        reader.read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what, allowed = _words(f"{error.context}: {error.problem}")
        where = "" if mark is None else f" in column {mark.column + 1}"
        reader.collect_problem("", f"is not YAML{where}: {what}", allowed, None if mark is None else mark.line + 1)
    except yaml.reader.ReaderError:
        reader.collect_problem("", "holds a character that YAML does not allow")
    except RecursionError:
        reader.collect_problem("", "is nested too deeply")
    return reader.document


def _words(error: str) -> tuple[str, str]:
    """What is wrong and what is allowed, for an error of PyYAML.

    PyYAML quotes what it stumbled over, which may be a secret: an undefined alias is one that starts with an asterisk.
    """
    # SECURITY: no word of the error itself is repeated (C-48).
    return next(((what, f"allowed: {allowed}") for sign, what, allowed in _ERRORS if sign in error), _UNKNOWN)


class _YamlReader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.document = Document()
        self.loader: yaml.SafeLoader
        self.count = 0

    def collect_problem(self, key: str, what: str, allowed: str = "", line: int | None = None) -> None:
        self.document.problems.append(Problem(key=key or "the file", what=what, allowed=allowed, line=line))

    def read(self) -> None:
        self.loader = yaml.SafeLoader(self.text)
        try:
            node = self.loader.get_single_node()
            self.document.data = None if node is None else self.value(node, ())
        finally:
            self.loader.dispose()

    def value(self, node: yaml.Node, path: Place) -> Any:
        self.count += 1
        if len(path) > _DEEPEST or self.count > _MOST:
            raise RecursionError
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.entry(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _AS_TEXT:
            return node.value
        if isinstance(node, yaml.ScalarNode) and node.tag in _TYPED:
            try:
                return self.loader.construct_object(node)
            except (ValueError, yaml.YAMLError):
                pass
        self.collect_problem(
            shown(path), "has a tag or a number that is not understood", "allowed: plain YAML", line_of(node)
        )
        return None

    def entry(self, node: yaml.Node, path: Place) -> Any:
        self.document.lines.setdefault(shown(path), line_of(node))
        return self.value(node, path)

    def mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.collect_problem(
                    shown(path), "has a key that is not a plain text", "allowed: key: value", line_of(key_node)
                )
                continue
            key, line = str(key_node.value), line_of(key_node)
            here = shown((*path, key))
            if key in result:
                first = self.document.lines.get(here, line)
                self.collect_problem(
                    here, f"is given twice, in lines {first} and {line}", "allowed: each key once", line
                )
                continue
            self.document.lines.setdefault(here, line)
            result[key] = self.value(value_node, (*path, key))
        return result


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
