"""YAML with line numbers."""

import pytest

from gateway.config.reading.yaml_document import parse_document


def test_every_key_and_entry_has_its_line() -> None:
    document = parse_document("a: 1\nb:\n  c: [x, y]\n  d:\n    - e: 2\n    - f\n")
    assert document.data == {"a": 1, "b": {"c": ["x", "y"], "d": [{"e": 2}, "f"]}}
    assert document.lines == {
        "a": 1,
        "b": 2,
        "b.c": 3,
        "b.c[0]": 3,
        "b.c[1]": 3,
        "b.d": 4,
        "b.d[0]": 5,
        "b.d[0].e": 5,
        "b.d[1]": 6,
    }


def test_a_key_given_twice_is_a_problem_with_both_lines() -> None:
    document = parse_document("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert [str(problem) for problem in document.problems] == [
        "a.b: is given twice, in lines 2 and 4; allowed: each key once (line 4)"
    ]
    assert document.data == {"a": {"b": 1, "c": 2}}


def test_a_key_is_its_text_whatever_yaml_would_make_of_it() -> None:
    assert parse_document("on: 1\n404: 2\nnull: 3\n").data == {"on": 1, "404": 2, "null": 3}


def test_a_date_is_text() -> None:
    assert parse_document("a: 2026-01-01\n").data == {"a": "2026-01-01"}


@pytest.mark.parametrize(
    "text", ["a: !!python/object:os.system {}\n", "a: !secret x\n", "a: !!set {x}\n", "? [a]\n: b\n"]
)
def test_tags_and_keys_that_are_no_text_are_problems(text: str) -> None:
    assert parse_document(text).problems


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: hunter2\n", 1),
        ("a: 1\nb: *hunter2\n", 2),
        ("a: 1\nb: @hunter2\n", 2),
        ("a: 1\nb: 'hunter2\n", 3),
        ("%hunter2\na: 1\n", 2),
        ("a: !hunter2!x y\n", 1),
        ("a: 1\n---\nhunter2\n", 2),
        ("a: 'x\\x'\nb: \"\\hunter2\"\n", 2),
    ],
)
def test_what_is_not_yaml_is_said_with_its_line_and_without_its_text(text: str, line: int) -> None:
    """C-48: the piece that YAML stumbles over may be a password."""
    (problem,) = parse_document(text).problems
    assert problem.line == line
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b: c\n", "in column 5: a second ': ' on a line, or a line that stands further in than the one above; allowed: one key: value a line;"),
        ("a: 1\n  b: 2\n", "in column 4: a second ': ' on a line, or a line that stands further in"),
        ("public: * /x\n", "in column 10: a value begins with * outside of quotes; allowed: the value in quotes, as \"* /admin/**\""),
        ("a: *x\n", "in column 4: a value begins with * outside of quotes"),
        ("a:\n\tb: 1\n", "in column 1: a tab begins the line or the value; allowed: blanks"),
        ("a: @x\n", "in column 4: a value begins with @, `, %"),
        ("a: 'x\n", "in column 1: a quote that was opened is not closed"),
        ('a: "\\h"\n', "in column 6: a backslash between double quotes that means nothing"),
        ("a: [1, 2\nb: 3\n", "in column 2: a list in [ ] is not closed"),
        ("a: {x: 1\nb: 2\n", "in column 2: a section in { } is not closed"),
        ("a:\n  - 1\n b: 2\n", "in column 2: a line that begins in another column"),
        ("a: 'it's'\n", "in column 8: a line that begins in another column than its section, or text behind a closing quote"),
        ("- a\nb: 1\n", "in column 1: a line between the entries of a list"),
        ("a: 1\nb\nc: 2\n", "in column 1: a line without a colon behind its key"),
        ("a: - b\n", "in column 4: a list begins behind a key on its line"),
        ("a: ]\n", "in column 4: a bracket, a comma or another sign"),
        ("a: | x\n", "in column 6: text behind | or >"),
        ("a: 1\n---\nb: 1\n", "in column 1: a second document; allowed: one document"),
        ("%x\na: 1\n", "in column 1: a directive of YAML"),
        ("a: !h!x y\n", "in column 4: a value begins with ! outside of quotes"),
    ],
)  # fmt: skip
def test_what_is_not_yaml_is_said_with_what_is_allowed(text: str, said: str) -> None:
    (problem,) = parse_document(text).problems
    assert str(problem).startswith(f"the file: is not YAML {said}")
    assert "allowed: " in str(problem)
    assert "expected" not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 300 + "]" * 300,
        "&a [*a]",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)),
    ],
)
def test_a_file_that_unfolds_without_end_is_refused(text: str) -> None:
    assert "nested too deeply" in str(parse_document(text).problems[0])


def test_an_empty_file_is_no_error_of_yaml() -> None:
    assert parse_document("# nothing\n").data is None
