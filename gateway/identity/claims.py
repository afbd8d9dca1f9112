"""A person's claims, as the provider sends them, and the Identity that is made from them.

Every mapped claim is a bounded text without control characters (groups: a list of such texts), or the sign-in fails. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.claim_path import ClaimPath
from gateway.config.schema import ClaimNames, ProviderKeys
from gateway.config.values import keeps_group
from gateway.errors.signing_in import EmailDomainForeign, EmailNotVerified, SignInFailed

EMAIL_CLAIM: Final = "email"  # OpenID Connect Core 1.0 section 5.1
VERIFIED_CLAIM: Final = "email_verified"
CLAIM_INVALID: Final = "claim_invalid"  # the reason of a refusal whose detail names the claim
_LONGEST_TEXT: Final = 512
_LONGEST_EMAIL: Final = 254
_LARGEST_NUMBER: Final = 1 << 64
_MOST_ADDRESSES: Final = 20
_NAME_CLAIM: Final = "name"
_NAME_PARTS: Final = ("given_name", "family_name")
_MOST_GROUPS: Final = 1000
_LONGEST_GROUPS: Final = 32 * 1024  # all of them together
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Quoted local parts and address literals are left out on purpose: they read differently everywhere.
_LOCAL_PART = re.compile(r"[^\s@,;:<>()\[\]\\\"]{1,64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """`values` is the ID Token merged with userinfo; `auth_time` in seconds since 1970.

    `email_disputed`: the two disagree about the address or whether it is verified. `userinfo_told`: the claims of userinfo that the ID Token
    has too, as `Session.userinfo_told` names them.
    """

    issuer: str
    subject: str
    values: dict[str, Any]
    provider_sid: str | None = None
    auth_time: int | None = None
    acr: str | None = None
    email_disputed: bool = False
    userinfo_told: str = ""


class Identity(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A person. The key is `(issuer, subject)`, never the e-mail address (RFC 9700 section 4.15).

    `user` is the value of X-Forwarded-User where the configuration maps another claim than `sub`; None: the subject.
    `directory` holds the directory's facts, as `{"id": "87654321"}`. `email_verified`: the address is verified, or the operator does not
    require that; where it is false the address is only logged and shown to the person, and decisions and upstreams get `vouched_email`.

    The record is stored as it is: `sessions.session` describes what a new field needs. Release 0.1.0, the only one without
    `email_verified`, refuses a record that has it; the records that it wrote were verified by its own rules.
    """

    issuer: str
    subject: str
    email: str | None = None
    name: str | None = None
    groups: tuple[str, ...] = ()
    preferred_username: str | None = None
    user: str | None = None
    directory: dict[str, str] = {}  # each has its own: the library copies an empty one
    email_verified: bool = True

    @property
    def vouched_email(self) -> str | None:
        """The address, or None where it is not verified."""
        # SECURITY: an address that a person typed in at the provider identifies no person, for accounts, rules or applications.
        return self.email if self.email_verified else None

    def facts(self) -> dict[str, str | None]:
        """The values of the placeholders that name a person; None or empty: not known."""
        return {
            "email": self.vouched_email,
            "name": self.name,
            "subject": self.subject,
            "user": self.user or self.subject,
            "preferred_username": self.preferred_username,
            "issuer": self.issuer,
        }

    def with_directory(self, facts: Mapping[str, str]) -> Self:
        """This identity with the directory's facts. A lone surrogate, as a cut text ends with, becomes `?`, because JSON cannot hold it."""
        return replace(self, directory={name: text.encode("utf-8", "replace").decode() for name, text in facts.items()})


def identity_from_claims(claims: Claims, settings: ProviderKeys) -> Identity:
    """The identity by the claim names of the provider. Raises SignInFailed for a malformed claim, and EmailNotVerified."""
    names = settings.claims
    email = _email(names.email, _one_address(names.email, claims.values, settings.verified_email_domains))
    verified = _verified(claims, settings, email)
    # SECURITY: X-Forwarded-User names the person; where that is an address, it must be verified.
    if names.subject == EMAIL_CLAIM and (names.email != EMAIL_CLAIM or not verified):
        raise EmailNotVerified("email_not_verified")
    user = _text(names.subject, names.subject.value_in(claims.values))
    if user is None:
        raise SignInFailed("claim_missing", names.subject)
    return Identity(
        issuer=claims.issuer,
        subject=claims.subject,
        email=email,
        name=_full_name(names, claims.values),
        groups=groups_in(claims.values, settings) if verified or not _is_address(names) else (),
        preferred_username=_text(names.preferred_username, names.preferred_username.value_in(claims.values)),
        user=None if user == claims.subject else user,
        email_verified=verified,
    )


def validate_email_domain(identity: Identity, domains: Sequence[str]) -> Identity:
    """The identity, if its address is in the provider's `domains`; none: all are. Raises EmailDomainForeign."""
    # SECURITY: of two providers, one could otherwise send addresses of the other's people, and get their accounts.
    if domains and identity.email is not None and not is_at(identity.email, domains):
        raise EmailDomainForeign("email_domain", "the address is outside the provider's email_domains")
    return identity


