"""Refusals because Redis or an upstream failed. Pure."""

from typing import Any

from gateway.errors.refusal import Refusal
from gateway.languages.message import Message


class StoreUnavailable(Refusal):
    """Redis is down, refuses a command, or its reply cannot be used. The request fails closed; no session ends."""

    status = 503
    code = "session_store_unavailable"
    title = Message("session_store_unavailable.title", "Your session can't be checked right now")
    message = Message("session_store_unavailable.message", "You are still signed in. Please try again in a moment.")
    ways_on = ("retry",)

    def __init__(self, detail: str = "", *, retry_after: int | None = 2, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamUnreachable(Refusal):
    """No endpoint of the app accepts a connection."""

    status = 503
    code = "upstream_unavailable"
    title = Message("upstream_unavailable.title", "The application is not available")
    message = Message(
        "upstream_unavailable.message",
        "The application is not accepting connections at the moment. Please try again in a minute.",
    )

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamFault(Refusal):
    """The upstream closed the connection early, or its response is malformed."""

    status = 502
    code = "upstream_fault"
    title = Message("upstream_fault.title", "The application sent an invalid response")
    message = Message(
        "upstream_fault.message",
        "The application's response broke off or could not be understood. Please try again in a minute.",
    )


class LoopDetected(Refusal):
    """The request passed this gateway before: the app's upstream leads back to it. RFC 9110 section 7.6.3, RFC 5842 section 7.2."""

    status = 508
    code = "loop_detected"
    title = Message("loop_detected.title", "This address leads back to itself")
    message = Message(
        "loop_detected.message",
        "This request should have reached the application, but it came back here. Please contact the people who run this site.",
    )


class UpstreamTlsFault(Refusal):
    """The upstream's certificate is not valid for it, or the TLS handshake failed."""

    status = 502
    code = "upstream_tls_fault"
    title = Message("upstream_tls_fault.title", "There is no secure connection to the application")
    message = Message(
        "upstream_tls_fault.message", "The application could not prove its identity, so nothing was sent to it."
    )


class UpstreamTimeout(Refusal):
    """The upstream did not answer within `timeouts`."""

    status = 504
    code = "upstream_timeout"
    title = Message("upstream_timeout.title", "The application took too long to respond")
    message = Message(
        "upstream_timeout.message", "The application did not respond in time. Please try again in a minute."
    )
