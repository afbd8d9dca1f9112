"""The judge of `make chaos` notices what it is there for: each must is broken once, on purpose."""

from typing import Any

import pytest

from tests.chaos.judging import Answer, Canary, Judgement, Meaning, Row, Standing, Tally, judge, percentile, slope

CANARY = Canary(user="mia", number="n7", sent_at=100.0)
LIVE = Standing()


def said(user: str = "mia", number: str = "n7", body: bytes | None = None, **more: str) -> Answer:
    whole = f"{user} {number}\n".encode() * 3 if body is None else body
    return Answer(status=200, headers={"x-seen-user": user, "x-seen-number": number, **more}, body=whole)


def meaning(answer: Answer, standing: Standing = LIVE, bound: float = 1.0) -> Meaning:
    return judge(CANARY, answer, standing, bound=bound).meaning


def test_the_right_person_and_number_are_right() -> None:
    assert meaning(said()) is Meaning.RIGHT


@pytest.mark.parametrize(
    "answer",
    [
        said(user="eve"),
        said(number="n8"),
        said(body=b"mia n7\neve n7\nmia n7\n"),
        said(body=b"eve n9\n"),
        said(body=b"mia n7\nmia n"),
        said(body=b""),
        Answer(status=200, body=b"hello"),
        Answer(status=404, headers={"x-seen-user": "eve", "x-seen-number": "n7"}, body=b"eve n7\n"),
    ],
    ids=[
        "other person",
        "other request",
        "mixed body",
        "body of another",
        "half a line",
        "no body",
        "no canary",
        "an error page for another",
    ],
)
def test_whatever_was_meant_for_somebody_else_is_noticed(answer: Answer) -> None:
    """D-05, C-41."""
    assert meaning(answer) is Meaning.WRONG_USER


def test_a_wrong_answer_makes_the_row_fail() -> None:
    tally = Tally()
    tally.add(judge(CANARY, said(user="eve"), LIVE, bound=1.0), at=1.0)
    assert tally.meanings[Meaning.WRONG_USER] == 1
    assert tally.latest_error == 1.0
    assert "eve" in tally.examples[0]
    assert row(wrong=tally.meanings[Meaning.WRONG_USER]).unmet == ["1 answers meant for somebody else"]


def test_a_request_sent_after_an_acknowledged_sign_out_must_not_be_accepted() -> None:
    """C-44."""
    over = Standing(doubtful_from=97.0, over_from=98.0)
    judgement = judge(CANARY, said(), over, bound=1.0)
    assert judgement.meaning is Meaning.AFTER_REVOCATION
    assert judgement.late == pytest.approx(2.0)
    assert judge(CANARY, said(), over, bound=3.0) == Judgement(Meaning.RIGHT, late=2.0)
    assert meaning(said(), Standing(doubtful_from=99.0, over_from=100.5)) is Meaning.RIGHT


@pytest.mark.parametrize("status", [302, 303, 401])
def test_a_live_session_that_is_sent_to_sign_in_is_lost(status: int) -> None:
    answer = Answer(status=status)
    assert meaning(answer) is Meaning.SIGNED_OUT
    assert meaning(answer, Standing(doubtful_from=99.0)) is Meaning.REFUSED
    assert meaning(answer, Standing(doubtful_from=98.0, over_from=99.0)) is Meaning.REFUSED


def test_an_error_that_takes_the_cookie_of_a_live_session_loses_it() -> None:
    """C-43."""
    taken = Answer(status=503, headers={"set-cookie": "doorward_session=; Path=/; Max-Age=0"})
    assert meaning(taken) is Meaning.SIGNED_OUT
    assert meaning(taken, Standing(doubtful_from=1.0)) is Meaning.ERROR


def test_an_error_is_counted_by_its_kind() -> None:
    tally = Tally()
    tally.add(judge(CANARY, Answer(status=503, code="session_store_unavailable"), LIVE, bound=1.0), at=5.0)
    assert tally.errors == {"503 session_store_unavailable": 1}
    assert tally.latest_error == 5.0


def row(**told: Any) -> Row:
    facts: dict[str, Any] = {
        "name": "x", "sent": 10, "wrong": 0, "lost": 0, "after_revocation": 0, "revoked": 1, "late": 0.0, "errors": {},
        "recovery": 0.0, "proof": "it was so",
    }  # fmt: skip
    return Row(**{**facts, **told})


def test_a_row_in_which_all_is_well_has_nothing_unmet() -> None:
    assert row().unmet == []
    assert row(lost=None).unmet == []


@pytest.mark.parametrize(
    "told",
    [
        {"wrong": 1},
        {"lost": 1},
        {"after_revocation": 1},
        {"recovery": None},
        {"proof": ""},
        {"sent": 0},
        {"broken": ["x"]},
    ],
    ids=str,
)
def test_each_must_alone_makes_the_row_fail(told: dict[str, object]) -> None:
    assert len(row(**told).unmet) == 1


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 0.5) == 3.0


def test_a_slope_is_what_grows_in_a_second() -> None:
    assert slope([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 5.0)]) == 0.0


def test_being_signed_out_is_no_error_where_the_store_lost_its_data() -> None:
    tally = Tally(forgiving=True)
    tally.add(Judgement(Meaning.SIGNED_OUT, "401"), at=9.0)
    assert tally.latest_error == float("-inf")
    assert tally.meanings[Meaning.SIGNED_OUT] == 1


def test_calm_is_counted_anew_after_each_error() -> None:
    tally = Tally()
    right, error = Judgement(Meaning.RIGHT), Judgement(Meaning.ERROR, "503")
    for judgement in (right, right, error, right):
        tally.add(judgement, at=1.0)
    assert tally.calm == 1
    tally.add(Judgement(Meaning.WRONG_USER), at=2.0)
    assert tally.calm == 0
