"""Refusals of the request itself: syntax, size, method, host. Pure."""

from collections.abc import Iterable
from typing import ClassVar

from gateway.errors.refusal import Refusal, WaysOn


class BadRequest(Refusal):
    """The request is well framed, but its content is not valid."""

    status = 400
    code = "bad_request"
    title = "This request is not valid"
    message = "The address or the request could not be understood."
    ways_on: ClassVar[WaysOn] = ("home",)


class MalformedRequest(BadRequest):
    """Framing or syntax that two parsers may read differently."""

    code = "malformed_request"
    close = True


class AmbiguousTarget(BadRequest):
    """A request-target whose encoding servers decode differently."""

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
    ways_on = ("home",)
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
    ways_on = ("home",)

    def __init__(self, detail: str = "", *, allow: Iterable[str] = ()) -> None:
        super().__init__(detail)
        self.fields = (("Allow", ", ".join(allow)),)  # RFC 9110 section 15.5.6


class CodingNotImplemented(Refusal):
    status = 501
    code = "not_implemented"
    title = "This transfer coding or method is not supported"
    message = "The request uses a transfer coding or a method that is not supported here."
    ways_on = ("home",)
    close = True


class VersionNotSupported(Refusal):
    status = 505
    code = "http_version_not_supported"
    title = "This HTTP version is not supported"
    message = "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    ways_on = ("home",)
    close = True


class ExpectationFailed(Refusal):
    status = 417
    code = "expectation_failed"
    title = "This expectation cannot be met"
    message = "Only Expect: 100-continue is understood."
    ways_on = ("home",)
    close = True


class UpgradeRequired(Refusal):
    status = 426
    code = "upgrade_required"
    title = "This WebSocket version is not supported"
    message = "Only version 13 of the WebSocket protocol is spoken here."
    ways_on = ("home",)
    fields = (
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
    )  # RFC 9110 section 15.5.22, RFC 6455 section 4.4


class UnknownHost(Refusal):
    status = 421
    code = "unknown_host"
    title = "No application answers under this name"
    message = "The host name of the address is not one that is served here."
    ways_on = ("home",)


class NotFound(Refusal):
    status = 404
    code = "not_found"
    title = "There is nothing here"
    message = "This address does not exist."
    ways_on = ("home",)
