"""No secret is ever in a problem."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import ConfigInvalid, load
from tests.unit.config.made import KEY, NEXUDUS, changed, config_with, loaded

SECRET = "hunter2hunter2"


def everything_said(folder: Path, text: str, environ: dict[str, str]) -> str:
    path = folder / "gateway.yaml"
    path.write_text(text)
    try:
        load(path, environ)
    except ConfigInvalid as invalid:
        return "".join(traceback.format_exception(invalid)) + repr(invalid) + repr(invalid.problems) + str(invalid)
    raise AssertionError("the file was accepted")


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": [SECRET]},
        {"keys": SECRET},
        {"keys": {SECRET: 1}},
        {"openid.client_secret": [SECRET]},
        {"openid.client_secret": {SECRET + ":": 1}, "openid.client_id": 5},
        {"openid.client_authentication": "private_key_jwt", "openid.client_private_key": SECRET},
        {"openid.client_authentication": "private_key_jwt", "openid.client_private_key": '{"kty":"' + SECRET},
        {"redis.url": f"redis+sentinel://:{SECRET}@h/x/y"},
        {"redis.url": f"http://:{SECRET}@h"},
        {"redis.url": [f"redis://:{SECRET}@h"]},
        {"directory.password": [SECRET]},
        {"openid.authority_url": f"https://me:{SECRET}@login.example.com/"},
        {"openid.log_out_url": f"https://me:{SECRET}@login.example.com/"},
        {"directory.base_url": f"ftp://me:{SECRET}@x"},
        {"apps.portal.upstream": f"http://me:{SECRET}@x"},
        {"apps.portal.headers": {"X-Key": f"é{SECRET}"}},
        {f"openid.client_secret:{SECRET}": None},
    ],
)
def test_a_secret_that_stands_in_the_file_is_not_repeated(tmp_path: Path, changes: dict[str, Any]) -> None:
    """C-48."""
    assert SECRET not in everything_said(tmp_path, json.dumps(changed(changes)), {})


WRONG_PLACES = [
    "listen",
    "workers",
    "external_url_scheme",
    "trusted_proxies",
    "limits.head",
    "limits.headers",
    "redis.key_prefix",
    "openid.enabled",
    "openid.client_authentication",
    "openid.clock_skew",
    "openid.scopes",
    "openid.authority_url",
    "openid.require_verified_email",
    "apps.portal.surface",
    "apps.portal.hosts",
    "apps.portal.upstream",
    "apps.portal.session.idle",
    "apps.portal.password_routes",
    "directory.kind",
    "directory.country_id",
    "log.level",
]


@pytest.mark.parametrize("path", WRONG_PLACES)
def test_a_value_from_the_environment_is_not_repeated_wherever_it_stands(tmp_path: Path, path: str) -> None:
    """C-48."""
    text = json.dumps(changed({path: "${LEAK} "}))
    assert SECRET not in everything_said(tmp_path, text, {"LEAK": SECRET})


@pytest.mark.parametrize("path", WRONG_PLACES)
def test_a_value_from_a_file_is_not_repeated_wherever_it_stands(tmp_path: Path, path: str) -> None:
    """C-48."""
    (tmp_path / "leak").write_text(SECRET + " \n")
    assert SECRET not in everything_said(tmp_path, json.dumps(changed({path: "file:leak"})), {})


@pytest.mark.parametrize("path", [*WRONG_PLACES, "keys", "redis.url", "apps.portal", "openid"])
def test_a_value_from_an_override_is_not_repeated_wherever_it_stands(tmp_path: Path, path: str) -> None:
    """C-48."""
    variable = "DOORWARD__" + path.upper().replace(".", "__")
    assert SECRET not in everything_said(tmp_path, json.dumps(changed({})), {variable: SECRET + " x"})


def test_findings_between_keys_repeat_no_value(tmp_path: Path) -> None:
    """C-48."""
    environ = {"HOST": f"{SECRET}.example.com", "URL": f"http://{SECRET}.example.com", "PACK": SECRET, "KEY": KEY}
    changes = {
        "external_url_scheme": "http",
        "apps.portal.hosts": ["${HOST}", "${HOST}"],
        "openid.authority_url": "${URL}",
        "openid.ca": "${PACK}",
        "apps.portal.password_routes": "${PACK}",
        "keys": ["${KEY}", "${KEY}"],
    }
    said = everything_said(tmp_path, json.dumps(changed(changes)), environ)
    assert SECRET not in said
    assert KEY not in said
    for key in ("external_url_scheme", "hosts[1]", "authority_url", "openid.ca", "password_routes[0]", "keys[1]"):
        assert key in said


def test_a_configuration_shows_no_secret_when_printed(tmp_path: Path) -> None:
    """C-48."""
    changes = {
        "openid.client_secret": SECRET,
        "redis.url": f"redis://:{SECRET}@h",
        "directory": NEXUDUS | {"password": SECRET},
    }
    assert SECRET not in repr(config_with(changes))
    assert SECRET not in str(loaded(tmp_path, changed(changes)))


def test_a_plain_value_is_shown_so_that_it_is_found() -> None:
    with pytest.raises(
        ConfigInvalid, match=r"log\.level: 'loud' is not one of the choices; allowed: debug, info, warning, error"
    ):
        config_with({"log.level": "loud"})
