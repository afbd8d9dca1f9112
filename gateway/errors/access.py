"""Refusals because of who asks, from where, or for what. Pure."""

from collections.abc import Mapping
from typing import ClassVar

from gateway.errors.refusal import Refusal, WaysOn
from gateway.languages.message import Message


class LoginRequired(Refusal):
    """A request without a session that is no browser navigation, which is redirected instead. facts: sign_in_url."""

    status = 401
    code = "login_required"
    title = Message("login_required.title", "Please sign in")
    message = Message("login_required.message", "You are not signed in, or your session has ended.")
    ways_on = ("sign_in", "home")


class FormLost(LoginRequired):
    """A form that was sent without a session, and is not kept. facts: sign_in_url, target, note."""

    code = "form_lost"
    title = Message("form_lost.title", "Your session has ended")
    message = Message(
        "form_lost.message",
        "What you sent was not accepted, and it is not kept here. Sign in, then go back to the form: your browser may still have what "
        "you typed.",
    )
    notes: ClassVar[Mapping[str, Message]] = {
        "cross_site": Message("form_lost.cross_site", "The form was sent from another site."),
        "upload": Message("form_lost.upload", "Files are never kept."),
        "password": Message("form_lost.password", "A form with a password is never kept."),
        "too_large": Message("form_lost.too_large", "It is larger than what can be kept."),
    }


class FormKept(LoginRequired):
    """A form that was sent into an ended session, and is kept (`held_forms`). facts: sign_in_url, target."""

    code = "form_kept"
    title = Message("form_kept.title", "Your session has ended")
    message = Message(
        "form_kept.message",
        "What you typed is kept for 15 minutes, for you only. Sign in, and you can send it with one click.",
    )


class FormOfAnotherPerson(Refusal):
    """The browser has a kept form, and another person is signed in now. facts: account, switch_url."""

    status = 403
    code = "form_of_another_person"
    title = Message("form_of_another_person.title", "Another person filled in this form")
    message = Message(
        "form_of_another_person.message",
        "A form is kept in this browser for another account. Only that account can send it.",
    )
    ways_on = ("another_account", "home")


class FormGone(Refusal):
    """There is no kept form: it was sent, its time is over, or the browser has none."""

    status = 410
    code = "form_gone"
    title = Message("form_gone.title", "The form is no longer kept")
    message = Message("form_gone.message", "It has already been sent, or more than 15 minutes have passed.")
    ways_on = ("home",)


class StepUpRequired(Refusal):
    """The route needs a fresher or stronger sign-in, and the request is no navigation (RFC 9470). facts: sign_in_url, max_age, acr_values."""

    status = 401
    code = "insufficient_user_authentication"
    title = Message("insufficient_user_authentication.title", "Please sign in again")
    message = Message(
        "insufficient_user_authentication.message", "This page requires a more recent or a stronger sign-in."
    )
    ways_on = ("sign_in", "home")


class Forbidden(Refusal):
    """The person is signed in and does not meet a requirement. facts: account, switch_url."""

    status = 403
    code = "access_denied"
    title = Message("access_denied.title", "You don't have access to this page")
    message = Message("access_denied.message", "You are signed in, but your account does not have access to this page.")
    ways_on = ("another_account", "another_provider", "home", "sign_out")


class SignInDisabled(Refusal):
    """The route needs a person, and `openid.enabled` is off."""

    status = 403
    code = "sign_in_disabled"
    title = Message("sign_in_disabled.title", "This page is closed")
    message = Message(
        "sign_in_disabled.message", "This page requires you to sign in, and sign-in is currently turned off."
    )
    ways_on = ("home", "retry")


class OriginForbidden(Refusal):
    """A WebSocket handshake from an origin that the app does not list."""

    status = 403
    code = "origin_not_allowed"
    title = Message("origin_not_allowed.title", "This connection is not allowed")
    message = Message("origin_not_allowed.message", "The connection was opened from another site.")
    ways_on = ("home", "retry")


class RouteBlocked(Refusal):
    """A password route that is closed. facts: kind, sign_in_url."""

    status = 403
    code = "password_login_disabled"
    title = Message("password_login_disabled.title", "Password sign-in is turned off")
    message = Message(
        "password_login_disabled.message",
        "You sign in to this site on a separate sign-in page. Passwords cannot be entered, set or reset here.",
    )
    ways_on: ClassVar[WaysOn] = ("sign_in", "home")


class OwnLoginClosed(RouteBlocked):
    """The upstream's own login page was asked for by a person with a session: another sign-in would loop. facts: account."""

    title = Message("own_login_closed.title", "The application asks for its own login")
    message = Message(
        "own_login_closed.message",
        "You are signed in, but the application asks for its own password, and password sign-in is turned off. Its session may have ended.",
    )
    ways_on = ("home", "sign_out")


class UntrustedPeer(Refusal):
    """A forward-auth request from an address outside `trusted_proxies`."""

    status = 403
    code = "untrusted_peer"
    title = Message("untrusted_peer.title", "You can't use this address")
    message = Message("untrusted_peer.message", "Only trusted proxies may use this address.")
    ways_on = ("home",)


class ForwardAuthRefused(Refusal):
    """A forward-auth request that says too little, or two things, or is about a request that cannot be allowed. facts: reason.

    403, since proxies take any status but 401 and 403 for a failure of their own.
    """

    status = 403
    code = "forward_auth_refused"
    title = Message("forward_auth_refused.title", "This request can't be let through")
    message = Message(
        "forward_auth_refused.message", "The server in front of this site asked about it in a way that is not allowed."
    )
    ways_on = ("home",)

    def __init__(self, reason: str) -> None:
        super().__init__(reason, reason=reason)


class CrossSiteRequest(Refusal):
    """A request that changes something, sent by a page of another site."""

    status = 403
    code = "cross_site_request"
    title = Message("cross_site_request.title", "This request came from another site")
    message = Message(
        "cross_site_request.message", "For your security, this can only be done from this site's own pages."
    )
    ways_on = ("retry", "home")
