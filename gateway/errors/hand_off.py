"""Refusals of the hand-off: the upstream's own session. Pure."""

from typing import Any, ClassVar

from gateway.errors.refusal import Refusal, WaysOn
from gateway.languages.message import Message


class HandOffFailed(Refusal):
    """The upstream's session could not be opened. `reason` is a stable word for events. facts: retry_url, sign_out_url."""

    status = 502
    code = "hand_off_failed"
    title = Message("hand_off_failed.title", "The application did not let you in")
    message = Message(
        "hand_off_failed.message",
        "You are signed in, but the application did not open a session for you. Please try again in a minute.",
    )
    ways_on: ClassVar[WaysOn] = ("retry", "home", "sign_out")

    def __init__(self, reason: str, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or reason, reason=reason, **facts)
        self.reason = reason


class NoUpstreamLogin(HandOffFailed):
    """The directory has no value for a placeholder of the login request: the person has an account, and no login for it."""

    status = 403
    code = "no_upstream_login"
    title = Message("no_upstream_login.title", "You have no login for this application")
    message = Message(
        "no_upstream_login.message",
        "You have an account, but no login for this application belongs to it. Please contact the people who run this site.",
    )
    ways_on = ("another_account", "another_provider", "retry", "sign_out")

    def __init__(self, detail: str = "", **facts: Any) -> None:
        super().__init__("no_login", detail, **facts)


class HandOffMismatch(HandOffFailed):
    """The upstream opened another person's session. It was ended."""

    status = 403
    code = "hand_off_mismatch"
    title = Message("hand_off_mismatch.title", "The application mistook you for someone else")
    message = Message(
        "hand_off_mismatch.message",
        "The other person's session was closed, and you were shown nothing of it. "
        "Please contact the people who run this site: two accounts may have been mixed up.",
    )
    ways_on = ("retry", "another_account", "another_provider", "sign_out")

    def __init__(self, detail: str = "", **facts: Any) -> None:
        super().__init__("mismatch", detail, **facts)


class HandOffLoop(HandOffFailed):
    """The upstream asked for its own login again after several hand-offs within a short time. facts: cause."""

    status = 403
    code = "hand_off_loop"
    title = Message("hand_off_loop.title", "The application keeps asking for its own login")
    message = Message(
        "hand_off_loop.message",
        "The application was given a session for you several times in a short time, but asked you to log in again each time.",
    )
    ways_on = ("retry", "another_account", "another_provider", "sign_out")

    def __init__(self, detail: str = "", **facts: Any) -> None:
        super().__init__("loop", detail, **facts)


class UpstreamSessionEnded(Refusal):
    """The upstream's session had ended when a request with a body arrived; such a request is not sent again. facts: home_url."""

    status = 409
    code = "upstream_session_ended"
    title = Message("upstream_session_ended.title", "The application's session had ended")
    message = Message(
        "upstream_session_ended.message",
        "What you sent was not processed. The session is open again now: go back and send it once more.",
    )