def _is_address(names: ClaimNames) -> bool:
    """Whether the claim for groups is one of addresses."""
    return names.groups in (EMAIL_CLAIM, names.email)


def is_at(email: str, domains: Sequence[str]) -> bool:
    """Whether the address is at one of these domains, exactly."""
    return email.rpartition("@")[2].lower() in map(str.lower, domains)


def verified_in(values: Mapping[str, Any]) -> bool | None:
    """`email_verified` of an ID Token or a userinfo response; None where it is missing."""
    if VERIFIED_CLAIM not in values:
        return None
    # SECURITY: truthiness would take the text "false" for true. Some providers send the text "true".
    return values[VERIFIED_CLAIM] is True or values[VERIFIED_CLAIM] == "true"


def _verified(claims: Claims, settings: ProviderKeys, email: str | None) -> bool:
    """Whether the address counts as verified. Raises EmailNotVerified where the configuration refuses it."""
    required, domains = settings.require_verified_email, settings.verified_email_domains
    # SECURITY: `email_verified` is about the claim `email`, not about a sign-in name that looks like an address.
    mapped = settings.claims.email != EMAIL_CLAIM
    claimed = None if mapped else verified_in(claims.values)
    vouched = email is not None and is_at(email, domains)
    known = vouched if claimed is None else claimed
    # SECURITY: ID Token and userinfo disagree, and neither is more credible.
    confirmed = known and not claims.email_disputed
    if required == "always" and (email is None or not confirmed):
        raise EmailNotVerified("email_not_verified")
    if required == "when_present" and email is not None and claimed is False:
        raise EmailNotVerified("email_not_verified")
    if email is None or confirmed:
        return True
    # Where verification is not required, an address without `email_verified` passes, unless `verified_email_domains` lists the domains that do.
    let_pass = not domains if claimed is None else required == "never"
    return let_pass and not mapped and not claims.email_disputed


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    # SECURITY: line breaks, NUL, megabytes and nested objects are refused before any header or page has them.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER:
        return str(value)
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or _UNPRINTABLE.search(value):
        raise SignInFailed(CLAIM_INVALID, name)
    return value


def _full_name(names: ClaimNames, values: Mapping[str, Any]) -> str | None:
    """The name; where the default claim is missing, `given_name` and `family_name` (OpenID Connect Core 1.0 section 5.1)."""
    name = _text(names.name, names.name.value_in(values))
    if name is not None or names.name != _NAME_CLAIM:
        return name
    parts = [text for claim in _NAME_PARTS if (text := _text(claim, values.get(claim))) is not None]
    return _text(names.name, " ".join(parts))


def groups_in(values: Mapping[str, Any], settings: ProviderKeys) -> tuple[str, ...]:
    """The groups of a document that the filter keeps: a list, an object's keys, one text, or one that the claim's separator parts.

    Raises SignInFailed.
    """
    claim = settings.claims.groups
    value, name = claim.value_in(values), str(claim)
    if value is None:
        return ()
    if isinstance(value, str) and claim.separator is not None:
        value = [text.strip() for text in value.split(claim.separator)]
    kept = settings.groups_filter
    entries = [
        entry
        for entry in (value if isinstance(value, list | dict) else [value])
        if not isinstance(entry, str) or keeps_group(kept, entry)
    ]
    # SECURITY: nothing that is kept for each session grows without a bound.
    if len(entries) > _MOST_GROUPS or sum(len(entry) for entry in entries if isinstance(entry, str)) > _LONGEST_GROUPS:
        raise SignInFailed(
            "too_many_groups", f"{name}: more than {_MOST_GROUPS}, or 32 KiB; groups_filter says which are kept"
        )
    return tuple(dict.fromkeys(text for entry in entries if (text := _text(name, entry)) is not None))


def _one_address(claim: ClaimPath, values: Mapping[str, Any], domains: Sequence[str]) -> object:
    """Of several addresses the first that `domains` vouch for, or else the first. The claim `email` is one address (section 5.1)."""
    value = claim.value_in(values)
    if claim == EMAIL_CLAIM or not isinstance(value, list):
        return value
    addresses = value[:_MOST_ADDRESSES]
    vouched = (address for address in addresses if isinstance(address, str) and is_at(address, domains))
    return next(vouched, addresses[0] if addresses else None)


def _email(claim: str, value: object) -> str | None:
    """One address with its domain in lower case.

    The local part keeps its case; a domain is ASCII: an internationalised one in its A-label form.
    """
    if value is None or value == "":
        return None
    # SECURITY: two at-signs, a look-alike domain or a trailing line break must not satisfy a domain rule.
    text = value if isinstance(value, str) and len(value) <= _LONGEST_EMAIL else ""
    local, _, domain = text.partition("@")
    if not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain) or _UNPRINTABLE.search(local):
        raise SignInFailed(CLAIM_INVALID, claim)
    return f"{local}@{domain.lower()}"
