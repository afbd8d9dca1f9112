"""Refusals of the sign-in: the provider and the directory. Pure."""

from typing import Any, ClassVar

from gateway.errors.refusal import Refusal, WaysOn
from gateway.errors.requests import BadRequest


class SignInFailed(Refusal):
    """The login attempt did not end in a session. `reason` is a stable word for events and the page."""

    status = 400
    code = "sign_in_failed"
    title = "Signing in did not work"
    message = "The sign-in could not be completed. Please try again."
    ways_on: ClassVar[WaysOn] = ("retry", "another_account", "another_provider")

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class IdTokenInvalid(SignInFailed):
    """An ID Token that failed a check; `reason` names the check (signature, issuer, audience, nonce, expired...)."""

    status = 403
    code = "id_token_invalid"


class StepUpUnmet(IdTokenInvalid):
    """The sign-in that the provider answered with is too old or too weak for what was requested (RFC 9470). facts: retry_url."""

    code = "step_up_unmet"
    title = "This page needs a fresher or stronger sign-in"
    message = (
        "The sign-in page answered with a sign-in that is too old or too weak for this page. You are still signed in here as before. "
        "Try again: you will be asked to sign in anew."
    )
    ways_on = ("retry", "another_account", "home")


class RefreshRefused(SignInFailed):
    """The provider refused the session's refresh token for good (`invalid_grant`, RFC 6749 section 5.2). The session ends; no page shows it."""

    status = 401
    code = "refresh_refused"


class LogoutTokenInvalid(BadRequest):
    """A back-channel logout token that failed a check; `reason` names the check. No session was touched."""

    code = "logout_token_invalid"
    title = "This logout token is not valid"
    message = "The logout token could not be accepted."

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class EmailNotVerified(SignInFailed):
    """The address is not verified, and `require_verified_email` asks for that."""

    status = 403
    code = "email_not_verified"
    title = "Your e-mail address is not verified"
    message = "The sign-in page says that your e-mail address is not verified. Verify it there, then try again."
    ways_on = ("retry", "another_account", "another_provider")


class EmailDomainForeign(SignInFailed):
    """The address is outside the provider's `email_domains`."""

    status = 403
    code = "email_domain_foreign"
    title = "Your e-mail address does not belong to this sign-in page"
    message = (
        "You signed in, but at a sign-in page that is not the one for your e-mail address. Please choose another one."
    )
    ways_on = ("another_account", "another_provider")


class SignInExpired(SignInFailed):
    """A callback without a login attempt of this browser: the back button, a bookmark, a lost cookie. facts: cause."""

    code = "sign_in_expired"
    title = "This sign-in is over"
    message = "It was used already, is older than fifteen minutes, or began in another browser. Nothing is wrong with your account."
    ways_on = ("continue", "home")


class TooManyFailedSignIns(SignInFailed):
    """`limits.failed_callbacks_per_address` is reached by the client's address. facts: retry_url."""

    status = 429
    code = "too_many_failed_sign_ins"
    title = "Too many sign-ins have failed"
    message = (
        "Too many sign-ins from your network have failed within a minute. Nothing is wrong with your account. "
        "Please wait a moment, then try again."
    )
    ways_on = ("retry", "home")


class TooManyRedirects(SignInFailed):
    """Several login attempts within a short time, and no session was kept. facts: cause."""

    status = 400
    code = "redirect_loop"
    title = "Signing in goes round in circles"
    message = "You were sent to the sign-in page several times without a session being kept."
    ways_on = ("retry", "another_provider")


class TooManySessions(Refusal):
    """The person has `max_per_person` sessions in this app, and `when_full` is `refuse`. facts: account, switch_url."""

    status = 403
    code = "too_many_sessions"
    title = "You are signed in in too many places"
    message = "You are signed in on as many browsers and devices as this site allows. Sign out on one of them, then try again."
    ways_on = ("retry", "another_account", "another_provider")


class UnknownIssuer(BadRequest):
    """A third-party initiated login (OpenID Connect Core 1.0 section 4) names an issuer that is not configured."""

    code = "unknown_issuer"
    title = "This sign-in was begun for another sign-in page"
    message = "The link that brought you here names a sign-in page that this site does not use."
    ways_on = ("continue", "home")


class ProviderUnavailable(Refusal):
    """The provider cannot be reached, or its metadata was never read."""

    status = 503
    code = "provider_unavailable"
    title = "The sign-in page cannot be reached"
    message = "Nobody can sign in at the moment. People who are signed in already are not affected. Please try again in a minute."
    ways_on = ("retry", "another_provider", "home")

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class ProviderFault(Refusal):
    """The provider's response cannot be used."""

    status = 502
    code = "provider_fault"
    title = "The sign-in page gave an answer that cannot be used"
    message = "The sign-in could not be completed because of an error at the sign-in page. Please try again."
    ways_on = ("retry", "another_provider", "home")


class NotRegistered(Refusal):
    """The directory has no account for the person, and none is created. facts: account, switch_url."""

    status = 403
    code = "not_registered"
    title = "You are not registered here"
    message = "You signed in, but there is no member account for you. Ask the people who run this space to add you."
    ways_on = ("another_account", "another_provider", "retry")


class AccountSuspended(Refusal):
    """The directory's account of the person is not active."""

    status = 403
    code = "account_suspended"
    title = "Your account is not active"
    message = "There is a member account for you, but it is not active. Ask the people who run this space."
    ways_on = ("another_account", "another_provider", "retry")


class AccountLinkedElsewhere(Refusal):
    """The account with this e-mail address is linked to another subject. facts: account, switch_url."""

    status = 403
    code = "account_linked_elsewhere"
    title = "This account belongs to another sign-in"
    message = "There is a member account with your e-mail address, but somebody else has signed in to it before. Ask who runs this space."
    ways_on = ("another_account", "another_provider", "retry")


class AccountAmbiguous(Refusal):
    """Several accounts have this e-mail address, and no rule says which is meant. facts: account, switch_url."""

    status = 403
    code = "account_ambiguous"
    title = "There is more than one account for you"
    message = "Several member accounts have your e-mail address, and it is not clear which one is yours. Ask the people who run this space."
    ways_on = ("another_account", "another_provider", "retry")


class DirectoryUnavailable(Refusal):
    """A call to the directory failed. `reason` is a stable word: throttled, timeout, unauthorized..."""

    status = 503
    code = "directory_unavailable"
    title = "Your account could not be looked up"
    message = "You signed in, but the member directory did not answer. Nothing was lost or created twice. Please try again in a minute."
    ways_on = ("retry", "another_account")

    def __init__(self, reason: str, detail: str = "", *, retry_after: int | None = 10, **facts: Any) -> None:
        super().__init__(detail or reason, retry_after=retry_after, reason=reason, **facts)
        self.reason = reason
