"""Refusals of requests that come with a token in place of a session (RFC 6750 section 3.1). Pure."""

from typing import Any, ClassVar

from gateway.errors.refusal import Refusal, WaysOn
from gateway.languages.message import Message


class TokenRefused(Refusal):
    """A token that does not admit the request. facts: error, error_description, scope: those of the challenge."""

    title = Message("token_refused.title", "The access token was refused")
    message = Message("token_refused.message", "This request came with an access token that is not accepted here.")
    ways_on: ClassVar[WaysOn] = ("home",)
    error: ClassVar[str] = ""
    description: ClassVar[str] = ""

    def __init__(self, detail: str = "", **facts: Any) -> None:
        super().__init__(detail, error=self.error, error_description=self.description, **facts)


class TokenRequestInvalid(TokenRefused):
    """Two ways at once to say who asks, or a token where none may stand."""

    status = 400
    code = "invalid_request"
    error = "invalid_request"
    description = "One token, in one Authorization field, and no session beside it"


class TokenInvalid(TokenRefused):
    """A token that failed a check; `reason` names it, for the log."""

    status = 401
    code = "invalid_token"
    error = "invalid_token"
    description = "The access token is malformed, expired, revoked or meant for another application"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class ScopeInsufficient(TokenRefused):
    """The rules of this route ask for scopes that the token does not have. facts: scope."""

    status = 403
    code = "insufficient_scope"
    error = "insufficient_scope"
    description = "The access token does not have the scopes of this route"


class ProgramsForbidden(TokenRefused):
    """The rules of this route let no programs in."""

    status = 403
    code = "programs_not_allowed"
    error = "insufficient_scope"
    description = "No access token is accepted on this route"


class TokenPersonForbidden(TokenRefused):
    """The token is good, and its person does not meet a requirement of this route."""

    status = 403
    code = "access_denied"
    error = "insufficient_scope"
    description = "The person of this access token has no access to this route"


class TokenPersonUnregistered(TokenRefused):
    """The token is good, and the directory has no account for its person."""

    status = 403
    code = "not_registered"
    error = "insufficient_scope"
    description = "The person of this access token is not registered here"
