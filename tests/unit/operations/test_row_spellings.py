"""The probe's spellings for the rows of the table: each is read as the page by the rows that it names, and no part of a row has none."""

import pytest

from gateway.config.schema import PasswordRule
from gateway.operations.probe.requests import probe_requests
from gateway.operations.probe.row_spellings import RowSpelling, row_spellings, spelled_names
from gateway.policy.bodies import name_of
from gateway.policy.paths import parse_target
from gateway.policy.readings import EVERY, Model
from gateway.policy.routes import parse_match
from gateway.policy.servers import ROWS, ReadingModel, Trait

PAGES = {"/login": "* /login", "/wp-login.php": "* /wp-login.php/**", "/wp-json/wp/v2/users": "* /wp-json/wp/v2/users/**", "/": "* /"}  # fmt: skip


def spelled(page: str, *rows: str) -> list[RowSpelling]:
    model = Model(rows, rows)
    return list(row_spellings(page, parse_match(PAGES[page], model), model))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_part_of_a_row_has_spellings_that_the_row_reads_as_the_page(row: ReadingModel) -> None:
    """C-65, C-66: a trait or a parameter that comes to the table must come to the probe."""
    model = Model((row.name,), (row.name,))
    found = {page: spelled(page, row.name) for page in PAGES}
    needed = [trait for trait in Trait if trait in row.traits and trait is not Trait.PARAMETER]
    reached: set[Trait] = set()
    for page, some in found.items():
        for each in some:
            if each.form:
                continue
            read = model.read(parse_target(each.target))
            match = parse_match(PAGES[page], model)
            assert match.may_hold(frozenset(("POST",)), read), each
            led = [reading.traits for path, reading in read.paths.items() if match.lenient.fullmatch(path)]
            reached |= {trait for trait in Trait if any(traits & trait for traits in led)}
    assert set(needed) - {Trait.BARE, Trait.SCRIPT} <= reached
    assert Trait.BARE not in needed or {"/login.php", "/wp-login"} <= {
        each.target.decode() for some in found.values() for each in some
    }
    assert Trait.SCRIPT not in needed or b"/wp-login.php/x" in [each.target for each in found["/wp-login.php"]]
    for route in row.routes:
        page = "/wp-json/wp/v2/users" if route.below else "/login"
        named = [name_of(each.target.decode().partition("?")[2].partition("=")[0]) for each in found[page]]
        assert route.own or not route.name or name_of(route.name) in named
        assert not (route.in_body and route.below) or any(each.form for each in found[page])
    assert bool(row.names) == any(True for _ in spelled_names("a_b", model))


def test_the_examples_of_the_issue_are_among_them_and_their_number_is_bounded() -> None:
    model = EVERY
    found = {
        page: [each.target for each in row_spellings(page, parse_match(match, model), model)]
        for page, match in PAGES.items()
    }
    assert {b"/index.php/login", b"/login.1", b"/login/index/1", b"/login.php/x", b"/login::$DATA"} <= set(
        found["/login"]
    )
    assert b"/?rest_route=/wp/v2/users" in found["/wp-json/wp/v2/users"]
    assert max(map(len, found.values())) < 100
    assert all(len(some) == len(set(some)) or page.startswith("/wp-json") for page, some in found.items())


def test_an_app_that_reads_like_one_server_is_not_asked_in_the_spellings_of_others() -> None:
    assert spelled("/login", "django") == []
    assert {each.target for each in spelled("/login", "rails")} == {b"/login.1", b"/login.json", b"/login.a.b"}


@pytest.mark.parametrize(("match", "bodied"), [("* /login", True), ("GET /login", False), ("PUT /login", True)])
def test_a_reading_is_fired_by_every_method_and_by_options_with_bodies(match: str, bodied: bool) -> None:
    """C-65, C-77."""
    rule = PasswordRule.model_validate({"match": match})
    found = [request for request in probe_requests("x", rule) if request.target == b"/index.php/login"]
    methods = {request.method for request in found if request.body}
    assert "OPTIONS" in methods
    assert (len(methods) > 30) == match.startswith("*")
    named = [request for request in probe_requests("x", rule) if b"_method%00x=PUT" in request.target + request.body]
    assert bool(named) == match.startswith("PUT")
