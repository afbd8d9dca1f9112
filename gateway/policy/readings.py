"""The readings of a target: every path that some server could route it as, by the rows of `servers`.

The invariants: a reading exists when one row of the model has all the traits that lead to it; what restricts holds for any reading, what opens
needs the canonical path and all of `opening`; the work is linear in the path's length, and a path that has too many readings raises BadRequest.
`reads_like` of an app narrows the rows, and does not change what `paths` folds. docs/threats.md C-65, C-66. Pure.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from operator import or_
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.config.schema import App
from gateway.errors.requests import BadRequest
from gateway.policy.bodies import Fields, name_of, read_query
from gateway.policy.paths import Target, casefold, parse_target
from gateway.policy.servers import NONE, ROWS, ReadingModel, RouteParameter, Trait

_SUFFIX, _SCRIPT, _FRONT, _BARE, _INDEX, _ACTION, _STREAM, _PARAMETER = (int(trait) for trait in Trait)
#: `/en`, `/pt-br`, `/zh-hans`, `/es-419`: a portal has every route below each of its languages.
_LANGUAGE = re.compile(r"/[a-z]{2}(?:[_-][a-z0-9]{2,8}){0,2}(?=/)")
#: Extensions of programs that a server runs, and of pages that it may fill in.
SCRIPTS: Final = r"(?:php[0-9]?|phtml|phar|aspx?|as[hm]x|axd|svc|[cv]shtml|cfml?|cfc|f?cgi|pl|py|rb|lua|jspx?|do|action|dll|exe|[sx]?html?)"
_PROGRAM = re.compile(SCRIPTS)
_SCRIPT_WITH_MORE = re.compile(rf"(?:/[^/]*\.{SCRIPTS}|(?<=/cgi-bin)/[^/]+)(?=/)")
_ENDS_IN_SCRIPT = re.compile(rf"/[^/]*\.{SCRIPTS}\Z")
#: A front controller's name, with something behind it that is no slash.
_GLUED = re.compile(r"/[^/]*?\.php(?=[^/])")
_FRONT_SCRIPT = re.compile(r"(?:index|app|app_dev)\.php", re.IGNORECASE)
#: How long a front controller's path may be that no address shows (/web/app.php, /web/index.php, /web/app_dev.php, /public/index.php).
_HIDDEN_LENGTHS: Final = (12, 14, 16, 17)
#: A front controller whose extension was left out.
_BARE_FRONT = re.compile(r"/(?:index|app|app_dev|main|default)(?=/)")
_DOCUMENT = re.compile(r"/(?:index|default)(?:\.[^/]*)?\Z")
_STREAM_NAME = re.compile(r":[^/:]{0,64}:?\$[a-z0-9_]{0,40}(?::\$[a-z0-9_]{0,40})?(?=/|\Z)")
#: Extensions of static files: what the browser fetches for a page.
_STATIC: Final = re.compile(
    r"(?:css|m?js|map|png|jpe?g|gif|svg|ico|webp|avif|bmp|woff2?|[to]tf|eot|mp[34]|webm|ogg|pdf|wasm|webmanifest)"
)
_MOST_SCRIPTS: Final = 4
_MOST_DOTS: Final = 8
_MOST_READINGS: Final = 96
_MOST_CHARACTERS: Final = 65_536  # of all readings together, besides twice the path
_MOST_ROUTES: Final = 8
_MOST_FOLDED: Final = 4096  # characters that are not ASCII, of all paths that parameters name

_Step = tuple[
    str, int, bool
]  # a path, the traits that led to it, whether one of them took a static file's extension away


class Reading(NamedTuple):
    """`traits` that led to it (of `Trait`); `static`: only by leaving out the extension of a static file."""

    traits: int
    static: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPaths:
    """What a query or a form names: the paths, each with the rows that read it there, and whether it names a page by its number."""

    paths: Mapping[str, frozenset[str]] = field(default_factory=dict)
    page: bool = False

    def __bool__(self) -> bool:
        return bool(self.paths) or self.page


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The readings of one target, whose canonical path is `canonical`. An entry that opens must match all of `opening`, and all of `scripts`,
    which are the readings of a path that runs through a program, unless the entry names that program itself.

    `any_page`: a parameter names a page by its number, so it may be any.
    """

    canonical: str
    paths: Mapping[str, Reading]
    opening: tuple[str, ...]
    scripts: tuple[str, ...] = ()
    any_page: bool = False
    named: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Model:
    """The rows of one app. `names`: those of `reads_like`, all where it is empty. `own`: the kinds that the app is known to be."""

    def __init__(self, names: Sequence[str] = (), own: Iterable[str] = ()) -> None:
        self.rows: Final[tuple[ReadingModel, ...]] = tuple(row for row in ROWS if not names or row.name in names)
        self._own = frozenset(own)
        self._masks = tuple(int(row.traits) for row in self.rows)
        self.traits: Final = reduce(or_, (row.traits for row in self.rows), NONE)
        self._known: dict[int, bool] = {0: True}
        self._routes = [
            (name_of(route.name), route, row.name)
            for row in self.rows
            for route in row.routes
            if not route.own or row.name in self._own
        ]
        self._routes_by_name: dict[str, list[tuple[RouteParameter, str]]] = {}
        for name, route, row_name in self._routes:
            self._routes_by_name.setdefault(name, []).append((route, row_name))
        known = [row for row in self.rows if row.name in self._own]
        self._pages = frozenset(name for row in known for name in row.pages)
        self._pages_of_query = self._pages.union(*(row.pages_of_query for row in known))
        # PHP makes `_` of several characters in names.
        names_asked = {route.name for _, route, _ in self._routes if route.name} | self._pages_of_query
        words = sorted("[^=&;]".join(map(re.escape, name.split("_"))) for name in names_asked)
        self.words: Final = frozenset(name for name, route, _ in self._routes if route.in_body) | self._pages
        self._may_route = re.compile(
            rf"(?:\A|[&;])(?:/|[^=&;]*[%+\[\x00]|(?:{'|'.join(words) or '(?!)'})(?:[=&;]|\Z))".encode(), re.IGNORECASE
        )

    def read(self, target: Target, *, languages: bool = False, named: NamedPaths | None = None) -> Readings:
        """The readings of a target. `languages`: below a language too; `named`: by its body. Raises BadRequest for too many."""
        by_query, named = self._named_by_query(target), named or NamedPaths()
        also = (*by_query.paths, *named.paths)
        found: dict[str, Reading] = {}
        scripts: dict[str, None] = {}
        starts: list[_Step] = [(path, 0, False) for path in target.readings]
        starts += [(path, _PARAMETER, False) for path in also]
        if self._given(_FRONT | _BARE):
            # What is left of `/shop/index.php` is no other page.
            starts += [(path, _FRONT | _BARE * ("/" not in path[1:]), False) for path in _cut_blindly(target.path)]
        left = _MOST_CHARACTERS + 2 * len(target.path)
        for path, traits, static in self._steps(starts, languages):
            if traits & (_SCRIPT | _FRONT) and not traits & ~(_SCRIPT | _FRONT | _PARAMETER | _STREAM):
                scripts[path] = None
            known = found.get(path)
            if known is None:
                found[path] = Reading(traits, static)
                left -= len(path)
                # SECURITY: a short path of many scripts and dots would cost much work (C-65).
                if left < 0 or len(found) > _MOST_READINGS:
                    raise BadRequest("the path can be read in more ways than any honest one")
            elif known.static and not static:
                found[path] = Reading(traits, False)
        return Readings(
            canonical=target.path,
            paths=found,
            opening=(*target.readings, *also),
            scripts=tuple(scripts),
            any_page=by_query.page or named.page,
            named={**by_query.paths, **named.paths},
        )

    def may_be_named(self, query: bytes) -> bool:
        """Whether a query may name the path. False is certain."""
        return self._may_route.search(query) is not None

    def _named_by_query(self, target: Target) -> NamedPaths:
        query = target.query
        if not query or not self.may_be_named(query):
            return NamedPaths()
        fields = read_query(query)
        if query.startswith((b"/", b"%2f", b"%2F")):
            fields = [*fields, ("", unquote_to_bytes(query.partition(b"&")[0]).decode("utf-8", "replace"))]
        return self._named_paths(fields, target, in_body=False)

    def named_by_form(self, fields: Fields, target: Target) -> NamedPaths:
        """What a form names. Raises BadRequest for too many paths."""
        return self._named_paths(fields, target, in_body=True)

    def rows_of(self, traits: int) -> list[str]:
        """The rows that give a reading."""
        return [row.name for row, mask in zip(self.rows, self._masks, strict=True) if mask & traits == traits]

    def _named_paths(self, fields: Fields, target: Target, *, in_body: bool) -> NamedPaths:
        front = target.folded == "/" or _ENDS_IN_SCRIPT.search(target.folded) or _DOCUMENT.search(target.folded)
        found: dict[str, frozenset[str]] = {}
        left = _MOST_FOLDED
        for name, value in fields:
            routes = self._routes_by_name.get(name, ())
            counting = [
                (route, row)
                for route, row in routes
                if value and (route.in_body if in_body else route.anywhere or front or "/" in value)
            ]
            if not counting:
                continue
            left -= 0 if value.isascii() else len(value)
            # SECURITY: what is folded is bounded before it is, since the letters of one character may be eighteen (B-35).
            if left < 0:
                raise BadRequest("the request names paths that are longer than any honest ones")
            # SECURITY: `/?rest_route=/wp/v2/users`, `/index.php?r=site/login`: the path is not where paths are (C-66).
            text = re.sub(r"/{2,}", "/", casefold(value.strip()).strip("/"))
            for route, row in counting:
                path = f"{route.below}/{text}" if text else route.below or "/"
                found[path] = found.get(path, frozenset()) | {row}
            if len(found) > _MOST_ROUTES:
                raise BadRequest("the request names more paths than any server routes")
        pages = self._pages if in_body else self._pages_of_query
        return NamedPaths(paths=found, page=any(name in pages for name, _ in fields))

    def _given(self, traits: int) -> bool:
        known = self._known.get(traits)
        if known is None:
            known = self._known[traits] = any(mask & traits == traits for mask in self._masks)
        return known

    def _steps(self, starts: Iterable[_Step], languages: bool) -> Iterator[_Step]:
        waiting: Iterable[_Step] = starts
        for trait, stage in _STAGES:
            if languages if stage is _languages else self.traits & trait:
                waiting = self._with_stage(waiting, stage)
        return iter(waiting)

    def _with_stage(self, steps: Iterable[_Step], stage: Callable[[_Step], Iterator[_Step]]) -> Iterator[_Step]:
        """Each step, and what the stage makes of it where some row does so."""
        for step in steps:
            yield step
            for made in stage(step):
                if made[1] == step[1] or self._given(made[1]):
                    yield made


