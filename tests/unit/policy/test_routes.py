"""`METHODS PATH-GLOB`: what it holds for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.routes import parse_match
from tests.unit.policy.made import patient, read

GET = frozenset(("GET",))


@pytest.mark.parametrize(
    ("glob", "holds", "holds_not"),
    [
        ("/x", ["/x"], ["/", "/x/y", "/xy", "/X", "/x/"]),
        ("/x/", ["/x/"], ["/x"]),
        ("/x/**", ["/x", "/x/", "/x/y", "/x/y/z"], ["/xy", "/admin/x", "/"]),
        ("/**", ["/", "/x", "/x/y/"], []),
        ("/x/*.css", ["/x/a.css", "/x/.css"], ["/x/a/b.css", "/x/a.css/b", "/x/acss"]),
        ("/*/x", ["/a/x"], ["/x", "/a/b/x"]),
        ("/**/x", ["/x", "/a/x", "/a/b/x"], ["/xx", "/a/x/b"]),
        ("/a/**/b/**/c", ["/a/b/c", "/a/1/b/2/3/c", "/a/b/b/c/c"], ["/a/c/b", "/a/b"]),
        ("/a*b*c", ["/abc", "/a-b-c", "/abbcc"], ["/acb", "/ab/c"]),
        ("/a.b+c", ["/a.b+c"], ["/aXb+c", "/a.bbc"]),
        ("/caf\u00e9/**", ["/caf%C3%A9/x"], ["/cafe/x"]),
    ],
)
def test_a_glob_matches_whole_paths(glob: str, holds: list[str], holds_not: list[str]) -> None:
    """C-05."""
    route = parse_match(f"GET {glob}")
    assert [path for path in holds if not route.holds_exactly(GET, read(path))] == []
    assert [path for path in holds_not if route.holds_exactly(GET, read(path))] == []


def test_get_means_head_too_and_a_star_means_any_method() -> None:
    assert parse_match("GET /x").may_hold(frozenset(("HEAD",)), read("/x"))
    assert not parse_match("HEAD /x").may_hold(GET, read("/x"))
    assert not parse_match("GET,PUT /x").may_hold(frozenset(("POST",)), read("/x"))
    assert parse_match("* /x").may_hold(frozenset(("PROPFIND",)), read("/x"))


def test_what_restricts_holds_for_every_reading_and_what_opens_for_none_but_all() -> None:
    """C-10, C-12."""
    route = parse_match("GET /Admin/*")
    for path in ("/admin/x", "/ADMIN/x;y", "/admin/%78%20", "/admin/;/", "/admin/x.json/", "/;a/admin/x"):
        assert route.may_hold(GET, read(path)), path
        assert not route.holds_exactly(GET, read(path)), path
    assert route.holds_exactly(GET, read("/Admin/x"))


@pytest.mark.parametrize("path", ["/app.css", "/app.aspx", "/app.1", "/app.a.b", "/app.pdf"])
def test_what_restricts_holds_with_any_extension_a_static_files_too(path: str) -> None:
    """C-65."""
    route = parse_match("* /app/**")
    assert route.may_hold(GET, read(path))
    assert route.may_hold(frozenset(("POST",)), read(path))


@pytest.mark.parametrize(
    "text", ["", "/x", "GET x", "GET /a/../b", "GET /a**", "GET /a?b", "GET /a#b", "FOO /x", "GET /%2f", "GET  /x"]
)
def test_what_is_no_route_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        parse_match(text)


def naive(glob: str) -> str:
    """The same language, as an expression that may backtrack."""
    pieces = [
        "(?:/.*)?" if segment == "**" else "/" + re.escape(segment).replace(r"\*", "[^/]*")
        for segment in glob.split("/")[1:]
    ]
    return "".join(pieces)


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "*a*", "a*b*a"]), min_size=1, max_size=4)
GLOBS = st.builds(
    lambda segments, wild: (
        "/"
        + "/".join(
            piece for place, segment in enumerate(segments) for piece in ([segment, "**"] if wild[place] else [segment])
        )
    ),
    SEGMENTS,
    st.lists(st.booleans(), min_size=4, max_size=4),
)
PATHS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=6).map(lambda segments: "/" + "/".join(segments))


@patient
@given(GLOBS, PATHS)
def test_the_pattern_that_never_backtracks_matches_what_the_naive_one_does(glob: str, path: str) -> None:
    assert bool(parse_match(f"GET {glob}").exact.fullmatch(path)) == bool(re.fullmatch(naive(glob), path))


def test_no_path_makes_a_glob_slow() -> None:
    """A pattern that gave wildcards back would take hours for this."""
    route = parse_match("GET /**/a*b*c*d/**/x*y*z/**/*a*a*a*q")
    for path in ("/a" * 20_000, "/" + "ab" * 20_000, "/x/" + "a" * 40_000, "/abcd/xyz" * 5_000):
        assert not route.may_hold(GET, read(path))
