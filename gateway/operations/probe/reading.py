"""What an answer says about the door, seen from outside.

Pure. A refusal counts only when it is one of ours beyond doubt: a problem document whose `type` is ours, whose `status` is the answer's, and
which tells our own request id where the request could be read that far. An application that answers 403 or 404 was reached, and so does
everything count that is not understood. Asking for a sign-in is not a shut door either: the door is shut for everyone, signed in or not.
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
#: The gateway did not pass these on, whoever had asked.
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
    """CLOSED: the door said so. MALFORMED: refused before anything could be meant by it. Of the others, the first two are holes."""

    CLOSED = "closed"
    MALFORMED = "malformed"
    SIGN_IN = "sign-in only"
    THROUGH = "through"
    UNKNOWN = "no answer"


HOLES: Final = (ProbeVerdict.SIGN_IN, ProbeVerdict.THROUGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResponse:
    """A response as it came; `body` is cut at what a problem document can be long."""

    status: int
    fields: Sequence[tuple[str, str]]
    body: bytes
    complete: bool = True

    def value(self, name: str) -> str:
        return next((value for found, value in self.fields if found.lower() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReader:
    """`said` is for people: status and code."""

    verdict: ProbeVerdict
    said: str


def read(answer: ProbeResponse | None, request_id: str, *, head_only: bool = False) -> ResponseReader:
    """The verdict on one answer; None: the connection ended without one."""
    if answer is None:
        return ResponseReader(verdict=ProbeVerdict.UNKNOWN, said="nothing")
    if head_only:
        return _read_head(answer)
    problem = problem_of(answer)
    if problem is None:
        return ResponseReader(verdict=ProbeVerdict.THROUGH, said=str(answer.status))
    code = str(problem["code"])
    said = f"{answer.status} {code}"
    # A head that could not be read has no id: the answer to it has one of the door's own.
    if problem.get("request_id") != request_id and answer.status not in _BEFORE_READING:
        return ResponseReader(verdict=ProbeVerdict.THROUGH, said=f"{said} of another request")
    return ResponseReader(verdict=_verdict(code), said=said)


def problem_of(answer: ProbeResponse) -> dict[str, Any] | None:
    """The problem document of a Doorward; None for everything else."""
    if answer.value("content-type").partition(";")[0] != "application/problem+json" or not answer.complete:
        return None
    try:
        found = json.loads(answer.body)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("type") != f"{_TYPE}{found.get('code')}":
        return None
    return found if found.get("status") == answer.status else None


def _verdict(code: str) -> ProbeVerdict:
    if code in _CLOSED:
        return ProbeVerdict.CLOSED
    if code in _NOT_FORWARDED:
        return ProbeVerdict.MALFORMED
    if code in _SIGN_IN:
        return ProbeVerdict.SIGN_IN
    return ProbeVerdict.UNKNOWN if code in _UNKNOWN else ProbeVerdict.THROUGH  # upstream_*: it was passed on


def _read_head(answer: ProbeResponse) -> ResponseReader:
    """The answer to HEAD has no body: of our documents only the kind and the status are seen."""
    ours = answer.value("content-type").startswith("application/problem+json")
    said = f"{answer.status} (HEAD)"
    if ours and answer.status == access.RouteBlocked.status:
        return ResponseReader(verdict=ProbeVerdict.CLOSED, said=said)
    if ours and answer.status in _BEFORE_READING:
        return ResponseReader(verdict=ProbeVerdict.MALFORMED, said=said)
    return ResponseReader(
        verdict=ProbeVerdict.SIGN_IN if ours and answer.status == 401 else ProbeVerdict.THROUGH, said=said
    )