#: Every row: what an app without `reads_like` has.
EVERY: Final = Model()


def model_of(app: App) -> Model:
    """The model of an app, by its `reads_like` and its rules."""
    return Model(app.reads_like, ("wordpress",) if is_wordpress(app) else ())


def is_wordpress(app: App) -> bool:
    """Whether the app is known to be WordPress: by `reads_like`, the pack, or a rule about one of its scripts or its REST API."""
    if app.reads_like:
        return "wordpress" in app.reads_like
    entries = [entry if isinstance(entry, str) else getattr(entry, "match", "") for entry in app.password_routes]
    files = [rule.match for entry in app.password_routes for rule in getattr(entry, "rules", ())]
    routes = [*app.public, *(text for rule in app.rules for text in rule.match)]
    return "wordpress" in entries or any("/wp-" in text.lower() for text in (*entries, *files, *routes))


def _cut_blindly(path: str) -> Iterator[str]:
    """What Symfony routes where a front controller that no address shows is named in one: the path without as many characters as it has."""
    # SECURITY: `/sixteen-letters/admin/1index.php` is `/admin/1index.php` behind /public/index.php (C-65).
    if ".php" in path.lower() and _FRONT_SCRIPT.search(path) is not None:
        for length in _HIDDEN_LENGTHS:
            try:
                yield parse_target(b"/" + path[length:].lstrip("/").encode()).folded
            except BadRequest:
                continue  # cut within an escape


