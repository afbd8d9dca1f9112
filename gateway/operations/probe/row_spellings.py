"""Spellings that the rows of `policy.servers` read as a given path, and parameters and forms that name it.

Each trait of the table has its spellings here, alone and with one other trait; a trait without any fails a test. What no row of the
model gives, and what the table does not read as the path, is left out, so a model with fewer rows has fewer spellings. Pure.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from gateway.errors.requests import BadRequest
from gateway.policy.bodies import read_query
from gateway.policy.paths import parse_target
from gateway.policy.readings import SCRIPTS, Model
from gateway.policy.routes import RouteMatch
from gateway.policy.servers import NONE, NameRead, ReadingModel, Trait

_SCRIPT: Final = re.compile(rf"(?P<stem>/(?:[^/]*/)*[^/.]+)\.{SCRIPTS}")
#: The lengths of the front controllers that no address shows, as /web/app.php.
_HIDDEN: Final = (12, 14, 16, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpelling:
    """`target` with its query, and the `form` that names the path, if one does. `first`: the first spelling of its trait."""

    how: str
    target: bytes
    form: bytes = b""
    first: bool = False


def row_spellings(path: str, match: RouteMatch, model: Model) -> Iterator[RowSpelling]:
    """All spellings of `path`, of which `match` is the route, by the rows of `model`."""
    seen: set[tuple[bytes, bytes]] = set()
    for traits, number, spelled in _written(path):
        rows = model.rows_of(int(traits))
        target = spelled.encode()
        if rows and (target, b"") not in seen and _holds(match, target, model):
            seen.add((target, b""))
            yield RowSpelling(how=f"{_listed(rows)}: {_shown(traits)}", target=target, first=number == 0)
    for row in model.rows:
        for number, spelling in enumerate(_routed(path, row)):
            if (spelling.target, spelling.form) not in seen and _holds(match, spelling.target, model, spelling.form):
                seen.add((spelling.target, spelling.form))
                yield RowSpelling(
                    how=spelling.how,
                    target=spelling.target,
                    form=spelling.form,
                    first=number == 0 and not spelling.form,
                )


def spelled_names(name: str, model: Model) -> Iterator[tuple[str, str]]:
    """A parameter's name in the spellings that some row reads as that name, escaped for a query or a form; with the row."""
    seen: set[str] = set()
    for row in model.rows:
        for read in sorted(row.names):
            for spelled in _NAMES[read](name):
                if spelled not in seen:
                    seen.add(spelled)
                    yield row.name, spelled


def _holds(match: RouteMatch, sent: bytes, model: Model, form: bytes = b"") -> bool:
    """Whether the table reads what is sent as the route's. Forms name a path of the REST API of WordPress alone."""
    try:
        target = parse_target(sent)
        named = model.named_by_form(read_query(form), target) if form else None
        return match.may_hold(match.methods or frozenset(("POST",)), model.read(target, named=named))
    except BadRequest:
        return False


# --- paths --------------------------------------------------------------------------------------------------------------


def _written(path: str) -> Iterator[tuple[Trait, int, str]]:
    """Traits, the number of the spelling among those of its trait, and the spelling; first one trait, then two, the inner one first."""
    for trait, write in _WRITERS.items():
        for number, spelled in enumerate(write(path)):
            yield trait, number, spelled
    for (inner, write_inner), (outer, write_outer) in itertools.combinations(_WRITERS.items(), 2):
        for spelled in itertools.islice(write_inner(path), 1):
            for twice in itertools.islice(write_outer(spelled), 1):
                yield inner | outer, 1, twice


def _actions(path: str) -> Iterator[str]:
    if path == "/":
        yield from ("/home/index", "/home", "/home/index/1")
        return
    yield from (f"{path}/index", f"{path}/index/1")
    if path.count("/") == 2:
        yield f"{path}/1"


def _documents(path: str) -> Iterator[str]:
    below = path.rstrip("/")
    yield from (f"{below}/index.php", f"{below}/index.html", f"{below}/default.aspx")


def _suffixes(path: str) -> Iterator[str]:
    if path != "/":
        yield from (f"{path}.1", f"{path}.json", f"{path}.a.b")


def _bare(path: str) -> Iterator[str]:
    if (script := _SCRIPT.fullmatch(path)) is not None:
        yield from (script["stem"], f"{script['stem']}/x")
    elif path != "/":
        yield from (f"{path}.php", f"{path}.aspx", f"{path}.jsp")


def _scripts(path: str) -> Iterator[str]:
    if _SCRIPT.fullmatch(path) is not None or "/cgi-bin/" in path:
        yield from (f"{path}/x", f"{path}/x.css")


def _fronts(path: str) -> Iterator[str]:
    yield from (
        f"/index.php{path}",
        f"/app_dev.php{path}",
        f"/shop/index.php{path}",
        f"/x.aspx{path}",
        f"/x/index.php{path}",
    )
    yield f"/index.php{path[1:]}"


def _bare_fronts(path: str) -> Iterator[str]:
    yield from (f"/index{path}", f"/default{path}", f"/x.php{path[1:]}")
    yield from (f"/{'x' * (length - 1)}{path}/1index.php" for length in _HIDDEN)


def _streams(path: str) -> Iterator[str]:
    if path != "/":
        first, slash, rest = path[1:].partition("/")
        yield from (f"{path}::$DATA", f"/{first}:$i30:$INDEX_ALLOCATION{slash}{rest}")


#: In the order in which a server takes them off, from the last to the first.
_WRITERS: Final[Mapping[Trait, Callable[[str], Iterator[str]]]] = {
    Trait.ACTION: _actions,
    Trait.INDEX: _documents,
    Trait.SUFFIX: _suffixes,
    Trait.BARE: _bare,
    Trait.SCRIPT: _scripts,
    Trait.FRONT: _fronts,
    Trait.FRONT | Trait.BARE: _bare_fronts,
    Trait.STREAM: _streams,
}


# --- parameters ---------------------------------------------------------------------------------------------------------


def _routed(path: str, row: ReadingModel) -> Iterator[RowSpelling]:
    """The path in a parameter, in the query and in a form, and the parameter's name in each spelling that the row reads."""
    for route in row.routes:
        if not path.startswith(route.below):
            continue
        value = quote(path.removeprefix(route.below) or "/", safe="/")
        names = [
            route.name,
            *(spelled for read in sorted(row.names) for spelled in _NAMES[read](route.name) if route.name),
        ]
        for name in names:
            how = f"{row.name}: {name or 'the query'} names the path"
            pair = f"{name}={value}" if name else value
            yield RowSpelling(how=how, target=f"/?{pair}".encode())
            if route.in_body and route.below:
                yield RowSpelling(how=f"{how} in a form", target=b"/", form=pair.encode())


def _cut(name: str) -> Iterator[str]:
    yield f"{name}%00x"


def _utf16(name: str) -> Iterator[str]:
    yield f"%u{ord(name[0]):04x}{name[1:]}"


def _underscores(name: str) -> Iterator[str]:
    if "_" in name:
        yield from (name.replace("_", sign, 1) for sign in (".", "+", "%5b"))


def _lists(name: str) -> Iterator[str]:
    yield f"{name}[]"


_NAMES: Final[Mapping[NameRead, Callable[[str], Iterator[str]]]] = {
    "cut at NUL": _cut,
    "%uXXXX": _utf16,
    "blank . [ are _": _underscores,
    "name[] is name": _lists,
}


def _listed(rows: list[str]) -> str:
    return rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} more"


def _shown(traits: Trait) -> str:
    return " and ".join(str(trait.name).lower() for trait in Trait if trait & traits and trait != NONE)
