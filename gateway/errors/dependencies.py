"""Refusals because Redis or an upstream failed. Pure."""

from typing import Any

from gateway.errors.refusal import Refusal


class StoreUnavailable(Refusal):
    """Redis is down, refuses a command, or its reply cannot be used. The request fails closed; no session ends."""

    status = 503
    code = "session_store_unavailable"
    title = "Sessions cannot be checked at the moment"
    message = "You are still signed in. Please try again in a moment."
    ways_on = ("retry",)

    def __init__(self, detail: str = "", *, retry_after: int | None = 2, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamUnreachable(Refusal):
    """No endpoint of the app accepts a connection."""

    status = 503
    code = "upstream_unavailable"
    title = "The application cannot be reached"
    message = (
        "The application behind this address does not accept connections at the moment. Please try again in a minute."
    )

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamFault(Refusal):
    """The upstream closed the connection early, or its response is malformed."""

    status = 502
    code = "upstream_fault"
    title = "The application gave an answer that cannot be used"
    message = "The application behind this address broke off or answered in a way that cannot be passed on."


class LoopDetected(Refusal):
    """The request passed this gateway before: the app's upstream leads back to it. RFC 9110 section 7.6.3, RFC 5842 section 7.2."""

    status = 508
    code = "loop_detected"
    title = "This address leads back to itself"
    message = "The gateway was to pass this request on to the application, and got it back. The people who run this site must correct that."


class UpstreamTlsFault(Refusal):
    """The upstream's certificate is not valid for it, or the TLS handshake failed."""

    status = 502
    code = "upstream_tls_fault"
    title = "The TLS connection to the application failed"
    message = "The application behind this address could not prove that it is the right one. Nothing was sent to it."


class UpstreamTimeout(Refusal):
    """The upstream did not answer within `timeouts`."""

    status = 504
    code = "upstream_timeout"
    title = "The application took too long to answer"
    message = "The application behind this address did not answer in time."
