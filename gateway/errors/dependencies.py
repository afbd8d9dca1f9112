"""Refusals because something that we depend on does not answer. Pure."""

from typing import Any

from gateway.errors.refusal import Refusal


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
    message = (
        "The application behind this address does not accept connections at the moment. Please try again in a minute."
    )

    def __init__(self, detail: str = "", *, retry_after: int | None = 5, **facts: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **facts)


class UpstreamFault(Refusal):
    status = 502
    code = "upstream_fault"
    title = "The application gave an answer that cannot be used"
    message = "The application behind this address broke off or answered in a way that cannot be passed on."


class UpstreamTlsFault(Refusal):
    """Its certificate is not one that we may believe, or it does not speak TLS."""

    status = 502
    code = "upstream_tls_fault"
    title = "The TLS connection to the application failed"
    message = "The application behind this address could not prove that it is the right one. Nothing was sent to it."


class UpstreamTimeout(Refusal):
    status = 504
    code = "upstream_timeout"
    title = "The application took too long to answer"
    message = "The application behind this address did not answer in time."
