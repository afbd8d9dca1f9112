"""Userinfo, and how its claims join those of the ID Token.

Pure. The invariant: userinfo adds claims to those of the ID Token about the same subject, and never overrules them; an address is verified by
the document that has it. At a refresh without a new ID Token userinfo is the newer document, and a claim that it no longer has is gone.
OpenID Connect Core 1.0 section 5.3.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.config.claim_path import ClaimPath
from gateway.config.schema import ClaimNames
from gateway.directory.account import fold_email
from gateway.errors.signing_in import IdTokenInvalid, SignInFailed
from gateway.identity.claims import EMAIL_CLAIM, VERIFIED_CLAIM, verified_in
from gateway.oidc.registered_claims import Verification, require_audience, require_times
from gateway.oidc.signatures import JwtInvalid, verified_claims


def validate_userinfo(userinfo: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
    """The claims, when they are about `subject`. Raises SignInFailed."""
    # SECURITY: a token swapped for another person's would bring that person's e-mail address with it.
    if userinfo.get("sub") != subject:
        raise SignInFailed("userinfo_subject")
    return userinfo


def validate_userinfo_jwt(token: str, verification: Verification) -> dict[str, Any]:
    """The claims of a signed response (section 5.3.2). Raises IdTokenInvalid."""
    try:
        _, userinfo = verified_claims(token, verification.keys, verification.metadata.userinfo_algs)
        # iss and aud are recommended only.
        if "iss" in userinfo and userinfo["iss"] not in verification.metadata.issuers:
            raise JwtInvalid("issuer")
        if "aud" in userinfo:
            require_audience(userinfo, verification.client_id, authorized_party=False)
        if "exp" in userinfo:
            require_times({"iat": 1, **userinfo}, verification.now, verification.skew)
    except JwtInvalid as error:
        raise IdTokenInvalid(error.reason, f"userinfo: {error.detail or error.reason}") from error
    return userinfo


def merge_claims(first: Mapping[str, Any], second: Mapping[str, Any], names: ClaimNames) -> dict[str, Any]:
    """Two documents about one person; `first` overrules: the ID Token, or the newer one. `names`: the claims that are used."""
    merged = {**second, **first}
    # One that stands in an object of the second document, and not in the same object of the first.
    for claim in mapped_claims(names).values():
        if claim.value_in(merged) is None and (value := claim.value_in(second)) is not None:
            merged = claim.put(merged, value)
    verified = _verified_address(first, second, names.email)
    # SECURITY: "verified" belongs to the address that it came with, not to the one of the other document.
    merged.pop(VERIFIED_CLAIM, None)
    return merged if verified is None else {**merged, VERIFIED_CLAIM: verified}


def _verified_address(first: Mapping[str, Any], second: Mapping[str, Any], email: ClaimPath) -> bool | None:
    """Whether the address that counts is verified, by the documents that have it; None: neither has the claim. A "no" needs no address."""
    holder = first if email.value_in(first) else second
    other = second if holder is first else first
    own, others = verified_in(holder), verified_in(other)
    if own is None and (others is False or _same_address(holder, other, email)):
        same = not email.value_in(other) or _same_address(holder, other, email)
        return others if same else None
    return own


def is_disputed(first: Mapping[str, Any], second: Mapping[str, Any], email: ClaimPath) -> bool:
    """Whether two documents of one moment contradict each other about the address, or about whether it is verified."""
    if not email.value_in(first) or not email.value_in(second):
        return False
    if not _same_address(first, second, email):
        return True
    return email == EMAIL_CLAIM and {verified_in(first), verified_in(second)} == {True, False}


def is_disputed_by_older(userinfo: Mapping[str, Any], before: Mapping[str, Any], email: ClaimPath) -> bool:
    """Whether userinfo has another address than the older ID Token, and only the latter has a claim whether its address is verified."""
    changed = bool(email.value_in(userinfo) and email.value_in(before)) and not _same_address(userinfo, before, email)
    silent = verified_in(userinfo) is None and verified_in(before) is not None
    return email == EMAIL_CLAIM and changed and silent


def _same_address(one: Mapping[str, Any], other: Mapping[str, Any], email: ClaimPath) -> bool:
    values = (email.value_in(one), email.value_in(other))
    if isinstance(values[0], list):
        return bool(values[0] == values[1])
    texts = [fold_email(value) for value in values if isinstance(value, str) and value]
    return len(texts) == len(values) and texts[0] == texts[1]


_WORDS: Final = ("groups", "email", "name", "preferred_username")

# --- which document has which claim -----------------------------------------------------------------------------------


def mapped_claims(names: ClaimNames) -> dict[str, ClaimPath]:
    """The claims that may be removed during a session, by the words of `Session.userinfo_told`; not the claim that names the person."""
    found: dict[str, ClaimPath] = {word: getattr(names, word) for word in _WORDS}
    return {word: claim for word, claim in found.items() if claim not in (names.subject, "sub")}


def words_in_both(id_claims: Mapping[str, Any], userinfo: Mapping[str, Any], names: ClaimNames) -> str:
    """The words of `Session.userinfo_told` for claims that both documents have."""
    return " ".join(
        word
        for word, claim in mapped_claims(names).items()
        if claim.value_in(id_claims) is not None and claim.value_in(userinfo) is not None
    )


def renewed_words(before: str, now: str, *, keep: bool) -> str:
    """`now` in place of `before`, or beside it (`keep`). Words that this release does not know stay."""
    stay = [word for word in before.split() if keep or word not in _WORDS]
    return " ".join(dict.fromkeys((*stay, *now.split())))


def without_removed_claims(
    before: Mapping[str, Any], userinfo: Mapping[str, Any], names: ClaimNames, words: str
) -> Mapping[str, Any]:
    """The older ID Token without the claims that userinfo had once (`words`) and has no more."""
    listed = words.split()
    gone = [
        claim for word, claim in mapped_claims(names).items() if word in listed and claim.value_in(userinfo) is None
    ]
    # SECURITY: a group that the provider has taken away must not come back out of an old ID Token.
    for claim in gone:
        before = claim.removed_from(before)
    return before
