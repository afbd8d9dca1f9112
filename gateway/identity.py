"""What is believed about a person, and how an upstream is told: Claims, Identity, header lines.

Pure. The invariant: no claim, whatever it holds, adds a header, splits one or forges a group. One rule for every
mapped claim: it has its shape (text without control characters, bounded; groups: such texts) or the sign-in fails.
One rule for every header value: UTF-8, percent-encoded where it is not printable ASCII, and for `%`; blanks at the
ends too, and in groups the comma.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.schema import ClaimNames
from gateway.errors import EmailDomainForeign, EmailNotVerified, SignInFailed

_LONGEST_TEXT: Final = 512
_LONGEST_EMAIL: Final = 254
_MOST_GROUPS: Final = 1000
_LONGEST_GROUPS: Final = 32 * 1024  # all of them together
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Quoted local parts and address literals are left out on purpose: they read differently everywhere.
_LOCAL_PART = re.compile(r"[^\s@,;:<>()\[\]\\\"]{1,64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_OURS: Final = frozenset(
    (
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-forwarded-name",
    )
)
_OUR_PREFIXES: Final = (b"x-doorward-", b"x-auth-request-")
_PLAIN: Final = re.compile(
    r"[!-$&-~](?:[ -$&-~]*[!-$&-~])?"
)  # what `_encode` leaves as it is: printable ASCII without %
_ALIKE: Final = bytes(byte if chr(byte).isascii() and chr(byte).isalnum() else 0x2D for byte in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """`values` is the ID Token merged with userinfo; `auth_time` in seconds since 1970."""

    issuer: str
    subject: str
    values: dict[str, Any]
    provider_sid: str | None = None
    auth_time: int | None = None
    acr: str | None = None


class Identity(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A person: `(issuer, subject)` names them, never the e-mail address (RFC 9700 section 4.15).

    `user` is what X-Forwarded-User says where the configuration maps another claim than `sub`; None: the subject.
    `directory` holds what the directory told, as `{"id": "87654321"}`.
    """

    issuer: str
    subject: str
    email: str | None = None
    name: str | None = None
    groups: tuple[str, ...] = ()
    preferred_username: str | None = None
    user: str | None = None
    directory: dict[str, str] = {}  # each has its own: the library copies an empty one

    def with_directory(self, facts: Mapping[str, str]) -> Self:
        return replace(self, directory=dict(facts))


def identity_from_claims(
    claims: Claims, names: ClaimNames, require_verified_email: Literal["always", "when_present", "never"]
) -> Identity:
    """Raises SignInFailed for a mapped claim without its shape, EmailNotVerified."""
    email = _email(claims.values.get(names.email))
    if not _verified(claims.values, email, require_verified_email):
        raise EmailNotVerified("email_not_verified")
    user = _text(names.subject, claims.values.get(names.subject))
    if user is None:
        raise SignInFailed("claim_missing", names.subject)
    return Identity(
        issuer=claims.issuer,
        subject=claims.subject,
        email=email,
        name=_text(names.name, claims.values.get(names.name)),
        groups=_groups(names.groups, claims.values.get(names.groups)),
        preferred_username=_text(names.preferred_username, claims.values.get(names.preferred_username)),
        user=None if user == claims.subject else user,
    )


def validate_email_domain(identity: Identity, domains: Sequence[str]) -> Identity:
    """The identity, if its provider may vouch for its address; no `domains`: for any. Raises EmailDomainForeign."""
    # SECURITY: of two providers, one could otherwise name the other's people, and get their accounts.
    if domains and identity.email is not None and identity.email.rpartition("@")[2] not in map(str.lower, domains):
        raise EmailDomainForeign("email_domain", "the address is outside the provider's email_domains")
    return identity


def _verified(values: Mapping[str, Any], email: str | None, required: str) -> bool:
    if required == "never":
        return True
    if required == "when_present" and (email is None or "email_verified" not in values):
        return True
    # SECURITY: truthiness would take the text "false" for true. Some providers send the text "true".
    return email is not None and (values.get("email_verified") is True or values.get("email_verified") == "true")


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    # SECURITY: line breaks, NUL, megabytes and nested objects end here, before any header or page.
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or _UNPRINTABLE.search(value):
        raise SignInFailed("claim_invalid", name)
    return value


