"""Saved settings over the file: what counts, what the environment holds fast, and whose secret goes with whose authority."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import ConfigInvalid, judged, resolve
from gateway.config.overlay import SavedSettings, fixed_by, keys_for, overlaid, set_aside
from gateway.config.schema import Config
from tests.unit.config.made import KEY

FILE = f"""\
keys: [{KEY}]
openid:
  authority_url: https://login.example.com
  client_id: doorward
  client_secret: the-secret-of-the-file
providers:
  second:
    authority_url: https://second.example.com
    client_id: two
    client_secret: the-second-secret
apps:
  portal:
    hosts: [portal.example.com]
    upstream: http://127.0.0.1:8001
    provider: openid
"""
ELSEWHERE = {
    "openid.authority_url": "https://elsewhere.example.com",
    "openid.client_id": "other",
    "openid.client_secret": "the-secret-of-elsewhere",
}


def made(values: dict[str, Any], environ: dict[str, str] | None = None) -> Config:
    return judged(resolve(FILE, environ or {}, Path("/")), SavedSettings(values, 7)).config


def secret_of(config: Config) -> str:
    assert config.openid.client_secret is not None
    return config.openid.client_secret.get_secret_value()


def test_saved_values_stand_in_the_place_of_those_of_the_file() -> None:
    values = {
        "openid.create_users": True, "openid.unregistered_when_sso_only": "create", **ELSEWHERE,
        "providers.second.log_out_url": "https://second.example.com/bye",
    }  # fmt: skip
    config = made(values)
    assert config.openid.create_users
    assert config.openid.unregistered_when_sso_only == "create"
    assert (config.openid.authority_url, secret_of(config)) == (
        "https://elsewhere.example.com",
        "the-secret-of-elsewhere",
    )
    assert config.providers["second"].log_out_url == "https://second.example.com/bye"
    assert config.providers["second"].client_id == "two"


def test_a_key_that_the_environment_sets_stays_as_it_is() -> None:
    environ = {"DOORWARD__OPENID__CREATE_USERS": "false"}
    source = resolve(FILE, environ, Path("/"))
    saved = SavedSettings({"openid.create_users": True, "openid.prevent_password_login": True}, 7)
    assert not judged(source, saved).config.openid.create_users
    assert judged(source, saved).config.openid.prevent_password_login
    assert fixed_by(source, "openid.create_users") == "DOORWARD__OPENID__CREATE_USERS"
    assert set_aside(source, saved) == {"openid.create_users": "DOORWARD__OPENID__CREATE_USERS sets it"}


@pytest.mark.parametrize("key", ["authority_url", "client_id", "client_secret"])
def test_a_secret_goes_only_with_the_authority_and_the_client_that_it_was_entered_for(key: str) -> None:
    """C-95: the environment sets one of the three, so none of the saved ones counts."""
    given = {
        "authority_url": "https://env.example.com",
        "client_id": "from-the-environment",
        "client_secret": "secret-of-env",
    }
    config = made(ELSEWHERE, {f"DOORWARD__OPENID__{key.upper()}": given[key]})
    expected = {
        "authority_url": "https://login.example.com", "client_id": "doorward", "client_secret": "the-secret-of-the-file",
        key: given[key],
    }  # fmt: skip
    assert (config.openid.authority_url, config.openid.client_id) == (expected["authority_url"], expected["client_id"])
    assert secret_of(config) == expected["client_secret"]


def test_values_for_a_provider_that_the_file_does_not_have_are_set_aside() -> None:
    source = resolve(FILE, {}, Path("/"))
    saved = SavedSettings({"providers.gone.client_id": "x", "openid.issuer": "https://x.example.com"}, 7)
    assert set_aside(source, saved).keys() == saved.values.keys()
    assert overlaid(source, saved) is source
    assert "providers.second.client_secret" in keys_for(source.data)


def test_a_problem_of_a_saved_value_says_where_it_comes_from_and_shows_no_secret() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        made({**ELSEWHERE, "openid.authority_url": "http://evil.example.com", "openid.client_secret": " "})
    text = str(caught.value)
    assert "openid.authority_url" in text
    assert "from the saved settings, version 7" in text
    assert "the-secret" not in text
