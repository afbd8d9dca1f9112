"""What the gate decides about a request: a value with a reason, never None for "allowed".

Pure. `rule` is the name of the rule that decided, for logs and events.
"""

from dataclasses import dataclass

from gateway.errors.refusal import Refusal
from gateway.policy.break_glass import RULE
from gateway.policy.step_up import NOTHING, StepUp
from gateway.sessions.live import LiveSession


@dataclass(frozen=True, slots=True)
class Forward:
    """To the upstream, as `wire`; with the identity of `live`, or without one. `destination`: what its Destination says, in canonical form."""

    wire: bytes
    live: LiveSession | None
    rule: str
    destination: bytes | None = None


@dataclass(frozen=True, slots=True)
class RedirectToSignIn:
    """A browser navigation that must go to the provider first."""

    return_to: str
    rule: str
    step_up: StepUp = NOTHING
    provider: str | None = None  # where the person signed in before; None: a stranger


@dataclass(frozen=True, slots=True)
class Refuse:
    refusal: Refusal
    rule: str


@dataclass(frozen=True, slots=True)
class Own:
    """A page of ours, under the canonical `wire`."""

    path: str
    wire: bytes


@dataclass(frozen=True, slots=True)
class AnswerPreflight:
    """204 with these fields; the upstream does not hear of it."""

    fields: tuple[tuple[str, str], ...]
    rule: str


@dataclass(frozen=True, slots=True)
class NeedSession:
    key: str


@dataclass(frozen=True, slots=True)
class NeedBody:
    """A password door, or a rule by method, must read the body before anybody else does; `unread` is the answer where it cannot be had."""

    unread: Refuse


Decision = Forward | RedirectToSignIn | Refuse | Own | AnswerPreflight | NeedSession | NeedBody


def is_by_break_glass(decision: Decision) -> bool:
    """Whether break-glass alone let the request in."""
    return type(decision) is Forward and decision.rule.startswith(RULE)
