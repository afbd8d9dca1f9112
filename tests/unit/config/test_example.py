"""The files in config/: they load, and the example explains every key that there is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.checks.safety import warnings
from gateway.config.loader import load
from gateway.config.reading import schema_walk as tree
from tests.unit.config.made import KEY

FOLDER = Path(__file__).resolve().parents[3] / "config"
EXAMPLE = FOLDER / "gateway.example.yaml"
DIRECTORIES = sorted(FOLDER.glob("directory-*.example.yaml"))
SECRETS = (
    *("OPENID_CLIENT_SECRET", "MEMBERS_CLIENT_SECRET", "NEXUDUS_PASSWORD"),
    *("SCIM_TOKEN", "GITLAB_TOKEN", "DASHBOARD_API_KEY"),
)
ENVIRON = {"DOORWARD_KEY": KEY, **dict.fromkeys(SECRETS, "secret")}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_in_config_loads(path: Path) -> None:
    assert load(path, ENVIRON).config.apps


def written(
    node: yaml.Node, annotation: Any = tree.ROOT, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], int]]:
    """(key path in the form of `tree.every_key`, line) of each key that stands in the file."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from written(child, tree.listed(annotation), (*above, "[]"))
    if isinstance(node, yaml.MappingNode):
        keys = tree.keys_of(annotation)
        for key, value in node.value:
            path = (*above, key.value if keys else "*")
            if keys:
                yield path, key.start_mark.line
            yield from written(value, tree.below(annotation, key.value), path)


def alike(path: tuple[str, ...]) -> tuple[str, ...]:
    """Every request to a directory has the same keys."""
    if path[:2] != ("directory", "requests") or len(path) < 4:
        return path
    return (*path[:2], "*", *(part for part in path[3:] if part != "[]"))


def test_the_examples_hold_every_key_and_explain_it() -> None:
    """One file has one kind of directory; those of the others have a file each."""
    places: dict[tuple[str, ...], list[str]] = {}
    for file in (EXAMPLE, *DIRECTORIES):
        lines = file.read_text().splitlines()
        node = yaml.compose(file.read_text(), yaml.SafeLoader)
        assert node is not None
        for path, line in written(node):
            places.setdefault(alike(path), []).append(lines[line] + lines[line - 1])
    known = {alike(path) for path in tree.every_key()}
    assert known - places.keys() == set()
    unexplained = [path for path in known if not any(" # " in text for text in places[path])]
    explained_above = {path for path in unexplained if path == ("keys",)}
    assert set(unexplained) - explained_above == set()


def test_the_shape_is_walked_to_its_leaves() -> None:
    keys = set(tree.every_key())
    assert ("apps", "*", "rules", "[]", "require", "email_domains") in keys
    assert ("apps", "*", "password_routes", "[]", "when", "json") in keys
    assert ("openid", "claims", "preferred_username") in keys


def test_what_the_example_is_warned_about_is_what_it_says() -> None:
    assert [warning.partition(":")[0] for warning in warnings(load(EXAMPLE, ENVIRON).config)] == [
        "trusted_proxies",
        "redis.data_dir",
    ]


def test_the_smallest_deployment_is_small() -> None:
    text = (FOLDER / "minimal.yaml").read_text()
    assert len([line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]) <= 15
