"""What each row makes of a path, and what an app's model is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.reading.problems import ConfigInvalid
from gateway.errors.requests import BadRequest
from gateway.policy.readings import EVERY, Model, is_wordpress, model_of
from gateway.policy.servers import NAMES
from tests.unit.config.made import config_with
from tests.unit.policy.made import app, patient, target
from tests.unit.policy.test_paths import BYTES, TARGETS


def paths(sent: str, *rows: str, languages: bool = False) -> set[str]:
    return set(Model(rows).read(target(sent), languages=languages).paths)


@pytest.mark.parametrize(
    ("row", "sent", "read"),
    [
        ("rails", "/a/login.1", {"/a/login.1", "/a/login"}), ("rails", "/.well-known", {"/.well-known"}), ("rails", "/a.b/c", {"/a.b/c"}),
        ("spring-suffix", "/x.a.b", {"/x.a.b", "/x.a", "/x"}), ("spring", "/x.a", {"/x.a"}), ("nginx", "/a.php/x", {"/a.php/x", "/a.php", "/a"}),
        ("nginx", "/a.html", {"/a.html", "/a"}), ("nginx", "/a.png", {"/a.png"}), ("django", "/a.html/b.html/c.html/d.html/e.html/f", {"/a.html/b.html/c.html/d.html/e.html/f"}),
        ("nginx", "/x/index.html", {"/x/index.html", "/x/index", "/x"}), ("symfony", "/b/index.php/x", {"/b/index.php/x", "/b/index.php", "/b/index", "/b", "/x", "/b/x", "/"}),
        ("aspnet-mvc", "/login/index/1", {"/login/index/1", "/login/index", "/login"}), ("aspnet-mvc", "/a/b/c/d", {"/a/b/c/d"}),
        ("aspnet-mvc", "/Home", {"/home", "/"}), ("iis", "/x.asp::$DATA", {"/x.asp::$data", "/x.asp", "/x"}), ("yii", "/?r=a/b", {"/", "/a/b"}),
        ("django", "/index.php/admin.json?r=a", {"/index.php/admin.json"}), ("express", "/login/index/1.json", {"/login/index/1.json"}),
        ("fastify", "/a;x/b", {"/a/b", "/a;x/b", "/a"}),
    ],
)  # fmt: skip
def test_a_row_gives_its_readings_and_no_others(row: str, sent: str, read: set[str]) -> None:
    """C-65, C-66."""
    assert paths(sent, row) == read


def test_a_reading_needs_one_row_that_has_all_that_leads_to_it() -> None:
    """C-65: nginx runs scripts and ASP.NET has a default controller; CodeIgniter has both."""
    assert "/" not in paths("/home.php/x", "nginx", "aspnet-mvc")
    assert "/" in paths("/home.php/x", "codeigniter")
    assert EVERY.rows_of(EVERY.read(target("/login/index/1")).paths["/login"].traits) == ["aspnet-mvc", "codeigniter"]


def test_a_language_is_left_out_before_and_behind_a_script() -> None:
    """C-65."""
    for sent in ("/en/index.php/login", "/index.php/en/login", "/en/login.json", "/en/login/index/1", "/pt-br/login.1"):
        assert "/login" in paths(sent, languages=True), sent
    assert "/login" not in paths("/english/login.1", languages=True)


def test_what_is_static_is_said_only_where_no_other_reading_leads_there() -> None:
    """C-65."""
    read = EVERY.read(target("/login.css")).paths
    assert read["/login"].static
    assert not read["/login.css"].static
    assert not EVERY.read(target("/login.php")).paths["/login"].static


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({}, False), ({"password_routes": ["wordpress"]}, True), ({"reads_like": "wordpress"}, True), ({"public": ["GET /wp-content/**"]}, True),
        ({"rules": [{"match": ["* /blog/wp-admin/**"], "max_age": "1h"}]}, True), ({"password_routes": [{"match": "* /wp-login.php"}]}, True), ({"password_routes": ["nexudus"]}, False),
        ({"reads_like": ["django"], "public": ["GET /wp-content/**"]}, False),
    ],
)  # fmt: skip
def test_an_app_is_known_to_be_wordpress_by_what_its_configuration_says(
    settings: dict[str, object], known: bool
) -> None:
    """C-66."""
    assert is_wordpress(app(**settings)) is known


def test_a_kind_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigInvalid) as raised:
        config_with({"apps.portal.reads_like": ["djangoo"]})
    assert all(name in str(raised.value) for name in NAMES)


def test_the_pack_of_wordpress_is_not_read_like_something_else() -> None:
    """C-66."""
    settings = {"apps.portal.password_routes": ["wordpress"], "apps.portal.reads_like": ["django"]}
    with pytest.raises(ConfigInvalid, match="reads_like"):
        config_with(settings)
    config_with(settings | {"apps.portal.reads_like": ["wordpress", "nginx"]})


@patient
@given(st.one_of(TARGETS, BYTES), st.lists(st.sampled_from(NAMES), max_size=3))
def test_fewer_rows_give_fewer_readings_and_never_less_than_all_have_in_common(raw: bytes, names: list[str]) -> None:
    """C-65."""
    try:
        where = target(raw)
        every = set(EVERY.read(where).paths)
    except BadRequest:
        return
    some = set(Model(names).read(where).paths)
    assert set(where.readings) <= some <= every
    assert all(path.startswith("/") for path in every)


def test_an_app_without_the_key_is_read_like_all_of_them() -> None:
    assert len(model_of(app()).rows) == len(NAMES)
    assert [row.name for row in model_of(app(reads_like=["nginx", "django"])).rows] == ["django", "nginx"]
