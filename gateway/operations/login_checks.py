"""The checks of a sign-in, in their order, as a story names them; which one failed; and the setting that most likely mends it.

Pure. One check fails at a time: those before it have passed, those behind it were not reached.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config.providers import key_of

Outcome = Literal["passed", "failed", "not reached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCheck:
    """`reasons` are those of the refusals that mean it; `details` how a refusal's detail begins. {key} in `setting` is the provider's key."""

    step: str
    name: str
    reasons: frozenset[str]
    details: tuple[str, ...] = ()
    setting: str
    means: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    step: str
    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`provider_says` are the provider's own words, where it had any; `means` is ours; `setting` what most likely mends it."""

    step: str
    provider_says: str
    means: str
    setting: str


def _row(step: str, name: str, reasons: str, means: str, setting: str, details: tuple[str, ...] = ()) -> LoginCheck:
    return LoginCheck(
        step=step, name=name, reasons=frozenset(reasons.split()), details=details, setting=setting, means=means
    )


_SKEW: Final = "the clocks (doorward doctor), then {key}.clock_skew"
CHECKS: Final = (
    _row(
        "settings",
        "can be used",
        "",
        "the settings of the test cannot be used",
        "the values that were entered",
        ("settings:",),
    ),
    _row(
        "discovery",
        "metadata of this authority",
        "",
        "the provider's metadata were not there, or are for another authority",
        "{key}.authority_url, {key}.issuer",
        ("discovery:",),
    ),
    _row(
        "keys",
        "can be read",
        "",
        "the provider's keys were not there",
        "the way to the provider's jwks_uri; {key}.ca",
        ("keys:",),
    ),
    _row(
        "authorization request",
        "is taken where it is pushed",
        "",
        "the provider did not take the pushed request",
        "{key}.pushed_authorization_requests, {key}.client_secret",
        ("pushed_authorization_request:",),
    ),
    _row(
        "authorization response",
        "is for this request",
        "provider_mismatch repeated_parameter state_mismatch attempt_expired",
        "the response belongs to another request, or came too late",
        "a proxy in front that changes the address; else try once more",
    ),
    _row(
        "authorization response",
        "comes from this provider (iss)",
        "issuer_mismatch",
        "the response names another issuer",
        "{key}.authority_url, {key}.issuer",
    ),
    _row(
        "authorization response",
        "has no error",
        "access_denied login_required interaction_required provider_error",
        "the provider refused the sign-in",
        "at the provider: the person's assignment to this client, its scopes and redirect_uri; here {key}.scopes, "
        "{key}.extra_authorization_parameters",
    ),
    _row(
        "authorization response",
        "has a code",
        "code_missing",
        "the response has no code",
        "at the provider: the authorization code flow for this client",
    ),
    _row("code", "is used once", "attempt_used", "the response came twice", "begin a new test"),
    _row(
        "token response",
        "the code is accepted",
        "code_refused",
        "the provider refused the code",
        "at the provider: the redirect_uri, letter by letter, and PKCE for this client",
    ),
    _row(
        "token response",
        "the client is accepted",
        "",
        "the provider did not accept this client, or had no tokens for it",
        "{key}.client_secret, {key}.client_id, {key}.client_authentication",
        ("token:",),
    ),
    _row(
        "ID Token",
        "is there",
        "missing",
        "the token response has no ID Token",
        "{key}.scopes must have openid, at the provider too",
    ),
    _row(
        "ID Token",
        "is a signed JWT",
        "malformed critical_header type",
        "the ID Token cannot be read",
        "at the provider: a signed, not encrypted, ID Token for this client",
    ),
    _row(
        "ID Token",
        "algorithm",
        "algorithm",
        "it is signed with another algorithm",
        "{key}.id_token_signed_response_alg",
    ),
    _row(
        "ID Token",
        "signature",
        "key signature",
        "no published key of the provider signed it",
        "{key}.authority_url; at the provider: its keys",
    ),
    _row(
        "ID Token",
        "issuer",
        "issuer",
        "it is of another issuer",
        "{key}.authority_url, {key}.issuer, {key}.allowed_tenants",
    ),
    _row("ID Token", "audience", "audience authorized_party", "it is for another client", "{key}.client_id"),
    _row(
        "ID Token", "times (exp, iat, nbf)", "expired issued_at not_before", "it has ended, or is not valid yet", _SKEW
    ),
    _row(
        "ID Token",
        "subject and session",
        "subject session",
        "its sub or sid is missing or malformed",
        "at the provider: the mapping of this client",
    ),
    _row(
        "ID Token", "nonce", "nonce", "it belongs to another request", "at the provider: nonce must come back unchanged"
    ),
    _row(
        "ID Token",
        "at_hash",
        "at_hash",
        "it does not belong to the access token",
        "at the provider: nothing here mends it",
    ),
    _row(
        "ID Token",
        "auth_time and acr",
        "auth_time acr",
        "the sign-in is too old or too weak for the rules",
        "the rule's max_age and acr; " + _SKEW,
    ),
    _row(
        "userinfo",
        "answers, about the same person",
        "userinfo_subject",
        "userinfo was not there, or is about another person",
        "{key}.userinfo; at the provider: scopes profile and email",
        ("userinfo:",),
    ),
    _row("identity", "subject", "claim_missing", "the mapped subject is missing", "{key}.claims.subject"),
    _row("identity", "claims can be read", "claim_invalid", "a mapped claim is malformed", "{key}.claims"),
    _row(
        "identity",
        "the address is verified",
        "email_not_verified",
        "the address is not verified",
        "{key}.require_verified_email, {key}.verified_email_domains; at the provider: the person's address",
    ),
    _row(
        "identity",
        "the address may come from this provider",
        "email_domain",
        "the provider may not vouch for this address",
        "{key}.email_domains",
    ),
)


