"""Refusals of the sign-in: the provider and the directory. Pure."""

from typing import Any, ClassVar

from gateway.errors.refusal import Refusal, WaysOn
from gateway.errors.requests import BadRequest
from gateway.languages.message import Message


class SignInFailed(Refusal):
    """The login attempt did not end in a session. `reason` is a stable word for events and the page."""

    status = 400
    code = "sign_in_failed"
    title = Message("sign_in_failed.title", "Sign-in failed")
    message = Message("sign_in_failed.message", "Your sign-in could not be completed. Please try again.")
    ways_on: ClassVar[WaysOn] = ("retry", "another_account", "another_provider")

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class AuthenticationExpired(SignInFailed):
    """The provider's own sign-in form lay too long: the person may have signed in there in another tab. A new request is answered at once."""


class IdTokenInvalid(SignInFailed):
    """An ID Token that failed a check; `reason` names the check (signature, issuer, audience, nonce, expired...)."""

    status = 403
    code = "id_token_invalid"


class StepUpUnmet(IdTokenInvalid):
    """The sign-in that the provider answered with is too old or too weak for what was requested (RFC 9470). facts: retry_url."""

    code = "step_up_unmet"
    title = Message("step_up_unmet.title", "This page requires a stronger sign-in")
    message = Message(
        "step_up_unmet.message",
        "Your sign-in is too old or too weak for this page. You are still signed in as before. "
        "If you try again, you will be asked to sign in once more.",
    )
    ways_on = ("retry", "another_account", "home")


class RefreshRefused(SignInFailed):
    """The provider refused the session's refresh token for good (`invalid_grant`, RFC 6749 section 5.2). The session ends; no page shows it."""

    status = 401
    code = "refresh_refused"


class LogoutTokenInvalid(BadRequest):
    """A back-channel logout token that failed a check; `reason` names the check. No session was touched."""

    code = "logout_token_invalid"

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class EmailNotVerified(SignInFailed):
    """The address is not verified, and `require_verified_email` asks for that."""

    status = 403
    code = "email_not_verified"
    title = Message("email_not_verified.title", "Your email address is not verified")
    message = Message(
        "email_not_verified.message",
        "The sign-in page reports that your email address is not verified. Verify it there, then try again.",
    )
    ways_on = ("retry", "another_account", "another_provider")


class EmailDomainForeign(SignInFailed):
    """The address is outside the provider's `email_domains`."""

    status = 403
    code = "email_domain_foreign"
    title = Message("email_domain_foreign.title", "Your email address can't be used here")
    message = Message(
        "email_domain_foreign.message",
        "The sign-in page that you used is not meant for your email address. Please choose another one.",
    )
    ways_on = ("another_account", "another_provider")


class SignInExpired(SignInFailed):
    """A callback without a login attempt of this browser: the back button, a bookmark, a lost cookie. facts: cause, ui_locales."""

    code = "sign_in_expired"
    title = Message("sign_in_expired.title", "This sign-in has expired")
    message = Message(
        "sign_in_expired.message",
        "It has already been used, is more than 15 minutes old, or was started in another browser. There is nothing wrong with your account.",
    )
    ways_on = ("continue", "home")


class LoginTestGone(Refusal):
    """A link of a login test that was used, is too old, or was opened in another browser."""

    status = 403
    code = "login_test_gone"
    title = Message("login_test_gone.title", "This test link can't be used")
    message = Message(
        "login_test_gone.message",
        "It has been used, is more than ten minutes old, or was opened in another browser. Begin a new test where you began this one.",
    )
    ways_on = ("home",)


class TooManyFailedSignIns(SignInFailed):
    """`limits.failed_callbacks_per_address` is reached by the client's address. facts: retry_url."""

    status = 429
    code = "too_many_failed_sign_ins"
    title = Message("too_many_failed_sign_ins.title", "Too many sign-ins have failed")
    message = Message(
        "too_many_failed_sign_ins.message",
        "Too many sign-ins from your network have failed within a minute. There is nothing wrong with your account. "
        "Please wait a moment, then try again.",
    )
    ways_on = ("retry", "home")


class TooManySignIns(Refusal):
    """`limits.pushed_requests_per_address` is reached by the client's address. Nothing was asked of the provider."""

    status = 429
    code = "too_many_sign_ins"
    title = Message("too_many_sign_ins.title", "Too many sign-ins have been started")
    message = Message(
        "too_many_sign_ins.message",
        "Too many sign-ins from your network have been started within a minute. Please wait a moment, then try again.",
    )
    ways_on = ("retry", "home")


