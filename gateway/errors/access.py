"""Refusals because of who asks, from where, or for what. Pure."""

from typing import ClassVar

from gateway.errors.refusal import Refusal, WaysOn


class LoginRequired(Refusal):
    """A request without a session that is no browser navigation, which is redirected instead. facts: sign_in_url."""

    status = 401
    code = "login_required"
    title = "Please sign in"
    message = "You are not signed in, or your session has ended."
    ways_on = ("sign_in", "home")


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