def _groups(name: str, value: object) -> tuple[str, ...]:
    """A list of texts, or one text: one group."""
    if value is None:
        return ()
    entries = value if isinstance(value, list) else [value]
    if len(entries) > _MOST_GROUPS:
        raise SignInFailed("claim_invalid", name)
    groups = tuple(dict.fromkeys(text for entry in entries if (text := _text(name, entry)) is not None))
    if sum(len(group) for group in groups) > _LONGEST_GROUPS:
        raise SignInFailed("claim_invalid", name)
    return groups


def _email(value: object) -> str | None:
    """One address with its domain in lower case.

    The local part keeps its case; a domain is ASCII: an internationalised one in its A-label form.
    """
    if value is None or value == "":
        return None
    # SECURITY: two at-signs, a look-alike domain or a trailing line break must not satisfy a domain rule.
    text = value if isinstance(value, str) and len(value) <= _LONGEST_EMAIL else ""
    local, _, domain = text.partition("@")
    if not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain) or _UNPRINTABLE.search(local):
        raise SignInFailed("claim_invalid", "email")
    return f"{local}@{domain.lower()}"


# --- headers ----------------------------------------------------------------------------------------------------------


def normalise_name(name: bytes) -> bytes:
    """A field name as a CGI-like upstream tells it apart: lower case, and everything but letters and digits alike."""
    return name.translate(_ALIKE).lower()


def is_identity_name(name: bytes, extra_normalised: frozenset[bytes] = frozenset()) -> bool:
    """Whether only we may send this field. `extra_normalised`: the app's own names through `normalise_name`."""
    # SECURITY: X_Forwarded_User, X.Forwarded.User and X-Forwarded-User are one variable to WSGI, CGI and Rack (C-30).
    alike = normalise_name(name)
    return alike in _OURS or alike in extra_normalised or alike.startswith(_OUR_PREFIXES)


def render_identity_headers(identity: Identity, extra: Mapping[str, str]) -> bytes:
    """The header lines of `identity`, each ended by CRLF; a fact that is missing gives no line (C-31).

    `extra`: field name to template, as `{"X-Customer": "{directory.id}"}`. Raises ValueError for a template that names
    an unknown fact, and for a line that would hold anything but printable ASCII (C-33).
    """
    facts = _facts(identity)
    lines: list[tuple[str, str | None]] = [
        ("X-Forwarded-User", facts["user"]),
        ("X-Forwarded-Email", facts["email"]),
        ("X-Forwarded-Groups", facts["groups"]),
        ("X-Forwarded-Preferred-Username", facts["preferred_username"]),
        ("X-Forwarded-Name", facts["name"]),
    ]
    lines += [(name, _fill(template, facts)) for name, template in extra.items()]
    return b"".join(_line(name, value) for name, value in lines if value)


def _facts(identity: Identity) -> dict[str, str | None]:
    """Every fact a template may name, encoded; `directory.*` are those the directory told."""
    facts = {
        "user": _encode(identity.user or identity.subject),
        "subject": _encode(identity.subject),
        "issuer": _encode(identity.issuer),
        "email": _encode(identity.email),
        "name": _encode(identity.name),
        "preferred_username": _encode(identity.preferred_username),
        "groups": ",".join(filter(None, [_encode(group, b",") for group in identity.groups])) or None,
    }
    for name, value in identity.directory.items():
        facts[f"directory.{name}"] = _encode(value)
    return facts


def _encode(value: str | None, also: bytes = b"") -> str | None:
    if not value:
        return None
    if _PLAIN.fullmatch(value) and not (also and also.decode() in value):
        return value
    raw = value.encode("utf-8", "surrogatepass")
    last = len(raw) - 1
    return "".join(
        chr(byte)
        if (0x21 <= byte <= 0x7E and byte != 0x25 and byte not in also) or (byte == 0x20 and 0 < index < last)
        else f"%{byte:02X}"
        for index, byte in enumerate(raw)
    )


def _fill(template: str, facts: Mapping[str, str | None]) -> str | None:
    names = _PLACEHOLDER.findall(template)
    for name in names:
        if name not in facts and not name.startswith("directory."):
            raise ValueError(f"unknown placeholder {{{name}}}; allowed: {', '.join(sorted(facts))}, directory.NAME")
    if any(facts.get(name) is None for name in names):
        return None
    return _PLACEHOLDER.sub(lambda match: facts[match[1]] or "", template)


def _line(name: str, value: str) -> bytes:
    # SECURITY: the last look before the wire: whatever came this far, it is one field on one line (C-33).
    if not _FIELD_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
        raise ValueError(f"the header {name!r} would hold more than printable ASCII")
    return f"{name}: {value}\r\n".encode("ascii")
