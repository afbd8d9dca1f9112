"""The authorization request that is sent, and the one answer to it that is believed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from gateway.config.schema import ProviderKeys
from gateway.errors.signing_in import SignInFailed
from gateway.oidc.authorization import (
    ATTEMPT_LIFETIME,
    LoginAttempt,
    authorization_parameters,
    authorization_url,
    validate_authorization_response,
)
from gateway.oidc.metadata import ProviderMetadata
from tests.fakes.attempts import attempt_secrets
from tests.unit.config.made import problems_with

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ISSUER = "https://login.example.com"
METADATA = ProviderMetadata(
    issuer=ISSUER,
    authorization_endpoint=ISSUER + "/authorize?tenant=a%20b",
    token_endpoint=ISSUER + "/token",
    jwks_uri=ISSUER + "/jwks",
)
NAMES_ITSELF = replace(METADATA, iss_parameter_supported=True)


def attempt(**asked: Any) -> LoginAttempt:
    fields = {"app": "portal", "host": "portal.example.com", "return_to": "/x?y#z", "started_at": NOW, **asked}
    return LoginAttempt(**attempt_secrets(), **fields)


MINE = attempt()
MEMBERS = {"authority_url": "https://members.example.net", "client_id": "x", "client_secret": "another secret"}


def request_url(settings: ProviderKeys, attempt: LoginAttempt = MINE, prompt: str | None = None) -> str:
    parameters = authorization_parameters(METADATA, settings, "https://p/oauth2/callback", attempt, prompt)
    return authorization_url(METADATA.authorization_endpoint, parameters)


def refused(*params: tuple[str, str], metadata: ProviderMetadata = METADATA, now: datetime = NOW) -> SignInFailed:
    with pytest.raises(SignInFailed) as failed:
        validate_authorization_response(params, MINE, metadata, now)
    return failed.value


def test_the_request_asks_for_a_code_with_state_nonce_and_pkce() -> None:
    """A-01."""
    asked = attempt(max_age=0, acr=("mfa", "phr"))
    settings = ProviderKeys(client_id="door ward", scopes=("email", "openid"))
    url = request_url(settings, asked, "login")
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "login.example.com", "/authorize")
    assert parse_qs(parts.query) == {
        "tenant": ["a b"],
        "response_type": ["code"],
        "client_id": ["door ward"],
        "redirect_uri": ["https://p/oauth2/callback"],
        "scope": ["openid email"],
        "state": [asked.state],
        "nonce": [asked.nonce],
        "code_challenge": [create_s256_code_challenge(asked.verifier)],
        "code_challenge_method": ["S256"],
        "prompt": ["login"],
        "max_age": ["0"],
        "acr_values": ["mfa phr"],
    }
    assert asked.verifier not in url


def test_configured_parameters_stand_beside_those_of_the_request() -> None:
    added = {"kc_idp_hint": "corporate", "organization": "org 1&state=x"}
    settings = ProviderKeys(client_id="doorward", extra_authorization_parameters=added)
    query = parse_qs(urlsplit(request_url(settings)).query)
    assert {name: query[name] for name in added} == {name: [value] for name, value in added.items()}
    assert query["state"] == [MINE.state]


def test_no_configured_parameter_takes_the_place_of_one_of_ours() -> None:
    """A-92: each is named with all that are ours, for each provider."""
    ours = (
        *(
            "response_type",
            "response_mode",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "STATE",
            "nonce",
            "code_challenge",
        ),
        *(
            "code_challenge_method",
            "prompt",
            "login_hint",
            "id_token_hint",
            "max_age",
            "acr_values",
            "ui_locales",
            "request",
        ),
        *("request_uri", "client_assertion", "iss", "exp", "dpop_jkt"),
    )
    for place in ("openid", "providers.members"):
        added = {f"{place}.extra_authorization_parameters": dict.fromkeys(ours, "x")}
        problems = problems_with({"providers.members": MEMBERS, **added})
        assert {problem.what for problem in problems} == {f"{name!r} is a parameter of Doorward's own" for name in ours}
        assert {problem.key for problem in problems} == {
            f"{place}.extra_authorization_parameters.{name}" for name in ours
        }
        assert all(name.lower() in problem.allowed for problem in problems for name in ours)


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"a b": "x"}, ".a…"), ({"": "x"}, "."), ({"hint": ""}, ".hint"), ({"hint": "a\nb"}, ".hint"), ({"hint": "x" * 501}, ".hint"),
        ({f"hint{n}": "x" for n in range(21)}, ""), ({f"hint{n}": "x" * 500 for n in range(5)}, ""),
    ],
)  # fmt: skip
def test_a_configured_parameter_that_is_none_is_refused(parameters: dict[str, str], key: str) -> None:
    (problem,) = problems_with({"openid.extra_authorization_parameters": parameters})
    assert problem.key == f"openid.extra_authorization_parameters{key}"
    assert "allowed: " in problem.allowed


def test_the_code_for_our_own_state_is_believed() -> None:
    code = validate_authorization_response([("code", "c-1"), ("state", MINE.state)], MINE, METADATA, NOW)
    assert (code.code, code.attempt, code.issuer) == ("c-1", MINE, ISSUER)


@pytest.mark.parametrize(
    "state",
    ["", "x", MINE.state[:-1], MINE.state + "=", MINE.state.swapcase(), "é", "\ud800"],
    ids=["empty", "x", "shorter", "padded", "other-case", "not-ascii", "surrogate"],
)
def test_a_code_is_refused_when_its_state_was_never_issued(state: str) -> None:
    """A-53, A-54."""
    assert refused(("code", "c-1"), ("state", state)).reason == "state_mismatch"
    assert refused(("code", "c-1")).reason == "state_mismatch"
    assert refused(("error", "access_denied"), ("state", state)).reason == "state_mismatch"


def test_an_attempt_that_is_too_old_is_refused() -> None:
    """A-54."""
    answer = (("code", "c-1"), ("state", MINE.state))
    assert validate_authorization_response(answer, MINE, METADATA, NOW + ATTEMPT_LIFETIME)
    assert refused(*answer, now=NOW + ATTEMPT_LIFETIME + timedelta(seconds=1)).reason == "attempt_expired"
    assert refused(*answer, now=NOW - timedelta(minutes=2)).reason == "attempt_expired"


def test_two_attempts_in_one_browser_know_their_own_answers() -> None:
    """A-54: parallel tabs."""
    other = attempt()
    assert other.id != MINE.id
    assert validate_authorization_response([("code", "c"), ("state", other.state)], other, METADATA, NOW)
    with pytest.raises(SignInFailed):
        validate_authorization_response([("code", "c"), ("state", other.state)], MINE, METADATA, NOW)


@pytest.mark.parametrize("name", ["state", "code", "iss", "error", "error_description", "session_state", "anything"])
def test_a_parameter_given_twice_is_refused(name: str) -> None:
    """A-55, also when both values are the same."""
    answer = {"code": "c-1", "state": MINE.state, "iss": ISSUER, name: "x"}
    if name in ("state", "iss"):
        answer[name] = {"state": MINE.state, "iss": ISSUER}[name]
    assert refused(*answer.items(), (name, answer[name])).reason == "repeated_parameter"


def test_a_code_together_with_an_error_is_refused() -> None:
    """A-55."""
    assert refused(("code", "c"), ("error", "x"), ("state", MINE.state)).reason == "repeated_parameter"


@pytest.mark.parametrize("issuer", [ISSUER + "/", "https://evil.example", "", ISSUER.upper()])
def test_an_answer_of_another_issuer_is_refused(issuer: str) -> None:
    """A-56, whether or not the provider announced that it names itself."""
    answer = (("code", "c"), ("state", MINE.state), ("iss", issuer))
    assert refused(*answer).reason == "issuer_mismatch"
    assert refused(*answer, metadata=NAMES_ITSELF).reason == "issuer_mismatch"


def test_an_answer_without_its_issuer_is_refused_when_the_provider_names_itself() -> None:
    """A-56."""
    answer = (("code", "c"), ("state", MINE.state))
    assert refused(*answer, metadata=NAMES_ITSELF).reason == "issuer_mismatch"
    assert validate_authorization_response([*answer, ("iss", ISSUER)], MINE, NAMES_ITSELF, NOW)
    assert refused(("error", "x"), ("state", MINE.state), metadata=NAMES_ITSELF).reason == "issuer_mismatch"


@pytest.mark.parametrize("code", ["", "c\n", "c\x00", "é", "c" * 5000])
def test_what_is_no_code_is_refused(code: str) -> None:
    assert refused(("code", code), ("state", MINE.state)).reason == "code_missing"


def test_tokens_in_the_callback_are_not_looked_at() -> None:
    """A-38."""
    extra = [("id_token", "a.b.c"), ("access_token", "t"), ("session_state", "s")]
    code = validate_authorization_response([("code", "c"), ("state", MINE.state), *extra], MINE, METADATA, NOW)
    assert code.code == "c"
    assert refused(*extra, ("state", MINE.state)).reason == "code_missing"


def test_what_the_provider_says_of_its_refusal_is_tamed() -> None:
    """A-76: the parsing part."""
    for error in ("<script>alert(1)</script>", "a\r\nSet-Cookie:x=1", "", "x" * 65, "é"):
        failed = refused(("error", error), ("state", MINE.state), ("error_description", "<b>\r\nSet-Cookie: x=1"))
        assert (failed.reason, failed.facts["error"]) == ("provider_error", "unreadable")
        assert "'<b>  Set-Cookie: x=1'" in failed.detail
        assert "<" not in str(failed.facts)
    long = refused(("error", "server_error"), ("state", MINE.state), ("error_description", "x" * 100_000))
    assert (long.reason, long.facts["error"]) == ("provider_error", "server_error")
    assert len(long.detail) < 400


@pytest.mark.parametrize("error", ["access_denied", "login_required", "interaction_required"])
def test_refusals_that_a_person_can_understand_keep_their_name(error: str) -> None:
    assert refused(("error", error), ("state", MINE.state)).reason == error


def test_no_secret_shows_in_what_is_printed() -> None:
    """C-48."""
    code = validate_authorization_response([("code", "c-secret"), ("state", MINE.state)], MINE, METADATA, NOW)
    for secret in (MINE.state, MINE.nonce, MINE.verifier, "c-secret"):
        assert secret not in repr(code)


def test_the_public_handle_does_not_tell_the_state() -> None:
    assert MINE.state not in MINE.id
    assert len(MINE.id) == 64
