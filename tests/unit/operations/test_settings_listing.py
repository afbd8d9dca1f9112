"""Every value of the configuration with its source; no secret, from wherever it comes."""

from pathlib import Path

from gateway.config.loader import judged, resolve
from gateway.config.overlay import SavedSettings
from gateway.operations.settings.listing import listing
from tests.unit.config.made import KEY

FILE = f"""\
keys: [{KEY}]
workers: 2
trusted_proxies: ["${{NETWORK}}"]
openid:
  authority_url: https://login.example.com
  client_id: ${{CLIENT}}
  client_secret: the-secret-of-the-file
apps:
  portal:
    hosts: [portal.example.com, other.example.com]
    upstream: http://127.0.0.1:8001
    headers: {{X-Key: token-for-the-upstream}}
"""
ENVIRON = {
    "CLIENT": "client-from-outside",
    "NETWORK": "10.9.8.0/24",
    "DOORWARD__REDIS__URL": "redis://:pass-word@127.0.0.1:1",
}


def test_each_value_has_its_source_and_no_secret_is_shown() -> None:
    """C-48: what came from the environment or from another file is masked, whatever its key is."""
    source = resolve(FILE, ENVIRON, Path("/"))
    saved = SavedSettings({"openid.create_users": True}, 4)
    rows = {row.key: row for row in listing(source, saved, judged(source, saved).config)}
    assert (rows["workers"].value, rows["workers"].source) == ("2", "file, line 2")
    assert (rows["openid.create_users"].value, rows["openid.create_users"].source) == (
        "true",
        "the saved settings, version 4",
    )
    assert rows["listen_mode"].value == "0660"
    assert rows["redis.url"].source == "DOORWARD__REDIS__URL"
    assert (rows["openid.clock_skew"].value, rows["openid.clock_skew"].source) == ("0:00:30", "default")
    assert rows["apps.portal.hosts"].value == "[portal.example.com, other.example.com]"
    assert rows["apps.portal.hosts"].source == "file, line 10"
    text = " ".join(f"{row.key} {row.value}" for row in rows.values())
    for secret in ("the-secret", "client-from-outside", "10.9.8.0", "pass-word", KEY, "token-for-the-upstream"):
        assert secret not in text
