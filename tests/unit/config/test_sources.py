"""Values from the environment and from files."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import build, load, resolve
from tests.unit.config.made import KEY, OTHER_KEY, changed, loaded, problems_of

HERE = Path("/etc/doorward")


def resolved(text: str, environ: dict[str, str] | None = None, folder: Path = HERE) -> Any:
    source = resolve(text, environ or {}, folder)
    assert not source.problems
    return source.data


def complaints(text: str, environ: dict[str, str] | None = None, folder: Path = HERE) -> list[str]:
    return [str(problem) for problem in resolve(text, environ or {}, folder).problems]


def test_a_variable_is_put_into_a_value_after_parsing() -> None:
    assert resolved("a: x-${ONE}-${TWO}\n", {"ONE": "1: [2", "TWO": "${ONE}"}) == {"a": "x-1: [2-${ONE}"}


def test_two_dollars_write_the_characters_themselves() -> None:
    assert resolved("a: $${ONE} and $5 and $$\n", {"ONE": "1"}) == {"a": "${ONE} and $5 and $$"}


def test_a_variable_that_is_not_set_is_a_problem_that_names_it() -> None:
    """C-21."""
    assert complaints("a:\n  b: ${NOT_SET}\n") == [
        "a.b: needs the environment variable NOT_SET, which is not set; allowed: set it (line 2)"
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${a-b}", "${1}", "${open", "${X:-default}"])
def test_a_reference_without_a_name_is_a_problem(text: str) -> None:
    (complaint,) = complaints(f"a: '{text}'\n", {"X": "1"})
    assert complaint.startswith("a: has a ${ without a name")


def test_a_secret_is_read_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("two lines\nof it \n\n")
    assert resolved("a: file:secret\n", folder=tmp_path) == {"a": "two lines\nof it \n"}
    assert resolved("a: file:${DIR}/secret\n", {"DIR": str(tmp_path)}) == {"a": "two lines\nof it \n"}


def test_a_newline_of_another_system_is_one_newline(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s3cret\r\n")
    assert resolved("a: file:secret\n", folder=tmp_path) == {"a": "s3cret"}


@pytest.mark.parametrize("content", [b"", b"\n", b" \n", b"\xff\xfe", b"x" * 300_000])
def test_a_secret_file_without_a_secret_is_a_problem(tmp_path: Path, content: bytes) -> None:
    """C-21."""
    (tmp_path / "secret").write_bytes(content)
    (complaint,) = complaints("b: 1\na: file:secret\n", folder=tmp_path)
    assert complaint.startswith("a: file:secret is ")
    assert complaint.endswith("(line 2)")


@pytest.mark.parametrize("name", ["missing", ".", "\x00"])
def test_a_secret_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str) -> None:
    """C-21."""
    (complaint,) = complaints(f'a: "file:{name!s}"\n'.replace("\x00", "\\0"), folder=tmp_path)
    assert "cannot be read" in complaint


def test_a_variable_that_looks_like_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    assert resolved("a: ${ONE}\n", {"ONE": "file:secret"}, tmp_path) == {"a": "file:secret"}


def test_paths_start_at_the_configurations_folder() -> None:
    data = resolved("openid: {ca: certs/ca.pem}\ntls: {certificate: /abs.pem, key: null}\npages: {title: a/b}\n")
    assert data == {
        "openid": {"ca": "/etc/doorward/certs/ca.pem"},
        "tls": {"certificate": "/abs.pem", "key": None},
        "pages": {"title": "a/b"},
    }


def test_what_workers_get_is_plain_and_builds_the_same_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    text = json.dumps(changed({"openid.client_secret": "file:secret", "apps.portal.session": {"idle": "1h"}}))
    (tmp_path / "gateway.yaml").write_text(text)
    both = load(tmp_path / "gateway.yaml", {"DOORWARD__WORKERS": "3"})
    assert build(json.loads(json.dumps(both.data))) == both.config
    assert both.config.openid.client_secret is not None
    assert both.config.openid.client_secret.get_secret_value() == "from a file"
    assert "from a file" not in repr(both)


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("DOORWARD__LISTEN", "[::1]:4190", "listen", "[::1]:4190"),
        ("doorward__openid__client_id", "other", "openid.client_id", "other"),
        ("DOORWARD__OpenID__Client_Id", "12345", "openid.client_id", "12345"),
        ("DOORWARD__OPENID__CLIENT_ID", "'quoted'", "openid.client_id", "quoted"),
        ("DOORWARD__OPENID__CLIENT_ID", "a: {", "openid.client_id", "a: {"),
        ("DOORWARD__OPENID__ENABLED", "off", "openid.enabled", False),
        ("DOORWARD__OPENID__LOG_OUT_URL", "null", "openid.log_out_url", None),
        ("DOORWARD__OPENID__SCOPES", "[openid, email]", "openid.scopes", ["openid", "email"]),
        ("DOORWARD__WORKERS", "4", "workers", 4),
        ("DOORWARD__APPS__PORTAL__SESSION__IDLE", "5m", "apps.portal.session.idle", "5m"),
        ("DOORWARD__APPS__PORTAL__HEADERS", '{X-Id: "{email}"}', "apps.portal.headers", {"X-Id": "{email}"}),
        ("DOORWARD__APPS__MEMBERS_AREA__UPSTREAM", "http://m", "apps.members-area.upstream", "http://m"),
        ("DOORWARD__KEYS", f"[{KEY}, {OTHER_KEY}]", "keys", [KEY, OTHER_KEY]),
        ("DOORWARD__REDIS__URL", "redis://:p: #@h", "redis.url", "redis://:p: #@h"),
        ("DOORWARD__OPENID__CLIENT_SECRET", "0123", "openid.client_secret", "0123"),
        ("DOORWARD__OPENID__CLIENT_SECRET", "null", "openid.client_secret", "null"),
        ("DOORWARD__OPENID__CLIENT_SECRET", "*a${X}", "openid.client_secret", "*a${X}"),
        ("DOORWARD__PAGES__TITLE", "${NAME} club", "pages.title", "Harbour club"),
    ],
)
def test_any_key_can_be_overridden(variable: str, text: str, path: str, value: object) -> None:
    file = "apps:\n  portal: {upstream: http://p}\n  members-area: {}\nopenid: {client_id: x}\n"
    data = resolved(file, {variable: text, "NAME": "Harbour"})
    for part in path.split("."):
        data = data[part]
    assert data == value


def test_an_override_of_a_secret_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    environ = {"DOORWARD__OPENID__CLIENT_SECRET": "file:secret"}
    assert resolved("{}", environ, tmp_path) == {"openid": {"client_secret": "s3cret"}}


def test_an_override_replaces_a_value_that_could_not_be_had() -> None:
    assert resolved("openid: {client_id: '${NOT_SET}'}\n", {"DOORWARD__OPENID__CLIENT_ID": "x"}) == {
        "openid": {"client_id": "x"}
    }


def test_overrides_alone_are_a_configuration(tmp_path: Path) -> None:
    environ = {
        "DOORWARD__KEYS": f"[{KEY}]",
        "DOORWARD__OPENID": "{authority_url: https://login.example.com, client_id: d, client_secret: s}",
        "DOORWARD__APPS": "{portal: {hosts: [p.example.com], upstream: 'http://127.0.0.1:1'}}",
    }
    assert loaded(tmp_path, "", environ).apps["portal"].hosts == ("p.example.com",)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("DOORWARD__OPENID__CLIENTID", "names no key; nearest: DOORWARD__OPENID__CLIENT_ID"),
        ("DOORWARD__OPNID__CLIENT_ID", "names no key; nearest: DOORWARD__OPENID"),
        ("DOORWARD__APPS__PORTL__UPSTREAM", "names no key; nearest: DOORWARD__APPS__PORTAL"),
        ("DOORWARD__OPENID__CLIENT_ID__X", "names no key; allowed: DOORWARD__OPENID__CLIENT_ID with the whole value"),
        ("DOORWARD__KEYS__0", "names no key; allowed: DOORWARD__KEYS with the whole value"),
        (
            "DOORWARD__APPS__PORTAL__HEADERS__X_A",
            "names no key; allowed: DOORWARD__APPS__PORTAL__HEADERS with the whole value",
        ),
        ("DOORWARD__", "names no key; allowed: DOORWARD__LISTEN, "),
    ],
)
def test_an_override_that_names_no_key_is_a_problem(variable: str, said: str) -> None:
    (complaint,) = complaints("apps: {portal: {}}\n", {variable: "x"})
    assert complaint.startswith(f"{variable}: {said}")


def test_two_variables_for_one_key_are_a_problem() -> None:
    complaint = complaints("", {"DOORWARD__LISTEN": "a", "doorward__listen": "b"})
    assert complaint == ["doorward__listen: sets the same key as DOORWARD__LISTEN; allowed: one of them"]


def test_an_override_that_is_no_yaml_is_a_problem_without_its_text() -> None:
    (complaint,) = complaints("", {"DOORWARD__OPENID__SCOPES": "[*hunter2"})
    assert complaint.startswith("DOORWARD__OPENID__SCOPES: is not YAML")
    assert "hunter2" not in complaint


def test_a_problem_with_an_overridden_value_names_the_variable_and_no_line(tmp_path: Path) -> None:
    file = json.dumps(changed({"limits": {"headers": 100}}))
    (problem,) = problems_of(tmp_path, file, {"DOORWARD__LIMITS__HEADERS": "3"})
    assert str(problem) == "limits.headers: is out of bounds (from DOORWARD__LIMITS__HEADERS); allowed: 8 to 10000"
    assert problem.line is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"openid.client_secret": "$CLIENT_SECRET"}, "openid.client_secret"),
        ({"keys": ["$DOORWARD_KEY"]}, "keys[0]"),
        ({"redis": {"url": "rediss://:$REDIS_PASSWORD@valkey:6379"}}, "redis.url"),
        ({"redis": {"url": "rediss://${HOST}:$PORT/0"}}, "redis.url"),
    ],
)
def test_a_variable_without_braces_in_a_secret_is_a_problem(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    """C-21: the name of the variable would be the secret."""
    (problem,) = problems_of(tmp_path, changed(changes), {"HOST": "valkey"})
    assert str(problem).startswith(f"{key}: has a $NAME without braces, which nothing replaces; allowed: ${{NAME}}")
    assert "$CLIENT" not in str(problem)


@pytest.mark.parametrize("secret", ["pa$word", "$2y$10$x.y", "US$", "$5 and $$", "x $"])
def test_a_secret_may_hold_a_dollar_sign(tmp_path: Path, secret: str) -> None:
    assert problems_of(tmp_path, changed({"openid.client_secret": secret})) == []


def test_a_secret_from_outside_may_look_like_a_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("$NAME")
    for text, environ in (
        ("${SECRET}", {"SECRET": "$NAME"}),
        ("file:secret", {}),
        ("x", {"DOORWARD__OPENID__CLIENT_SECRET": "$NAME"}),
    ):
        assert problems_of(tmp_path, changed({"openid.client_secret": text}), environ) == []
