"""What counts as a refusal of ours, seen from outside, and what does not."""

import json
from typing import Any

import pytest

from gateway import errors
from gateway.config.schema import Pages as PageSettings
from gateway.operations.probe.reading import Answer, Verdict, read
from gateway.pages.renderer import Pages

PAGES = Pages(PageSettings())


def answer(refusal: errors.Refusal, request_id: str = "probe-1", **changes: Any) -> Answer:
    """What the gateway says, as it really renders it."""
    page = PAGES.render(refusal, html=False, request_id=request_id)
    document = json.loads(page.body) | changes
    return Answer(status=page.status, fields=list(page.headers), body=json.dumps(document).encode())


@pytest.mark.parametrize(
    ("refusal", "verdict"),
    [
        (errors.RouteBlocked("x", kind="password"), Verdict.CLOSED),
        (errors.AmbiguousTarget("x"), Verdict.MALFORMED),
        (errors.MalformedRequest("x"), Verdict.MALFORMED),
        (errors.UnknownHost("x"), Verdict.MALFORMED),
        (errors.LoginRequired("x"), Verdict.SIGN_IN),
        (errors.Forbidden("x"), Verdict.SIGN_IN),
        (errors.UpstreamUnreachable("x"), Verdict.THROUGH),
        (errors.UpstreamFault("x"), Verdict.THROUGH),
        (errors.UpstreamTimeout("x"), Verdict.THROUGH),
        (errors.StoreUnavailable("x"), Verdict.UNKNOWN),
    ],
    ids=lambda value: str(getattr(value, "code", value)),
)
def test_each_refusal_of_ours_has_its_verdict(refusal: errors.Refusal, verdict: Verdict) -> None:
    assert read(answer(refusal), "probe-1").verdict is verdict


@pytest.mark.parametrize("status", [200, 204, 301, 302, 401, 403, 404, 405, 500])
def test_an_answer_that_is_not_ours_beyond_doubt_was_let_through(status: int) -> None:
    assert read(Answer(status=status, fields=[("Content-Type", "text/html")], body=b"no"), "probe-1").verdict is (
        Verdict.THROUGH
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "about:blank"},
        {"type": "urn:doorward:problem:login_required"},
        {"status": 200},
        {"request_id": "probe-2"},
        {"code": "something"},
    ],
)
def test_a_document_that_only_looks_like_ours_is_none(changes: dict[str, Any]) -> None:
    assert read(answer(errors.RouteBlocked("x", kind="password"), **changes), "probe-1").verdict is Verdict.THROUGH


def test_a_refusal_cut_short_is_no_refusal() -> None:
    whole = answer(errors.RouteBlocked("x", kind="password"))
    cut = Answer(status=whole.status, fields=whole.fields, body=whole.body[:20], complete=False)
    assert read(cut, "probe-1").verdict is Verdict.THROUGH


def test_nothing_at_all_says_nothing() -> None:
    assert read(None, "probe-1").verdict is Verdict.UNKNOWN


def test_the_answer_to_head_is_read_by_its_head() -> None:
    blocked = answer(errors.RouteBlocked("x", kind="password"))
    assert read(Answer(status=403, fields=blocked.fields, body=b""), "x", head_only=True).verdict is Verdict.CLOSED
    assert read(Answer(status=403, fields=[], body=b""), "x", head_only=True).verdict is Verdict.THROUGH
    asks = answer(errors.LoginRequired("x"))
    assert read(Answer(status=401, fields=asks.fields, body=b""), "x", head_only=True).verdict is Verdict.SIGN_IN
