"""The gate's decisions: values with a reason, never None for "allowed".

`rule` is the name of the rule that decided, for logs and events. Pure.
"""

from dataclasses import dataclass

from gateway.bearer.presented import BearerToken
from gateway.errors.refusal import Refusal
from gateway.policy.break_glass import RULE
from gateway.policy.step_up import NOTHING, StepUp
from gateway.sessions.live import LiveSession


@dataclass(frozen=True, slots=True)
class Forward:
    """Forward to the upstream as `wire`, the canonical target, with the identity of `session` or without one.

    `destination` is the canonical value of the Destination field; None where it has none.
    """

    wire: bytes
    session: LiveSession | None
    rule: str
    destination: bytes | None = None


@dataclass(frozen=True, slots=True)
class RedirectToSignIn:
    """A browser navigation that needs a sign-in. `return_to` is the canonical local URL after it."""

    return_to: str
    rule: str
    step_up: StepUp = NOTHING
    provider: str | None = None  # where the person signed in before; None: not signed in


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with a refusal."""

    refusal: Refusal
    rule: str


@dataclass(frozen=True, slots=True)
class Own:
    """An endpoint of ours (`/oauth2/...`). `wire` is the canonical target."""

    path: str
    wire: bytes


@dataclass(frozen=True, slots=True)
class AnswerPreflight:
    """Answer 204 with these fields, without the upstream."""

    fields: tuple[tuple[str, str], ...]
    rule: str


@dataclass(frozen=True, slots=True)
class NeedSession:
    """The decision needs the session of this key: look it up, and decide again with `session_looked_up`."""

    key: str


@dataclass(frozen=True, slots=True)
class NeedToken:
    """The decision needs this access token verified: do it, and decide again with `program`. What fails is the answer, never a redirect."""

    token: BearerToken


@dataclass(frozen=True, slots=True)
class NeedBody:
    """The decision needs the whole body: read it, and decide again. `unread` is the decision where it cannot be read."""

    unread: Refuse


Decision = Forward | RedirectToSignIn | Refuse | Own | AnswerPreflight | NeedSession | NeedToken | NeedBody


def is_by_break_glass(decision: Decision) -> bool:
    """Whether only break-glass admits the request."""
    return type(decision) is Forward and decision.rule.startswith(RULE)
