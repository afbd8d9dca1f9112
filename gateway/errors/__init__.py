"""Every way to refuse, one class a fact.

A refusal is an exception that carries what the person may read (`title`, `message`), what a program may test (`status`, `code`)
and what only the log gets (`detail`). `web.pages` renders it, in one place. Foreign exceptions become one of these in the module
that touches the library.
"""

from gateway.errors.access import (
    CrossSiteRequest,
    Forbidden,
    LoginRequired,
    OriginForbidden,
    OwnLoginClosed,
    RouteBlocked,
    SignInDisabled,
    StepUpRequired,
    UntrustedPeer,
)
from gateway.errors.dependencies import (
    StoreUnavailable,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamTlsFault,
    UpstreamUnreachable,
)
from gateway.errors.refusal import Refusal
from gateway.errors.requests import (
    AmbiguousTarget,
    BadRequest,
    CodingNotImplemented,
    ExpectationFailed,
    HeadTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    TargetTooLong,
    UnknownHost,
    UpgradeRequired,
    VersionNotSupported,
)
from gateway.errors.signing_in import (
    AccountSuspended,
    DirectoryUnavailable,
    EmailNotVerified,
    IdTokenInvalid,
    LogoutTokenInvalid,
    NotRegistered,
    ProviderFault,
    ProviderUnavailable,
    SignInExpired,
    SignInFailed,
    TooManyRedirects,
)

__all__ = [
    "AccountSuspended",
    "AmbiguousTarget",
    "BadRequest",
    "CodingNotImplemented",
    "CrossSiteRequest",
    "DirectoryUnavailable",
    "EmailNotVerified",
    "ExpectationFailed",
    "Forbidden",
    "HeadTooLarge",
    "IdTokenInvalid",
    "LoginRequired",
    "LogoutTokenInvalid",
    "MalformedRequest",
    "MethodNotAllowed",
    "NotFound",
    "NotRegistered",
    "OriginForbidden",
    "OwnLoginClosed",
    "PayloadTooLarge",
    "ProviderFault",
    "ProviderUnavailable",
    "Refusal",
    "RequestTimeout",
    "RouteBlocked",
    "SignInDisabled",
    "SignInExpired",
    "SignInFailed",
    "StepUpRequired",
    "StoreUnavailable",
    "TargetTooLong",
    "TooManyRedirects",
    "UnknownHost",
    "UntrustedPeer",
    "UpgradeRequired",
    "UpstreamFault",
    "UpstreamTimeout",
    "UpstreamTlsFault",
    "UpstreamUnreachable",
    "VersionNotSupported",
]