class TooManyRedirects(SignInFailed):
    """Several login attempts within a short time, and no session was kept. facts: cause."""

    status = 400
    code = "redirect_loop"
    title = Message("redirect_loop.title", "Sign-in keeps starting over")
    message = Message(
        "redirect_loop.message",
        "You were sent to the sign-in page several times, but each time you came back without being signed in.",
    )
    ways_on = ("retry", "another_provider")


class TooManySessions(Refusal):
    """The person has `max_per_person` sessions in this app, and `when_full` is `refuse`. facts: account, switch_url."""

    status = 403
    code = "too_many_sessions"
    title = Message("too_many_sessions.title", "You are signed in on too many devices")
    message = Message(
        "too_many_sessions.message",
        "You have reached the number of browsers and devices that this site allows. Sign out on one of them, then try again.",
    )
    ways_on = ("retry", "another_account", "another_provider")


class UnknownIssuer(BadRequest):
    """A third-party initiated login (OpenID Connect Core 1.0 section 4) names an issuer that is not configured."""

    code = "unknown_issuer"
    title = Message("unknown_issuer.title", "This link is for another sign-in page")
    message = Message(
        "unknown_issuer.message", "The link that brought you here names a sign-in page that this site does not use."
    )
    ways_on = ("continue", "home")


class ProviderUnavailable(Refusal):
    """The provider cannot be reached, or its metadata was never read."""

    status = 503
    code = "provider_unavailable"
    title = Message("provider_unavailable.title", "The sign-in page is not available")
    message = Message(
        "provider_unavailable.message",
        "Nobody can sign in at the moment. If you are already signed in, you are not affected. Please try again in a minute.",
    )
    ways_on = ("retry", "another_provider", "home")

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class ProviderFault(Refusal):
    """The provider's response cannot be used."""

    status = 502
    code = "provider_fault"
    title = Message("provider_fault.title", "The sign-in page sent an invalid response")
    message = Message(
        "provider_fault.message",
        "Your sign-in could not be completed because of an error on the sign-in page. Please try again.",
    )
    ways_on = ("retry", "another_provider", "home")


class NotRegistered(Refusal):
    """The directory has no account for the person, and none is created. facts: account, switch_url."""

    status = 403
    code = "not_registered"
    title = Message("not_registered.title", "You are not registered here")
    message = Message(
        "not_registered.message",
        "Your sign-in worked, but there is no member account for you. Please ask the people who run this site to add you.",
    )
    ways_on = ("another_account", "another_provider", "retry")


class AccountSuspended(Refusal):
    """The directory's account of the person is not active."""

    status = 403
    code = "account_suspended"
    title = Message("account_suspended.title", "Your account is not active")
    message = Message(
        "account_suspended.message",
        "There is a member account for you, but it is not active. Please contact the people who run this site.",
    )
    ways_on = ("another_account", "another_provider", "retry")


class AccountLinkedElsewhere(Refusal):
    """The account with this e-mail address is linked to another subject. facts: account, switch_url."""

    status = 403
    code = "account_linked_elsewhere"
    title = Message("account_linked_elsewhere.title", "This account belongs to another sign-in")
    message = Message(
        "account_linked_elsewhere.message",
        "There is a member account with your email address, but it is already linked to a different sign-in. "
        "Please contact the people who run this site.",
    )
    ways_on = ("another_account", "another_provider", "retry")


class AccountAmbiguous(Refusal):
    """Several accounts have this e-mail address, and no rule says which is meant. facts: account, switch_url."""

    status = 403
    code = "account_ambiguous"
    title = Message("account_ambiguous.title", "There is more than one account for you")
    message = Message(
        "account_ambiguous.message",
        "Several member accounts have your email address, and it is unclear which one is yours. Please contact the people who run this site.",
    )
    ways_on = ("another_account", "another_provider", "retry")


class DirectoryUnavailable(Refusal):
    """A call to the directory failed. `reason` is a stable word: throttled, timeout, unauthorized..."""

    status = 503
    code = "directory_unavailable"
    title = Message("directory_unavailable.title", "Your account could not be looked up")
    message = Message(
        "directory_unavailable.message",
        "Your sign-in worked, but the member directory did not respond. Nothing was lost or created twice. Please try again in a minute.",
    )
    ways_on = ("retry", "another_account")

    def __init__(self, reason: str, detail: str = "", *, retry_after: int | None = 10, **facts: Any) -> None:
        super().__init__(detail or reason, retry_after=retry_after, reason=reason, **facts)
        self.reason = reason
