"""Every way to refuse, one class a fact.

A refusal is an exception that carries what the person may read (`title`, `message`), what a program may test (`status`, `code`)
and what only the log gets (`detail`). `web.pages` renders it, in one place. Foreign exceptions become one of these in the module
that touches the library.
"""

from typing import Any, ClassVar


class Refusal(Exception):
    """A request that is not served as asked.

    `detail` goes to the log and never to the client. `facts` are values the page may show (already trusted or escaped by the
    template). `retry_after` is in seconds. `close` ends the client's connection: its framing can no longer be believed.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong"
    message: ClassVar[str] = "The request could not be completed. Please try again."
    close: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **facts: Any) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.retry_after = retry_after
        self.facts = facts


# --- the request itself -----------------------------------------------------------------------------------------------


class BadRequest(Refusal):
    status = 400
    code = "bad_request"
    title = "This request is not valid"
    message = "The address or the request could not be understood."


class MalformedRequest(BadRequest):
    """Framing or syntax that no two parsers may be trusted to read alike."""

    code = "malformed_request"
    close = True


class AmbiguousTarget(BadRequest):
    code = "ambiguous_target"
    title = "This address can be read in two ways"
    message = "The address holds an encoding that servers read differently. Use the plain form of the address."


class HeadTooLarge(Refusal):
    status = 431
    code = "request_header_fields_too_large"
    title = "The request's headers are too large"
    message = "The browser sent more header data than is accepted here. Clearing this site's cookies usually helps."
    close = True


class TargetTooLong(Refusal):
    status = 414
    code = "uri_too_long"
    title = "The address is too long"
    message = "The address is longer than is accepted here."
    close = True


class PayloadTooLarge(Refusal):
    status = 413
    code = "content_too_large"
    title = "The request is too large"
    message = "The request carries more data than is accepted here."
    close = True


class RequestTimeout(Refusal):
    status = 408
    code = "request_timeout"
    title = "The request took too long to arrive"
    message = "The request did not arrive completely in time."
    close = True


class MethodNotAllowed(Refusal):
    status = 405
    code = "method_not_allowed"
    title = "This method is not allowed"
    message = "The request method is not accepted for this address."


class CodingNotImplemented(Refusal):
    status = 501
    code = "not_implemented"
    title = "This transfer coding or method is not supported"
    message = "The request uses a transfer coding or a method that is not supported here."
    close = True


class VersionNotSupported(Refusal):
    status = 505
    code = "http_version_not_supported"
    title = "This HTTP version is not supported"
    message = "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    close = True


class ExpectationFailed(Refusal):
    status = 417
    code = "expectation_failed"
    title = "This expectation cannot be met"
    message = "Only Expect: 100-continue is understood."
    close = True


class UpgradeRequired(Refusal):
    status = 426
    code = "upgrade_required"
    title = "This WebSocket version is not supported"
    message = "Only version 13 of the WebSocket protocol is spoken here."


class UnknownHost(Refusal):
    status = 421
    code = "unknown_host"
    title = "No application answers under this name"
    message = "The host name of the address is not one that is served here."


class NotFound(Refusal):
    status = 404
    code = "not_found"
    title = "There is nothing here"
    message = "This address does not exist."


class ServiceDraining(Refusal):
    status = 503
    code = "draining"
    title = "This server is restarting"
    message = "Please try again."
    close = True


# --- who may do what --------------------------------------------------------------------------------------------------


class LoginRequired(Refusal):
    """A program asked without a session; browsers are redirected instead. facts: sign_in_url."""

    status = 401
    code = "login_required"
    title = "Please sign in"
    message = "You are not signed in, or your session has ended."


class StepUpRequired(Refusal):
    """A program needs a fresher or stronger sign-in (RFC 9470). facts: sign_in_url, max_age, acr_values."""

    status = 401
    code = "insufficient_user_authentication"
    title = "Please sign in again"
    message = "This page needs a fresher or stronger sign-in."


class Forbidden(Refusal):
    """Signed in, but a rule asks for more. facts: account, switch_url."""

    status = 403
    code = "access_denied"
    title = "You have no access to this page"
    message = "You are signed in, but this page is not open to your account."


class SignInDisabled(Refusal):
    status = 403
    code = "sign_in_disabled"
    title = "This page is closed"
    message = "This page needs a sign-in, and sign-in is switched off."


class OriginForbidden(Refusal):
    status = 403
    code = "origin_not_allowed"
    title = "This origin is not allowed"
    message = "The connection was opened from another site."


class RouteBlocked(Refusal):
    """A password door that is shut. facts: kind, sign_in_url."""

    status = 403
    code = "password_login_disabled"
    title = "Signing in with a password is switched off"
    message = "This site signs people in through the company's sign-in page. Passwords are neither accepted, set nor reset here."


class OwnLoginClosed(RouteBlocked):
    """The upstream wants its own login of somebody who has a session here: sending them to the provider again would loop. facts: account."""

    title = "The application asks for its own login"
    message = "You are signed in here, but the application opened its own password page, which is switched off. Its own session has probably ended."


class UntrustedPeer(Refusal):
    status = 403
    code = "untrusted_peer"
    title = "This address is not for you"
    message = "Only proxies that the operator trusts may ask here."


class CrossSiteRequest(Refusal):
    status = 403
    code = "cross_site_request"
    title = "This request came from another site"
    message = "For your safety this can only be done from this site's own pages."


# --- signing in -------------------------------------------------------------------------------------------------------


class SignInFailed(Refusal):
    """The trip to the provider did not end in a session. `reason` is a stable word for events and the page."""

    status = 400
    code = "sign_in_failed"
    title = "Signing in did not work"
    message = "The sign-in could not be completed. Please try again."

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class IdTokenInvalid(SignInFailed):
    """An ID Token that failed a check; `reason` names the check (signature, issuer, audience, nonce, expired...)."""

    status = 403
    code = "id_token_invalid"


class LogoutTokenInvalid(BadRequest):
    """A back-channel logout token that failed a check; `reason` names the check. No session was touched."""

    code = "logout_token_invalid"
    title = "This logout token is not valid"
    message = "The logout token could not be accepted."

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class EmailNotVerified(SignInFailed):
    status = 403
    code = "email_not_verified"
    title = "Your e-mail address is not verified"
    message = "The sign-in page says that your e-mail address is not verified. Verify it there, then try again."


class SignInExpired(SignInFailed):
    """An answer from the provider that no sign-in of this browser waits for: the back button, a bookmark, a lost cookie. facts: cause."""

    code = "sign_in_expired"
    title = "This sign-in is over"
    message = "It was used already, is older than fifteen minutes, or began in another browser. Nothing is wrong with your account."


class TooManyRedirects(SignInFailed):
    """The loop breaker. facts: cause."""

    status = 400
    code = "redirect_loop"
    title = "Signing in goes round in circles"
    message = "You were sent to the sign-in page several times without a session being kept."


class ProviderUnavailable(Refusal):
    status = 503
    code = "provider_unavailable"
    title = "The sign-in page cannot be reached"
    message = "Nobody can sign in at the moment. People who are signed in already are not affected. Please try again in a minute."

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class ProviderFault(Refusal):
    """The provider answered, and the answer cannot be used."""

    status = 502
    code = "provider_fault"
    title = "The sign-in page gave an answer that cannot be used"
    message = "The sign-in could not be completed because of an error at the sign-in page. Please try again."


# --- the directory ----------------------------------------------------------------------------------------------------


class NotRegistered(Refusal):
    """Known to the provider, not to the directory, and not to be created. facts: account, switch_url."""

    status = 403
    code = "not_registered"
    title = "You are not registered here"
    message = "You signed in, but there is no member account for you. Ask the people who run this space to add you."


class AccountSuspended(Refusal):
    status = 403
    code = "account_suspended"
    title = "Your account is not active"
    message = "There is a member account for you, but it is not active. Ask the people who run this space."


class DirectoryUnavailable(Refusal):
    """The directory could not be asked, or did not say. `reason` is a stable word: throttled, timeout, unauthorized..."""

    status = 503
    code = "directory_unavailable"
    title = "Your account could not be looked up"
    message = "You signed in, but the member directory did not answer. Nothing was lost or created twice. Please try again in a minute."

    def __init__(self, reason: str, detail: str = "", *, retry_after: int | None = 10, **facts: Any) -> None:
        super().__init__(detail or reason, retry_after=retry_after, reason=reason, **facts)
        self.reason = reason


# --- what we depend on ------------------------------------------------------------------------------------------------


class StoreUnavailable(Refusal):
    """Redis is down, refuses or answers nonsense: nobody is signed out by that, and nobody is let in."""

    status = 503
    code = "session_store_unavailable"
    title = "Sessions cannot be checked at the moment"
    message = "You are still signed in. Please try again in a moment."

    def __init__(self, detail: str = "", *, retry_after: int | None = 2, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamUnreachable(Refusal):
    status = 503
    code = "upstream_unavailable"
    title = "The application cannot be reached"
    message = "The application behind this address does not accept connections at the moment. Please try again in a minute."

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamFault(Refusal):
    status = 502
    code = "upstream_fault"
    title = "The application gave an answer that cannot be used"
    message = "The application behind this address broke off or answered in a way that cannot be passed on."


class UpstreamTimeout(Refusal):
    status = 504
    code = "upstream_timeout"
    title = "The application took too long to answer"
    message = "The application behind this address did not answer in time."
