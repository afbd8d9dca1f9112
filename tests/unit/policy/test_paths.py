"""The canonical form of a target, its folded form, and what is refused as ambiguous."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors.requests import AmbiguousTarget, BadRequest
from gateway.operations.probe.spellings import spellings
from gateway.policy.paths import Target, casefold, parse_target
from gateway.policy.readings import EVERY
from tests.unit.policy.made import patient, target

PIECES = st.sampled_from(
    rb"/ // . .. ; ;x %2e %41 %6a %C3%A9 %cc%81 %ef%bc%a1 %e2%80%a4 %20 %25 %3f %23 %3B %zz %2f %c4%b1 %c5%bf %e2%84%aa".split()
    + rb"%ef%bc%9b %ef%bc%8f + * : ~ (S(x)) ( ) \ Admin x.json s.css a Z".split()
    + "é \uff0f \uff25".encode().split()
)
TARGETS = st.builds(
    lambda pieces, query: b"/" + b"".join(pieces) + query,
    st.lists(PIECES, max_size=12),
    st.sampled_from([b"", b"?", b"?a=b&c=%2f", b"?x=/../y", b"?\xe9", b"?a?b"]),
)
BYTES = st.binary(max_size=40).map(lambda raw: b"/" + raw)


def parsed(raw: bytes) -> Target | None:
    try:
        return parse_target(raw)
    except BadRequest:
        return None


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("/", "/"),
        ("/a/b.css", "/a/b.css"),
        ("/a/b/", "/a/b/"),
        ("/%61%7E%2D", "/a~-"),
        ("/a%2b+%3d=", "/a%2B+%3D="),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/café", "/caf%C3%A9"),
        ('/"<>^`{|}[]', "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
        ("//a///b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a%25", "/a%25"),
        ("/x;y=1/z", "/x;y=1/z"),
    ],
)
def test_a_path_has_one_canonical_form(sent: str, canonical: str) -> None:
    assert target(sent).path == canonical
    assert target(sent).wire() == canonical.encode()


@pytest.mark.parametrize(
    ("sent", "folded"),
    [
        ("/", "/"),
        ("/Admin/", "/admin"),
        ("/admin.", "/admin"),
        ("/admin%20", "/admin"),
        ("/admin. .", "/admin"),
        ("/admin;x=1/y;z", "/admin/y"),
        ("/admin%3Bx", "/admin"),
        ("/;x/admin", "/admin"),
        ("/%EF%BC%A1dmin", "/admin"),
        ("/adm%C4%B1n", "/admin"),
        ("/admi%CC%81n", "/admin"),
        ("/ad%C2%ADmin%E2%80%8B", "/admin"),
        ("/u%C5%BFers/%E2%84%AAey", "/users/key"),
        ("/(S(abc))/admin", "/admin"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a...b", "/a...b"),
    ],
)
def test_the_folded_form_is_what_the_most_lenient_upstream_reads(sent: str, folded: str) -> None:
    """C-12."""
    assert target(sent.replace(" ", "%20")).folded == folded


@pytest.mark.parametrize(
    "sent",
    [
        *("/public#/../admin", "/admin#/public/", "/x?y#z"),  # C-04
        *(
            "/public/..;/admin",
            "/public/..;x=1/admin",
            "/public/.;x/admin",
            "/public/..%3b/admin",
            "/public/...;/admin",
        ),  # C-10
        *(
            "/public/..%2fadmin",
            "/public%2f..%2fadmin",
            "/public/..%5cadmin",
            "/public/..\\admin",
            "/public/%252e%252e/admin",
        ),
        *(
            "/public/..%20/admin",
            "/public/.../admin",
            "/public/%20../admin",
            "/public/%e2%80%a5/admin",
            "/public/%ef%bc%8e./admin",
        ),
        *("/..", "/../admin", "/a/../../admin", "/%2e%2e/admin", "/..;x/../admin"),
        *("/%2fadmin", "/\\admin"),  # C-11
        *(
            "/login%00",
            "/login%09",
            "/login%0d%0ax",
            "/login%7f",
            "/login%c2%85",
            "/%",
            "/%2",
            "/%zz",
            "/%u002f",
            "/%25u002f",
        ),  # C-12
        *(
            "/login%c0%afx",
            "/login%e0%80%af",
            "/%ff",
            "/%ed%a0%80",
            "/login%ef%bc%8fx",
            "/login%ef%bc%bcx",
            "/a%e2%84%80b",
        ),
        *("/%2570assword", "/%25%37%30", "/%ef%bc%85%32%46", "/x(S(y))z", "/b/(S(x))in"),
        *("/admin x", "/admin\tx", "/admin\x00", "/admin\x7f", "/x?a b", "/x?a\tb", "/x?a\x00"),  # C-14
    ],
)
def test_what_two_servers_read_in_two_ways_is_refused(sent: str) -> None:
    """C-04, C-10, C-11, C-12, C-14."""
    with pytest.raises(AmbiguousTarget):
        target(sent)


@pytest.mark.parametrize(
    "sent", ["", "*", "admin", "http://evil.test/admin", "evil.test:443", "?x", "\\admin", "%2fadmin"]
)
def test_only_the_origin_form_is_a_target(sent: str) -> None:
    """C-11, C-14."""
    with pytest.raises(BadRequest):
        target(sent)


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/public/../admin", "/admin"),
        ("/public/%2e%2e/admin", "/admin"),
        ("/public/.%2e/admin", "/admin"),
        ("/public/%2E./admin", "/admin"),
        ("/public/x/../../admin", "/admin"),
        ("/public../admin", "/public../admin"),
        ("//admin", "/admin"),
        ("///admin", "/admin"),
        ("//public/../admin", "/admin"),
        ("//evil.test/admin", "/evil.test/admin"),
        ("/./admin", "/admin"),
        ("/admin/.", "/admin/"),
    ],
)
def test_what_resolves_in_one_way_is_resolved_before_anybody_judges_it(sent: str, path: str) -> None:
    """C-10, C-11."""
    assert target(sent).path == path


def test_a_query_is_never_part_of_the_path() -> None:
    """C-03, C-04."""
    found = target("/admin/x?path=/public/y&z=%2f..%2f")
    assert (found.path, found.query) == ("/admin/x", b"path=/public/y&z=%2f..%2f")
    assert target("/admin?/public/").path == "/admin"
    assert target("/admin%3f/public/").path == "/admin%3F/public/"
    assert target("/foo/secret%23/bar").path == "/foo/secret%23/bar"
    assert target("/x?").wire() == b"/x?"
    assert target(b"/x?\xe9\xff").query == b"%E9%FF"


def test_an_encoded_question_mark_or_hash_is_also_read_as_the_end_of_the_path() -> None:
    """C-03, C-04."""
    assert "/admin" in target("/Admin%3f/public/").readings
    assert "/foo/secret" in target("/foo/secret%23/bar").readings
    assert "/admin" in target("/admin/%EF%BC%9Fx").readings


def test_a_semicolon_is_also_read_as_the_end_of_the_path() -> None:
    """C-65: Fastify up to version 4 begins the query there."""
    assert "/admin" in target("/Admin;x/public/").readings
    assert "/admin" in target("/admin%3B/public").readings


@patient
@given(st.one_of(TARGETS, BYTES))
def test_parsing_changes_nothing_in_what_it_has_made(raw: bytes) -> None:
    """C-10."""
    if (found := parsed(raw)) is not None:
        assert parse_target(found.wire()) == found


@patient
@given(st.one_of(TARGETS, BYTES))
def test_a_canonical_path_is_plain_ascii_without_dot_segments_or_empty_ones(raw: bytes) -> None:
    """C-10, C-11."""
    if (found := parsed(raw)) is not None:
        assert re.fullmatch(r"(?:/(?!\.\.?(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})+)*/?", found.path)
        assert not re.search(r"%(?:2F|5C|00|0A|0D|7F)", found.path)
        assert re.fullmatch(rb"[\x21-\x7e]*", found.wire())


@patient
@given(st.one_of(TARGETS, BYTES))
def test_a_folded_form_has_no_parameters_no_capitals_and_no_marks(raw: bytes) -> None:
    """C-12."""
    if (found := parsed(raw)) is not None:
        assert ";" not in found.folded
        assert found.folded == found.folded.lower() == casefold(found.folded)
        assert not any(unicodedata.combining(character) for character in found.folded)
        assert not re.search(r"//|[. ](?:/|\Z)|(?<=.)/\Z", found.folded)
        assert found.readings[0] == found.folded


@pytest.mark.parametrize("path", ["/login/password", "/Admin/Users.aspx", "/a"])
def test_every_spelling_is_refused_or_read_as_the_path_itself(path: str) -> None:
    """C-10, C-11, C-12."""
    plain = target(path)
    wrong = [
        spelling
        for spelling in spellings(path)
        if (found := parsed(spelling.target)) is not None and plain.folded not in EVERY.read(found).paths
    ]
    assert not wrong


@pytest.mark.parametrize(
    "raw",
    [
        b"/a" * 30_000,
        b"/" + b"." * 60_000 + b"x",
        b"/(S(" * 15_000,
        b"/%41" * 15_000,
        b"/x;" * 20_000,
        b"/x/.." * 10_000,
    ],
)
def test_a_very_long_path_costs_no_more_than_its_length(raw: bytes) -> None:
    """A quadratic reading of these would take minutes."""
    parsed(raw)
