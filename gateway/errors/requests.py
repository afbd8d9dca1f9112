"""Refusals of the request itself: syntax, size, method, host. Pure."""

from collections.abc import Iterable
from typing import ClassVar

from gateway.errors.refusal import Refusal, WaysOn
from gateway.languages.message import Message


class BadRequest(Refusal):
    """The request is well framed, but its content is not valid."""

    status = 400
    code = "bad_request"
    title = Message("bad_request.title", "This request is not valid")
    message = Message("bad_request.message", "The address, or what was sent with it, could not be understood.")
    ways_on: ClassVar[WaysOn] = ("home",)


class MalformedRequest(BadRequest):
    """Framing or syntax that two parsers may read differently."""

    code = "malformed_request"
    close = True


class AmbiguousTarget(BadRequest):
    """A request-target whose encoding servers decode differently."""

    code = "ambiguous_target"
    title = Message("ambiguous_target.title", "This address is ambiguous")
    message = Message(
        "ambiguous_target.message",
        "The address contains encoded characters that not every server reads in the same way. Please use the plain form of the address.",
    )


class HeadTooLarge(Refusal):
    status = 431
    code = "request_header_fields_too_large"
    title = Message("request_header_fields_too_large.title", "Your browser sent too much data")
    message = Message(
        "request_header_fields_too_large.message",
        "The request headers are larger than this site accepts. Deleting this site's cookies usually helps.",
    )
    close = True


class TargetTooLong(Refusal):
    status = 414
    code = "uri_too_long"
    title = Message("uri_too_long.title", "This address is too long")
    message = Message("uri_too_long.message", "The address is longer than this site accepts.")
    ways_on = ("home",)
    close = True


class PayloadTooLarge(Refusal):
    status = 413
    code = "content_too_large"
    title = Message("content_too_large.title", "This is too large to send")
    message = Message("content_too_large.message", "You sent more data than this site accepts.")
    close = True


class RequestTimeout(Refusal):
    status = 408
    code = "request_timeout"
    title = Message("request_timeout.title", "The request took too long")
    message = Message("request_timeout.message", "Your request did not arrive completely in time. Please try again.")
    close = True


class MethodNotAllowed(Refusal):
    status = 405
    code = "method_not_allowed"
    title = Message("method_not_allowed.title", "This is not possible here")
    message = Message("method_not_allowed.message", "This address does not accept the request method.")
    ways_on = ("home",)

    def __init__(self, detail: str = "", *, allow: Iterable[str] = ()) -> None:
        super().__init__(detail)
        self.fields = (("Allow", ", ".join(allow)),)  # RFC 9110 section 15.5.6


class CodingNotImplemented(Refusal):
    status = 501
    code = "not_implemented"
    title = Message("not_implemented.title", "This request is not supported")
    message = Message(
        "not_implemented.message", "The request uses a method or a transfer coding that is not supported here."
    )
    ways_on = ("home",)
    close = True


class VersionNotSupported(Refusal):
    status = 505
    code = "http_version_not_supported"
    title = Message("http_version_not_supported.title", "This HTTP version is not supported")
    message = Message("http_version_not_supported.message", "This site supports HTTP/1.0 and HTTP/1.1 only.")
    ways_on = ("home",)
    close = True


class ExpectationFailed(Refusal):
    status = 417
    code = "expectation_failed"
    title = Message("expectation_failed.title", "This expectation cannot be met")
    message = Message("expectation_failed.message", "The only expectation that this site supports is 100-continue.")
    ways_on = ("home",)
    close = True


class UpgradeRequired(Refusal):
    status = 426
    code = "upgrade_required"
    title = Message("upgrade_required.title", "This WebSocket version is not supported")
    message = Message("upgrade_required.message", "This site supports only version 13 of the WebSocket protocol.")
    ways_on = ("home",)
    fields = (
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
    )  # RFC 9110 section 15.5.22, RFC 6455 section 4.4


class UnknownHost(Refusal):
    status = 421
    code = "unknown_host"
    title = Message("unknown_host.title", "There is no site at this address")
    message = Message("unknown_host.message", "The host name in the address is not served here.")
    ways_on = ("home",)


class NotFound(Refusal):
    status = 404
    code = "not_found"
    title = Message("not_found.title", "Page not found")
    message = Message("not_found.message", "There is no page at this address.")
    ways_on = ("home",)
