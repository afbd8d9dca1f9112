"""The verdict on a response, from outside.

Pure. A refusal counts only when it is certainly a Doorward's: a problem document with its `type`, the status of the response, and
our own request ID where the request could be read that far. A 403 or 404 of the application means that the request passed, and so
does any unknown response. A redirect to sign-in is no refusal either: a closed password route is closed with and without a
session.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.errors import access, dependencies, requests
from gateway.errors.refusal import Refusal

_TYPE: Final = "urn:doorward:problem:"
_CLOSED: Final = frozenset({access.RouteBlocked.code})
#: The gateway never forwards these, with or without a session.
_NOT_FORWARDED: Final = frozenset(
    kind.code
    for kind in (
        requests.BadRequest,
        requests.MalformedRequest,
        requests.AmbiguousTarget,
        requests.HeadTooLarge,
        requests.TargetTooLong,
        requests.PayloadTooLarge,
        requests.MethodNotAllowed,
        requests.CodingNotImplemented,
        requests.VersionNotSupported,
        requests.ExpectationFailed,
        requests.UpgradeRequired,
        requests.UnknownHost,
        requests.NotFound,
    )
)
_SIGN_IN: Final = frozenset(
    kind.code for kind in (access.LoginRequired, access.StepUpRequired, access.Forbidden, access.SignInDisabled)
)
_UNKNOWN: Final = frozenset(kind.code for kind in (dependencies.StoreUnavailable, requests.RequestTimeout, Refusal))
_BEFORE_READING: Final = frozenset({400, 405, 408, 414, 417, 421, 431, 501, 505})


class ProbeVerdict(StrEnum):
    """CLOSED: refused as a password route. MALFORMED: refused as no valid request, FRONT by a proxy before the gateway.

    SIGN_IN and THROUGH: it passed, or would with a session.
    """

    CLOSED = "closed"
    MALFORMED = "malformed"
    FRONT = "refused in front"
    SIGN_IN = "sign-in only"
    THROUGH = "through"
    UNKNOWN = "no answer"


PASSED_VERDICTS: Final = (ProbeVerdict.SIGN_IN, ProbeVerdict.THROUGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResponse:
    """A received response; `body` is cut at the greatest length of a problem document."""

    status: int
    fields: Sequence[tuple[str, str]]
    body: bytes
    complete: bool = True

    def value(self, name: str) -> str:
        return next((value for found, value in self.fields if found.lower() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFinding:
    """A verdict; `text` is the status and code, for people."""

    verdict: ProbeVerdict
    text: str


def read(response: ProbeResponse | None, request_id: str, *, head_only: bool = False) -> ProbeFinding:
    """The verdict on one response; None means that the connection ended without one."""
    if response is None:
        return ProbeFinding(verdict=ProbeVerdict.UNKNOWN, text="nothing")
    if head_only:
        return _read_head(response)
    problem = problem_of(response)
    if problem is None:
        return ProbeFinding(verdict=ProbeVerdict.THROUGH, text=str(response.status))
    code = str(problem["code"])
    text = f"{response.status} {code}"
    # A head that cannot be parsed has no ID: the gateway responds with an ID of its own.
    if problem.get("request_id") != request_id and response.status not in _BEFORE_READING:
        return ProbeFinding(verdict=ProbeVerdict.THROUGH, text=f"{text} of another request")
    return ProbeFinding(verdict=_verdict(code), text=text)


def problem_of(response: ProbeResponse) -> dict[str, Any] | None:
    """The problem document of a Doorward, or None."""
    if response.value("content-type").partition(";")[0] != "application/problem+json" or not response.complete:
        return None
    try:
        found = json.loads(response.body)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("type") != f"{_TYPE}{found.get('code')}":
        return None
    return found if found.get("status") == response.status else None


def _verdict(code: str) -> ProbeVerdict:
    if code in _CLOSED:
        return ProbeVerdict.CLOSED
    if code in _NOT_FORWARDED:
        return ProbeVerdict.MALFORMED
    if code in _SIGN_IN:
        return ProbeVerdict.SIGN_IN
    return ProbeVerdict.UNKNOWN if code in _UNKNOWN else ProbeVerdict.THROUGH  # upstream_*: it was forwarded


def _read_head(response: ProbeResponse) -> ProbeFinding:
    """The verdict on a response to HEAD, which has no body: by content type and status."""
    ours = response.value("content-type").startswith("application/problem+json")
    text = f"{response.status} (HEAD)"
    if ours and response.status == access.RouteBlocked.status:
        return ProbeFinding(verdict=ProbeVerdict.CLOSED, text=text)
    if ours and response.status in _BEFORE_READING:
        return ProbeFinding(verdict=ProbeVerdict.MALFORMED, text=text)
    return ProbeFinding(
        verdict=ProbeVerdict.SIGN_IN if ours and response.status == 401 else ProbeVerdict.THROUGH, text=text
    )
