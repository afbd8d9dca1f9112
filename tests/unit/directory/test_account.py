import pytest

from gateway.directory.account import fold_email, quotable, same_email


@pytest.mark.parametrize("row", ["Ana@Tenant.Example", " ana@tenant.example ", "ANA@TENANT.EXAMPLE"])
def test_an_address_is_the_same_in_another_case_and_with_blanks_around(row: str) -> None:
    assert same_email(row, "ana@tenant.example")


@pytest.mark.parametrize(
    "row",
    [
        "ana@tenant.example.evil",
        "xana@tenant.example",
        "ana+x@tenant.example",
        "a.na@tenant.example",
        "ana@tenant.example\n",
        "",
        None,
        ["ana@tenant.example"],
        7,
    ],
)
def test_an_address_is_another_one_for_any_other_difference(row: object) -> None:
    assert not same_email(row, "ana@tenant.example")


def test_no_letter_of_another_script_becomes_an_ascii_letter() -> None:
    """A-59."""
    assert "\u212a".lower() == "k"
    assert not same_email("mi\u212ae@tenant.example", "mike@tenant.example")
    assert not same_email("ma\u017fs@tenant.example", "mass@tenant.example")
    assert fold_email("\u0130@x.example") != fold_email("i@x.example")


def test_letters_outside_ascii_fold_among_themselves() -> None:
    assert same_email("JÖRG@tenant.example", "jörg@tenant.example")


def test_a_foreign_text_is_one_bounded_line_without_addresses() -> None:
    text = quotable("Email: 'ana@tenant.example' is\r\nin use\x00 " + "x" * 1000)
    assert text.startswith("Email: '<address>' is in use")
    assert len(text) <= 200
    assert "\n" not in text
