"""What counts as a refusal of ours, seen from outside, and what does not."""

import json
from typing import Any

import pytest

from gateway.config.schema import PageSettings
from gateway.errors import access, dependencies, requests
from gateway.errors.refusal import Refusal
from gateway.operations.probe.verdicts import ProbeResponse, ProbeVerdict, read
from gateway.pages.links import PageContext
from gateway.pages.renderer import Pages

PAGES = Pages(PageSettings())


def answer(refusal: Refusal, request_id: str = "probe-1", **changes: Any) -> ProbeResponse:
    """What the gateway says, as it really renders it."""
    page = PAGES.render(refusal, PageContext(request_id=request_id), html=False)
    document = json.loads(page.body) | changes
    return ProbeResponse(status=page.status, fields=list(page.headers), body=json.dumps(document).encode())


@pytest.mark.parametrize(
    ("refusal", "verdict"),
    [
        (access.RouteBlocked("x", kind="password"), ProbeVerdict.CLOSED),
        (requests.AmbiguousTarget("x"), ProbeVerdict.MALFORMED),
        (requests.MalformedRequest("x"), ProbeVerdict.MALFORMED),
        (requests.UnknownHost("x"), ProbeVerdict.MALFORMED),
        (access.LoginRequired("x"), ProbeVerdict.SIGN_IN),
        (access.Forbidden("x"), ProbeVerdict.SIGN_IN),
        (dependencies.UpstreamUnreachable("x"), ProbeVerdict.THROUGH),
        (dependencies.UpstreamFault("x"), ProbeVerdict.THROUGH),
        (dependencies.UpstreamTimeout("x"), ProbeVerdict.THROUGH),
        (dependencies.StoreUnavailable("x"), ProbeVerdict.UNKNOWN),
    ],
    ids=lambda value: str(getattr(value, "code", value)),
)
def test_each_refusal_of_ours_has_its_verdict(refusal: Refusal, verdict: ProbeVerdict) -> None:
    assert read(answer(refusal), "probe-1").verdict is verdict


@pytest.mark.parametrize("status", [200, 204, 301, 302, 401, 403, 404, 405, 500])
def test_an_answer_that_is_not_ours_beyond_doubt_was_let_through(status: int) -> None:
    assert read(
        ProbeResponse(status=status, fields=[("Content-Type", "text/html")], body=b"no"), "probe-1"
    ).verdict is (ProbeVerdict.THROUGH)


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
    assert read(answer(access.RouteBlocked("x", kind="password"), **changes), "probe-1").verdict is ProbeVerdict.THROUGH


def test_a_refusal_cut_short_is_no_refusal() -> None:
    whole = answer(access.RouteBlocked("x", kind="password"))
    cut = ProbeResponse(status=whole.status, fields=whole.fields, body=whole.body[:20], complete=False)
    assert read(cut, "probe-1").verdict is ProbeVerdict.THROUGH


def test_nothing_at_all_says_nothing() -> None:
    assert read(None, "probe-1").verdict is ProbeVerdict.UNKNOWN


def test_the_answer_to_head_is_read_by_its_head() -> None:
    blocked = answer(access.RouteBlocked("x", kind="password"))
    assert (
        read(ProbeResponse(status=403, fields=blocked.fields, body=b""), "x", head_only=True).verdict
        is ProbeVerdict.CLOSED
    )
    assert read(ProbeResponse(status=403, fields=[], body=b""), "x", head_only=True).verdict is ProbeVerdict.THROUGH
    asks = answer(access.LoginRequired("x"))
    assert (
        read(ProbeResponse(status=401, fields=asks.fields, body=b""), "x", head_only=True).verdict
        is ProbeVerdict.SIGN_IN
    )
