"""Refusals because of who asks, from where, or for what. Pure."""

from collections.abc import Mapping
from typing import ClassVar

from gateway.errors.refusal import Refusal, WaysOn


class LoginRequired(Refusal):
    """A request without a session that is no browser navigation, which is redirected instead. facts: sign_in_url."""

    status = 401
    code = "login_required"
    title = "Please sign in"
    message = "You are not signed in, or your session has ended."
    ways_on = ("sign_in", "home")


class FormLost(LoginRequired):
    """A form that was sent without a session, and is not kept. facts: sign_in_url, target, note."""

    code = "form_lost"
    title = "Your session has ended"
    message = (
        "What you sent was not accepted, and it is not kept here. Sign in, then go back to the form: your browser may still have what "
        "you typed."
    )
    notes: ClassVar[Mapping[str, str]] = {
        "cross_site": "The form was sent from another site.",
        "upload": "Files are never kept.",
        "password": "A form with a password is never kept.",
        "too_large": "It is larger than what can be kept.",
    }


class FormKept(LoginRequired):
    """A form that was sent into an ended session, and is kept (`held_forms`). facts: sign_in_url, target."""

    code = "form_kept"
    title = "Your session has ended"
    message = "What you typed is kept for 15 minutes, for you only. Sign in, and you can send it with one click."


class FormOfAnotherPerson(Refusal):
    """The browser has a kept form, and another person is signed in now. facts: account, switch_url."""

    status = 403
    code = "form_of_another_person"
    title = "Another person filled in this form"
    message = "A form is kept in this browser for another account. Only that account can send it."
    ways_on = ("another_account", "home")


class FormGone(Refusal):
    """There is no kept form: it was sent, its time is over, or the browser has none."""

    status = 410
    code = "form_gone"
    title = "No form is kept here any more"
    message = "It has been sent already, or it was kept longer than 15 minutes ago."
    ways_on = ("home",)


class StepUpRequired(Refusal):
    """The route needs a fresher or stronger sign-in, and the request is no navigation (RFC 9470). facts: sign_in_url, max_age, acr_values."""

    status = 401
    code = "insufficient_user_authentication"
    title = "Please sign in again"
    message = "This page needs a fresher or stronger sign-in."
    ways_on = ("sign_in", "home")


class Forbidden(Refusal):
    """The person is signed in and does not meet a requirement. facts: account, switch_url."""

    status = 403
    code = "access_denied"
    title = "You have no access to this page"
    message = "You are signed in, but this page is not open to your account."
    ways_on = ("another_account", "another_provider", "home", "sign_out")


class SignInDisabled(Refusal):
    """The route needs a person, and `openid.enabled` is off."""

    status = 403
    code = "sign_in_disabled"
    title = "This page is closed"
    message = "This page needs a sign-in, and sign-in is switched off."
    ways_on = ("home", "retry")


class OriginForbidden(Refusal):
    """A WebSocket handshake from an origin that the app does not list."""

    status = 403
    code = "origin_not_allowed"
    title = "This origin is not allowed"
    message = "The connection was opened from another site."
    ways_on = ("home", "retry")


class RouteBlocked(Refusal):
    """A password route that is closed. facts: kind, sign_in_url."""

    status = 403
    code = "password_login_disabled"
    title = "Signing in with a password is switched off"
    message = "This site signs people in through the company's sign-in page. Passwords are neither accepted, set nor reset here."
    ways_on: ClassVar[WaysOn] = ("sign_in", "home")


class OwnLoginClosed(RouteBlocked):
    """The upstream's own login page was asked for by a person with a session: another sign-in would loop. facts: account."""

    title = "The application asks for its own login"
    message = "You are signed in here, but the application asks for its own password, which is switched off. Its own session may be over."
    ways_on = ("home", "sign_out")


class UntrustedPeer(Refusal):
    """A forward-auth request from an address outside `trusted_proxies`."""

    status = 403
    code = "untrusted_peer"
    title = "This address is not for you"
    message = "Only proxies that the operator trusts may ask here."
    ways_on = ("home",)


class CrossSiteRequest(Refusal):
    """A request that changes something, sent by a page of another site."""

    status = 403
    code = "cross_site_request"
    title = "This request came from another site"
    message = "For your safety this can only be done from this site's own pages."
    ways_on = ("retry", "home")