def _streams(step: _Step) -> Iterator[_Step]:
    path, traits, static = step
    if ":" in path and (plain := _STREAM_NAME.sub("", path)) != path:
        yield plain or "/", traits | _STREAM, static


def _scripts(step: _Step) -> Iterator[_Step]:
    path, traits, static = step
    if (bare := _BARE_FRONT.match(path)) is not None:
        yield path[bare.end() :], traits | _FRONT | _BARE, static
    if "." not in path and "/cgi-bin/" not in path:
        return
    for number, match in enumerate(_SCRIPT_WITH_MORE.finditer(path)):
        if number == _MOST_SCRIPTS:
            raise BadRequest("the path runs through more scripts than any server would")
        # SECURITY: `/login.php/x` runs the script, `/index.php/admin/users` is `/admin/users`, and so is it below any folder, to
        # Symfony, which looks for the script's name anywhere in the path (C-65).
        yield path[: match.end()], traits | _SCRIPT, static
        yield path[match.end() :], traits | _FRONT, static
        if match.start():
            yield path[: match.start()] + path[match.end() :], traits | _FRONT, static
    if ".php" not in path:
        return
    for match in islice(_GLUED.finditer(path), _MOST_SCRIPTS):
        # SECURITY: `/index.phpadmin` is `/admin` to Symfony, which cuts off the script's name before any text (C-65).
        certain = match.start() == 0 and _FRONT_SCRIPT.fullmatch(path, 1, match.end()) is not None
        yield "/" + path[match.end() :], traits | (_FRONT if certain else _FRONT | _BARE), static
    if _FRONT_SCRIPT.fullmatch(path, path.rfind("/") + 1) is not None:
        yield "/", traits | _FRONT | _BARE, static


