"""An operator's own rule packs: read from beside the configuration, judged with file and line, given to workers whole."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.loader import build, load
from gateway.config.schema import PackFile
from gateway.policy.passwords import PasswordRoutes
from tests.unit.config.made import changed, problems_of

RULE = {"match": "* /old/login", "reason": "The old form sends a password", "source": "us"}
WAYS = [["nexudus", "doors/ours.yaml"], "doors/ours.yaml", "./doors/ours.yaml"]


def told(folder: Path, pack: Any, given: Any = "doors/ours.yaml") -> list[str]:
    """The problems of a configuration with this pack, as they are printed."""
    (folder / "doors").mkdir(exist_ok=True)
    file = folder / "doors" / "ours.yaml"
    file.write_text(pack if isinstance(pack, str) else yaml.safe_dump(pack, sort_keys=False))
    return [str(problem) for problem in problems_of(folder, changed({"apps.portal.password_routes": given}))]


@pytest.mark.parametrize("given", WAYS)
def test_a_file_is_found_beside_the_configuration_and_its_rules_close_doors(tmp_path: Path, given: Any) -> None:
    assert told(tmp_path, {"rules": [RULE]}, given) == []
    loaded = load(tmp_path / "gateway.yaml", {})
    doors = PasswordRoutes(loaded.config.apps["portal"], closed=True)
    assert [door.name for door in doors.rules if door.name.endswith("ours.yaml: * /old/login")]


def test_workers_get_the_rules_and_do_not_read_the_file_again(tmp_path: Path) -> None:
    told(tmp_path, {"rules": [RULE]})
    data = load(tmp_path / "gateway.yaml", {}).data
    (tmp_path / "doors" / "ours.yaml").unlink()
    (pack,) = build(data).apps["portal"].password_routes
    assert isinstance(pack, PackFile)
    assert [rule.match for rule in pack.rules] == ["* /old/login"]


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        ({"rules": [{**RULE, "mach": 1}]}, "rules[0].mach: is not a known key; nearest: match (ours.yaml, line 5)"),
        ({"rules": [RULE, {**RULE, "kind": "secret"}]}, "rules[1].kind: 'secret' is not one of the choices; allowed: password, account, passwordless, enumeration (ours.yaml, line 8)"),
        ({"rules": [{"match": "* /x", "reason": "a"}]}, "rules[0].source: is missing; allowed: where you know this route from (ours.yaml, line 2)"),
        ({"rules": [{**RULE, "reason": "  "}]}, "rules[0].reason: '  ' is empty; allowed: a few words (ours.yaml, line 3)"),
        ({"rules": [{**RULE, "when": {}}]}, "rules[0].when: names nothing; allowed: form, json, query or header with a field and its value (ours.yaml, line 5)"),
        ({"rules": []}, "rules: is empty; allowed: at least one rule (ours.yaml, line 1)"),
        ({"rules": [RULE], "when": 1}, "when: is not a known key; allowed: rules (ours.yaml, line 5)"),
        ("rules:\n- match: '* /x'\n  match: '* /y'\n  reason: a\n  source: b\n", "rules[0].match: is given twice, in lines 2 and 3; allowed: each key once (ours.yaml, line 3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_with_its_name_and_line(tmp_path: Path, pack: Any, said: str) -> None:
    assert told(tmp_path, pack) == [f"apps.portal.password_routes[0].{said}"]


@pytest.mark.parametrize(
    ("pack", "given", "said"),
    [
        ({}, "doors/gone.yaml", "names a file that cannot be read: no such file or directory"),
        ("- a\n- b\n", "doors/ours.yaml", "names a file without `rules`"),
        ("rules: [\n", "doors/ours.yaml", "is not YAML"),
        ({}, "doors", "is not a rule pack's name"),
        ({}, [{"rules": []}], "holds rules of its own"),
    ],
)
def test_a_file_that_is_not_there_or_no_pack_stops_the_start(tmp_path: Path, pack: Any, given: Any, said: str) -> None:
    """C-21: otherwise every password door would stay open."""
    assert any(said in line for line in told(tmp_path, pack, given if given != "doors" else "Doors"))
