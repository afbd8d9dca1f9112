"""What the documents say is so: commands and options exist, links resolve, every key is explained, every example loads."""

import base64
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import BaseModel
from typer.testing import CliRunner

from gateway import errors
from gateway.cli import main as cli
from gateway.config.loader import load_config, load_pack_file
from gateway.config.schema import Config
from gateway.errors.refusal import Refusal
from tests import field_lists
from tests.fakes.authority import Authority

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy" / "guides").glob("*.md")])
EXAMPLE = ROOT / "config" / "gateway.example.yaml"
WHOLE_CONFIGS = [*sorted((ROOT / "config").glob("*.yaml")), ROOT / "deploy" / "doorward.yaml"]
A_KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def fences(document: Path, *languages: str) -> Iterator[str]:
    for indent, language, body in re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", document.read_text(), re.M | re.S):
        if language in languages:
            yield re.sub(rf"^{indent}", "", body, flags=re.M)


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(document: Path, program: str) -> set[tuple[str, ...]]:
    """Every call of `program` in shell examples and in inline code, as words."""
    lines = [line for body in fences(document, "sh") for line in body.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", document.read_text(), flags=re.S))
    pattern = re.compile(rf"(?:^|[\s(/]){re.escape(program)} ([^#>|)]+)")
    return {tuple(shlex.split(found)) for line in lines for found in pattern.findall(line)}


@every_document
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.M))
    wanted = {word for words in commands(document, "make") for word in words if re.fullmatch(r"[a-z0-9]+", word)}
    assert wanted <= targets


@cache
def help_of(*command: str) -> str | None:
    """What `doorward COMMAND --help` prints, or None when there is no such command."""
    environ = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    done = CliRunner().invoke(cli.app, [*command, "--help"], env=environ)
    return done.output if done.exit_code == 0 else None


