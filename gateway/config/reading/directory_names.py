"""Names in the `directory` section: fields of records, attributes of SCIM, header fields of requests, facts for headers.

What Doorward sets itself, and what would grant rights or set passwords, is no field. Each function raises ValueError as `what is wrong;
allowed: what is allowed`. Pure.
"""

import re
from typing import Final

from gateway.config import placeholders
from gateway.config.field_names import FRAMING_FIELDS
from gateway.config.values import normalise_header

_NEXUDUS_OURS: Final = frozenset(
    {
        "Id", "UniqueId", "UserId", "Active", "Archived", "Businesses", "AddedBusinesses", "RemovedBusinesses",
        "InvoicingBusinessId", "CreateUser", "IsAdmin", "UserRoles", "APIAccess", "Password", "PasswordSalt",
        "NewPassword", "CreatedOn", "UpdatedOn", "UpdatedBy", "IsNew", "SystemId", "GeneralTermsAccepted",
    }
)  # fmt: skip
_SCIM_OURS: Final = frozenset({"id", "meta", "schemas", "active", "password", "groups", "roles", "entitlements"})
_CORE_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:user:"
_ATTRIBUTE = re.compile(
    r"(?:urn:[A-Za-z0-9._:-]{1,200}:)?[A-Za-z$][A-Za-z0-9_$-]{0,63}"
    r'(?:\[type eq "[A-Za-z0-9 _-]{1,32}"\])?(?:\.[A-Za-z$][A-Za-z0-9_$-]{0,63})?'
)
_NO_KEY_CLAIMS: Final = frozenset(
    f"claims.{name}"
    for name in (
        "acr", "amr", "at_hash", "aud", "auth_time", "azp", "email", "email_verified", "exp", "family_name", "given_name", "groups", "iat",
        "jti", "name", "nbf", "nickname", "nonce", "phone_number", "preferred_username", "roles", "sid", "updated_at", "upn",
    )
)  # fmt: skip
_SHARED: Final = frozenset({"issuer", "claims.iss", "claims.tid", "claims.hd"})  # many persons have one
#: Set by the HTTP client, and by the choice between `json` and `form`.
_SET_BY_CLIENT: Final = FRAMING_FIELDS | {
    "content-type", "trailer", "expect", "accept", "accept-encoding", "keep-alive", "proxy-authorization",
}  # fmt: skip


def parse_field_name(name: str) -> str:
    """A field as the operator calls it."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}", name):
        raise ValueError("is not a field's name; allowed: letters, digits and _ . : -, as phone_number")
    return name


def parse_fact_name(name: str) -> str:
    """A fact that an app's headers may name as `{directory.NAME}`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in ("id", "user_id"):
        raise ValueError(
            "is not a fact's name; allowed: lower-case letters, digits and _, not id or user_id, which are there"
        )
    return name


def parse_nexudus_field(name: str) -> str:
    """A property of a coworker."""
    # SECURITY: a claim must not choose locations, activate a record, or make an administrator.
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,63}", name) or name in _NEXUDUS_OURS:
        raise ValueError(
            "is not a property that may be set; allowed: as the API writes it, as MobilePhone or Custom1; not ids, locations, rights, Active"
        )
    return name


def parse_nexudus_link(name: str) -> str:
    """The property of a coworker that holds the link to its person."""
    if name != "ReferenceNumber" and not re.fullmatch(r"Custom(?:[1-9]|[12][0-9]|30)", name):
        raise ValueError("cannot keep it; allowed: ReferenceNumber, or Custom1 to Custom30")
    return name


def parse_link_value(text: str) -> str:
    """The link of an account to its person: a text that no two people of one provider share, and that none of them can choose."""
    allowed = (
        "allowed: {link}, which is issuer and subject, or {subject} or one {claims.NAME} that is a person's for good, with "
        "{issuer} and fixed text"
    )
    names = [piece.names for piece in placeholders.parse(text) if isinstance(piece, placeholders.Placeholder)]
    # SECURITY: a link that two people share, or that a person can change, opens another person's account.
    if any(len(alternatives) > 1 for alternatives in names):
        raise ValueError(f"takes one value for one person and another value for the next; {allowed}")
    chosen = {alternatives[0] for alternatives in names}
    wrong = sorted(name for name in chosen if name not in ("link", "subject", "issuer") and not _is_key_claim(name))
    if wrong:
        raise ValueError(f"holds {{{wrong[0]}}}, which may change or be another person's; {allowed}")
    varying = [alternatives[0] for alternatives in names if alternatives[0] not in _SHARED]
    if not varying:
        raise ValueError(f"is the same for every person; {allowed}")
    # Of `{subject}{claims.badge}` the end of one may be the beginning of the other: two people, one text.
    if len(varying) > 1:
        raise ValueError(f"has more than one part that differs from person to person; {allowed}")
    return text


def _is_key_claim(name: str) -> bool:
    """Whether a placeholder is a claim that may name a person for good: not an address or a name (OpenID Connect Core 1.0 section 5.7)."""
    return name.startswith("claims.") and name not in _NO_KEY_CLAIMS


def parse_scim_attribute(path: str) -> str:
    """An attribute path (RFC 7644 section 3.10): `userName`, `name.givenName`, `emails[type eq "work"].value`, `urn:...:User:department`."""
    allowed = 'allowed: an attribute path, as userName, name.givenName, emails[type eq "work"].value or urn:...:User:department'
    if not _ATTRIBUTE.fullmatch(path):
        raise ValueError(f"is not an attribute path; {allowed}")
    bare = path[len(_CORE_USER) :] if path.lower().startswith(_CORE_USER) else path
    # SECURITY: a claim must not activate an account, give it roles or set its password.
    if re.split(r"[.\[]", bare)[0].lower() in _SCIM_OURS:
        raise ValueError(f"is an attribute that may not be set; {allowed}; not id, active, password, groups or roles")
    return path


def parse_request_header(name: str) -> str:
    """A header field of requests to the API."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", name) or normalise_header(name) in _SET_BY_CLIENT:
        raise ValueError(
            "is not a header field that may be set; allowed: as Authorization or PRIVATE-TOKEN; not Host, Cookie, Content-*, Accept"
        )
    return name
