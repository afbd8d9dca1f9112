"""A small valid configuration, and what comes of changing it."""

import copy
from pathlib import Path
from typing import Any

import yaml

from gateway.config.loader import ConfigInvalid, Problem, build, load
from gateway.config.schema import Config

KEY = "9W0mY3pVvT1cQk7XJb2sRz8dLhNfUoAe4iGxKqCw5tE"
OTHER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

GOOD: dict[str, Any] = {
    "keys": [KEY],
    "openid": {
        "authority_url": "https://login.example.com/",
        "client_id": "doorward",
        "client_secret": "a secret of the tests",
    },
    "apps": {"portal": {"hosts": ["portal.example.com"], "upstream": "http://127.0.0.1:8001"}},
}
NEXUDUS: dict[str, Any] = {
    "kind": "nexudus",
    "base_url": "https://spaces.nexudus.com",
    "username": "sso@ops.example",
    "password": "another secret of the tests",
    "business_ids": [501],
    "country_id": 1113,
    "time_zone_id": 2029,
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """GOOD with values put at paths as `apps.portal.hosts`; `...` takes a key away."""
    data = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *above, last = path.split(".")
        node = data
        for part in above:
            node = node.setdefault(part, {})
        if value is ...:
            node.pop(last, None)
        else:
            node[last] = value
    return data


def config_with(changes: dict[str, Any]) -> Config:
    return build(changed(changes))


def problems_with(changes: dict[str, Any]) -> list[Problem]:
    try:
        config_with(changes)
    except ConfigInvalid as invalid:
        return list(invalid.problems)
    return []


def keys_with(changes: dict[str, Any]) -> list[str]:
    return [problem.key for problem in problems_with(changes)]


def loaded(folder: Path, text: str | dict[str, Any], environ: dict[str, str] | None = None) -> Config:
    path = folder / "gateway.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    return load(path, environ or {}).config


def problems_of(folder: Path, text: str | dict[str, Any], environ: dict[str, str] | None = None) -> list[Problem]:
    try:
        loaded(folder, text, environ)
    except ConfigInvalid as invalid:
        return list(invalid.problems)
    return []
