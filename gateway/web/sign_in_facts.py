"""What the events of a sign-in say: who, from where, at which app and provider, for which page."""

from dataclasses import dataclass
from typing import Any

from gateway.config.claim_path import ClaimPath
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import SignInFailed
from gateway.identity.claims import Claims
from gateway.observability import events
from gateway.observability.events import Audit
from gateway.oidc.authorization import LoginAttempt
from gateway.sessions.pending_sign_in import PendingSignIn
from gateway.sign_in.begin import page_of
from gateway.web.request import WebRequest


@dataclass(slots=True, kw_only=True)
class SignInFacts:
    """What is known of a sign-in so far. `page` is the path that it is for, `subject` the provider's name for the person."""

    provider: str | None = None
    page: str | None = None
    subject: str | None = None
    email: str | None = None

    @classmethod
    def of_attempt(cls, attempt: LoginAttempt) -> "SignInFacts":
        return cls(provider=attempt.provider, page=page_of(attempt.return_to))

    @classmethod
    def of_pending(cls, waiting: PendingSignIn) -> "SignInFacts":
        who = waiting.session.identity
        page = page_of(waiting.return_to)
        return cls(provider=waiting.session.provider, page=page, subject=who.subject, email=who.email)

    def verified(self, claims: Claims, email_claim: ClaimPath) -> None:
        """The provider has said who it is; whether the person may come in is not decided yet."""
        email = email_claim.value_in(claims.values)
        self.subject, self.email = claims.subject, email if isinstance(email, str) else None

    def to_event(self, request: WebRequest) -> dict[str, Any]:
        """The fields that every event of a sign-in has."""
        return {
            "app": request.route.name, "request_id": request.request_id, "client": request.client, "provider": self.provider,
            "page": self.page, "subject": self.subject, "email": self.email,
        }  # fmt: skip

    def emit_refused(self, audit: Audit, request: WebRequest, refusal: Refusal) -> str:
        """Write `login.refused`; the reason that it has."""
        reason = refusal.reason if isinstance(refusal, SignInFailed) else refusal.code
        audit.emit(events.LOGIN_REFUSED, **self.to_event(request), reason=reason)
        return reason