@every_document
def test_every_doorward_command_and_option_exists(document: Path) -> None:
    for words in commands(document, "doorward"):
        named = words[:2] if words[0] in ("break-glass", "keys", "sessions", "settings") else words[:1]
        if not all(re.fullmatch(r"[a-z][a-z-]*", word) for word in named):
            continue
        text = help_of(*named)
        assert text is not None, f"doorward {' '.join(named)}"
        assert [word for word in words if word.startswith("--") and word not in text] == []


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_document
def test_every_relative_link_resolves(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_guide_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    guides = [path for path in DOCUMENTS if path.parent.name == "guides"]
    assert [path.name for path in guides if f"deploy/guides/{path.name}" not in readme] == []


# --- configuration ----------------------------------------------------------------------------------------------------


def keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Dotted paths of every key below `model`; `*` stands for a name that the operator chooses and for an entry of a list."""
    for name, field in model.model_fields.items():
        here = f"{path}{field.alias or name}"
        yield here
        for inner, step in models_in(field.annotation):
            yield from keys(inner, f"{here}.{step}")


def models_in(annotation: Any, step: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, step
    elif getattr(annotation, "__origin__", None) in (dict, tuple):
        for argument in get_args(annotation):
            yield from models_in(argument, "*.")
    else:
        for argument in get_args(annotation):
            yield from models_in(argument, step)


def given_keys(data: Any, path: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            named = path in ("apps.", "providers.") or path.endswith((".headers.", ".texts."))
            here = f"{path}{'*' if named else name}"
            yield here
            yield from given_keys(value, f"{here}.")
    elif isinstance(data, list):
        for value in data:
            yield from given_keys(value, f"{path}*.")


def test_the_examples_show_every_key() -> None:
    files = [EXAMPLE, *sorted((ROOT / "config").glob("directory-*.example.yaml"))]
    text = "\n".join(file.read_text() for file in files)
    shown = {key for file in files for key in given_keys(yaml.safe_load(file.read_text()))}
    # Keys of rules that the example does not use are explained in its comments.
    missing = [key for key in keys(Config) if key not in shown and not re.search(rf"#.*\b{key.split('.')[-1]}\b", text)]
    assert missing == []


@pytest.mark.parametrize("file", WHOLE_CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_whole_configuration_of_the_repository_loads(file: Path, tmp_path: Path) -> None:
    load(file.read_text(), tmp_path)


WHOLE_SNIPPETS = [
    pytest.param(body, id=f"{document.stem}-{number}")
    for document in DOCUMENTS
    for number, body in enumerate(fences(document, "yaml"))
    if re.search(r"^openid:", body, re.M) and re.search(r"^apps:", body, re.M)
]
PARTIAL_SNIPPETS = [
    pytest.param(body, id=f"{document.stem}-{number}")
    for document in DOCUMENTS
    for number, body in enumerate(fences(document, "yaml"))
    if not (re.search(r"^openid:", body, re.M) and re.search(r"^apps:", body, re.M))
]


@pytest.mark.parametrize("snippet", WHOLE_SNIPPETS)
def test_every_whole_configuration_in_a_guide_loads(snippet: str, tmp_path: Path) -> None:
    load(snippet, tmp_path)


@pytest.mark.parametrize("snippet", PARTIAL_SNIPPETS)
def test_every_part_of_a_configuration_in_a_guide_fits_into_one(snippet: str, tmp_path: Path) -> None:
    whole = yaml.safe_load((ROOT / "config" / "minimal.yaml").read_text())
    for section, values in yaml.safe_load(snippet).items():
        whole[section] = {**whole.get(section, {}), **values} if section == "openid" else values
    load(yaml.safe_dump(whole), tmp_path)


def private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def load(text: str, folder: Path) -> Config:
    """Loads a configuration as its operator would have it: every variable is set, every file is there."""
    here = text.replace("file:/", f"file:{folder}/").replace("data_dir: /", f"data_dir: {folder}/")
    for name in re.findall(rf"file:({re.escape(str(folder))}[^\s\]\"']+)", here):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(private_key() if name.endswith(".pem") else A_KEY)
    for name in re.findall(rf"data_dir: ({re.escape(str(folder))}[^\s,}}]+)", here):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    if files := re.findall(r"^ +(certificate|key): /etc/(\S+)", here, re.M):
        pair = Authority(folder).issue("doorward")
        for name, path in files:
            here = here.replace(f"{name}: /etc/{path}", f"{name}: {getattr(pair, name)}")
    environ: Mapping[str, str] = dict.fromkeys(re.findall(r"\$\{(\w+)\}", here), A_KEY)
    file = folder / "doorward.yaml"
    file.write_text(here)
    return load_config(file, environ)


PACK_SNIPPETS = [
    pytest.param(body, id=f"{document.stem}-{number}")
    for document in DOCUMENTS
    for number, body in enumerate(fences(document, "yml"))
]


@pytest.mark.parametrize("snippet", PACK_SNIPPETS)
def test_every_rule_pack_in_a_guide_can_be_used(snippet: str, tmp_path: Path) -> None:
    file = tmp_path / "doors.yaml"
    file.write_text(snippet)
    assert load_pack_file(file)


# --- lists of field names ---------------------------------------------------------------------------------------------


def test_lists_of_field_names_are_those_of_the_table() -> None:
    """C-63: `python -m tests.field_lists` writes them."""
    for path, text in field_lists.files().items():
        assert path.read_text() == text, path


# --- troubleshooting and promises -------------------------------------------------------------------------------------


def refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for module in pkgutil.iter_modules(errors.__path__, errors.__name__ + "."):
        importlib.import_module(module.name)
    yield kind
    for child in kind.__subclasses__():
        yield from refusals(child)


@pytest.mark.parametrize("refusal", [kind for kind in refusals() if kind.__module__.startswith(errors.__name__)])
def test_what_a_page_says_is_found_in_the_troubleshooting_guide(refusal: type[Refusal]) -> None:
    guide = re.sub(r"\s+", " ", (ROOT / "deploy" / "guides" / "troubleshooting.md").read_text())
    assert f"`{refusal.code}`" in guide
    assert str(refusal.title) in guide


def promises() -> Iterator[tuple[str, set[str], list[Path]]]:
    for line in (ROOT / "SECURITY.md").read_text().splitlines():
        if re.match(r"\| .*\b[A-D]-\d\d", line):
            _, promise, cases, tests, _ = line.split("|")
            files = [ROOT / name for name in re.findall(r"`(tests/[\w/]+\.py)`", tests)]
            yield promise.strip(), set(cases_in(cases)), files


def cases_in(text: str) -> Iterator[str]:
    """`A-01, A-05 to A-07` are four cases."""
    for first, last in re.findall(r"\b([A-D]-\d\d)\b(?: to ([A-D]-\d\d)\b)?", text):
        for number in range(int(first[2:]), int((last or first)[2:]) + 1):
            yield f"{first[0]}-{number:02}"


def test_every_promise_names_its_cases_and_the_tests_that_name_them() -> None:
    assert len(list(promises())) >= 8
    for promise, cases, files in promises():
        assert cases, promise
        assert files, promise
        missing = [str(file) for file in files if not file.exists()]
        assert missing == [], promise
        named = {case for file in files for case in re.findall(r"\b[A-D]-\d\d\b", file.read_text())}
        assert cases - named == set(), promise


def test_every_threat_names_tests_that_name_it() -> None:
    rows = re.findall(r"^\| ([A-D]-\d\d) \|.*\| ([^|]*) \|$", (ROOT / "docs" / "threats.md").read_text(), re.M)
    assert rows
    for case, tests in rows:
        files = re.findall(r"tests/[\w/]+\.py", tests)
        assert files, case
        assert [file for file in files if case not in (ROOT / file).read_text()] == [], case


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("observability/events.py", r'"([a-z_]+\.[a-z_]+)"'),
        ("runtime/metrics.py", r'"((?:doorward|process)_[a-z_]+)"'),
    ],
)
def test_every_event_and_metric_is_promised(source: str, names: str) -> None:
    promised = (ROOT / "docs" / "interface.md").read_text()
    found = set(re.findall(names, (ROOT / "gateway" / source).read_text()))
    assert len(found) > 5
    assert [name for name in sorted(found) if f"`{name}" not in promised] == []


def test_the_commands_of_the_compose_section_make_what_its_files_mount(tmp_path: Path) -> None:
    """All but the last command, which needs a container runtime, whatever the umask; git ignores what they make."""
    guide = (ROOT / "deploy" / "guides" / "quick-start.md").read_text()
    (commands,) = re.findall(r"^## With compose\n.*?```sh\n(.*?)^docker compose .*?```", guide, re.M | re.S)
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    subprocess.run(["/bin/sh", "-e", "-c", "umask 077\n" + commands], cwd=tmp_path, check=True)
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    mounted = {name: deploy / secret["file"] for name, secret in compose["secrets"].items()}
    assert (
        {file.name for file in (deploy / "secrets").iterdir()}
        == set(mounted)
        == set(compose["services"]["doorward"]["secrets"])
    )
    assert {file.stat().st_mode & 0o777 for file in mounted.values()} == {0o644}
    assert (deploy / "secrets").stat().st_mode & 0o777 == 0o700
    config = deploy / "doorward.yaml"
    config.write_text((ROOT / "deploy" / "doorward.yaml").read_text().replace("/run/secrets/", f"{deploy}/secrets/"))
    load_config(config, {})
    made = [*(f"deploy/secrets/{name}" for name in mounted), "deploy/tls/privkey.pem"]
    ignored = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == made


def test_the_script_of_the_guide_for_apple_makes_a_client_secret(tmp_path: Path) -> None:
    (script,) = fences(ROOT / "deploy" / "guides" / "apple.md", "python")
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.p8").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    arguments = ["TEAM", "com.example.portal", "KEYID", str(tmp_path / "key.p8")]
    made = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    token = jwt.decode(made.stdout.strip(), ECKey.import_key(key.public_key()), algorithms=["ES256"])
    assert {name: token.header[name] for name in ("alg", "kid")} == {"alg": "ES256", "kid": "KEYID"}
    assert token.claims.pop("exp") - token.claims.pop("iat") == 180 * 24 * 3600
    assert token.claims == {"iss": "TEAM", "sub": "com.example.portal", "aud": "https://appleid.apple.com"}
