"""What is believed about a person: Claims, Identity.

Pure. One rule for every mapped claim: it has its shape (text without control characters, bounded; groups: such texts) or the sign-in
fails.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """`values` is the ID Token merged with userinfo; `auth_time` in seconds since 1970."""

    issuer: str
    subject: str
    values: dict[str, Any]
    provider_sid: str | None = None
    auth_time: int | None = None
    acr: str | None = None


class Identity(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A person: `(issuer, subject)` names them, never the e-mail address (RFC 9700 section 4.15).

    `user` is what X-Forwarded-User says where the configuration maps another claim than `sub`; None: the subject.
    `directory` holds what the directory told, as `{"id": "87654321"}`. It is stored as it is: see `sessions.session` for what a new field needs.
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
        """Half of a surrogate pair, as a text that was cut has at its end, becomes a question mark: JSON cannot hold it."""
        return replace(self, directory={name: text.encode("utf-8", "replace").decode() for name, text in facts.items()})


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