def failed_check(failure: Mapping[str, Any]) -> int | None:
    """The place of the check that failed; None where none of them is known to."""
    reason, detail = str(failure.get("reason", "")), str(failure.get("detail", ""))
    by_detail = (place for place, check in enumerate(CHECKS) if detail.startswith(check.details or ("\0",)))
    # A fault of userinfo has the reasons of an ID Token, where userinfo is signed; the code's refusal has its detail from the token endpoint.
    by_reason = (place for place, check in enumerate(CHECKS) if reason in check.reasons)
    if detail.startswith("userinfo:"):
        return next(by_detail, None)
    return next(by_reason, next(by_detail, None))


def outcomes(failure: Mapping[str, Any] | None) -> Iterator[CheckOutcome]:
    """Every check with its outcome; `failure` as a story has it, None: none."""
    failed = None if failure is None else failed_check(failure)
    for place, check in enumerate(CHECKS):
        outcome: Outcome = "passed"
        if failure is not None:
            unknown = failed is None or place > failed
            outcome = "not reached" if unknown else "failed" if place == failed else "passed"
        yield CheckOutcome(step=check.step, name=check.name, outcome=outcome)


def advice_for(failure: Mapping[str, Any], provider: str, story: Mapping[str, Any]) -> Advice:
    """What the failure means and what most likely mends it."""
    detail, place = str(failure.get("detail") or failure.get("reason") or failure.get("code")), failed_check(failure)
    words = _words_of_provider(story)
    if place is None:
        return Advice(step="unknown", provider_says=words, means=detail, setting="see the gateway's log at this moment")
    check = CHECKS[place]
    return Advice(
        step=f"{check.step}: {check.name}", provider_says=words, means=f"{check.means} ({detail})",
        setting=check.setting.replace("{key}", key_of(provider)),
    )  # fmt: skip


def _words_of_provider(story: Mapping[str, Any]) -> str:
    """`error` and `error_description` of the authorization response, else of the last call."""
    calls = story.get("calls") or [{}]
    for said in (story.get("authorization_response"), calls[-1].get("received")):
        if isinstance(said, Mapping) and "error" in said:
            texts = (said.get("error"), said.get("error_description"))
            return ": ".join(text for text in texts if isinstance(text, str) and text)
    return ""