def _languages(step: _Step) -> Iterator[_Step]:
    path, traits, static = step
    if (prefix := _LANGUAGE.match(path)) is not None:
        yield path[prefix.end() :], traits, static


def _suffixes(step: _Step) -> Iterator[_Step]:
    """`/login.a.b` without `.b`, and without `.a.b`: Spring's `/login.*` takes more than one."""
    path, traits, static = step
    begin = path.rfind("/") + 2  # a dot that begins a name begins no suffix
    last = path.rfind(".", begin)
    if last < 0:
        return
    static = static or _STATIC.fullmatch(path, last + 1) is not None
    place = path.find(".", begin)
    for _ in range(_MOST_DOTS):
        if place < 0 or place == last:
            break
        yield path[:place].rstrip(". "), traits | _SUFFIX, static
        place = path.find(".", place + 1)
    if _PROGRAM.fullmatch(path, last + 1) is not None:
        yield path[:last].rstrip(". "), traits | _BARE, static
    # SECURITY: `/login.1`, `/reports.pdf` and `/login/password.json` are the same action in many frameworks (C-12, C-65).
    yield path[:last].rstrip(". "), traits | _SUFFIX, static


def _documents(step: _Step) -> Iterator[_Step]:
    path, traits, static = step
    if (document := _DOCUMENT.search(path)) is not None:
        yield path[: document.start()] or "/", traits | _INDEX, static


def _actions(step: _Step) -> Iterator[_Step]:
    """The default route of ASP.NET MVC: {controller=Home}/{action=Index}/{id?}."""
    path, traits, static = step
    traits |= _ACTION
    controller, *more = path[1:].split("/", 4)
    # SECURITY: `/login/index/1` and `/login/index` are `/login`, `/login/reset/1` is `/login/reset`, `/home/index` is `/` (C-65).
    if len(more) == 2:
        yield path[: path.rfind("/")], traits, static
    if len(more) >= 2 and more[-2] == "index" and len(more) < 4:
        yield path[: path.rfind("/index/")], traits, static
    elif more and more[-1] == "index":
        yield path[: -len("/index")], traits, static
    if controller == "home" and (not more or (more[0] == "index" and len(more) <= 2)):
        yield "/", traits, static


#: In this order: a script's tail may begin with a language, and what is left may have an extension, a document, an action.
_STAGES: Final[tuple[tuple[Trait, Callable[[_Step], Iterator[_Step]]], ...]] = (
    (Trait.STREAM, _streams),
    (Trait.SCRIPT | Trait.FRONT, _scripts),
    (NONE, _languages),
    (Trait.SUFFIX | Trait.BARE, _suffixes),
    (Trait.INDEX, _documents),
    (Trait.ACTION, _actions),
)
