"""What a DPoP proof says, and which nonces are kept."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import JWKRegistry

from gateway.errors.signing_in import ProviderFault
from gateway.oidc.calls import ProviderResponse
from gateway.oidc.dpop import DpopProofs, derive_dpop_key, dpop_jkt
from gateway.sessions import base64url
from gateway.sign_in.browser_binding import BrowserBinding

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SEED = bytes(range(32))
TOKEN = "https://login.example.com/token"


def proofs() -> DpopProofs:
    made = iter(range(256))
    return DpopProofs(lambda: NOW, lambda size: bytes([next(made)]) * size)


def answering(nonce: str | None, status: int = 400, error: str = "use_dpop_nonce") -> ProviderResponse:
    body = json.dumps({"error": error}).encode()
    return ProviderResponse(what="token", status=status, content_type="application/json", body=body, dpop_nonce=nonce)


async def sent(made: DpopProofs, *answers: ProviderResponse, url: str = TOKEN) -> list[dict[str, Any]]:
    """The claims of the proofs of one request that is answered so, as often as it is sent."""
    fields: list[str] = []
    left = iter(answers)

    async def send(proof: Any) -> ProviderResponse:
        fields.append(proof["DPoP"])
        return next(left)

    await made.send(send, "POST", url, derive_dpop_key(SEED, "ES256"))
    return [claims_of(field)[1] for field in fields]


def claims_of(proof: str, alg: str = "ES256") -> tuple[dict[str, Any], dict[str, Any]]:
    key = JWKRegistry.import_key(json.loads(derive_dpop_key(SEED, alg)))
    token = jwt.decode(proof, key, algorithms=[alg])
    return token.header, token.claims


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # said of the name; many providers know no other
@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "Ed25519"])
def test_a_proof_is_for_one_request_and_shows_the_public_key_alone(alg: str) -> None:
    """C-48, A-98."""
    key, made = derive_dpop_key(SEED, alg), proofs()
    header, claims = claims_of(made.proof(key, "GET", "https://login.example.com:8443/userinfo?a=b#c", "token"), alg)
    assert (header["typ"], header["alg"]) == ("dpop+jwt", alg)
    assert set(header["jwk"]) <= {"kty", "crv", "x", "y"}
    assert claims == {
        "htm": "GET",
        "htu": "https://login.example.com:8443/userinfo",
        "iat": int(NOW.timestamp()),
        "jti": claims["jti"],
        "ath": "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A",
    }
    assert claims_of(made.proof(key, "POST", TOKEN), alg)[1]["jti"] != claims["jti"]


def test_a_key_follows_from_its_seed_and_from_nothing_that_the_provider_knows() -> None:
    """A-98."""
    assert derive_dpop_key(SEED, "ES256") == derive_dpop_key(SEED, "ES256")
    assert dpop_jkt(derive_dpop_key(SEED, "ES256")) != dpop_jkt(derive_dpop_key(SEED[::-1], "ES256"))
    binding = BrowserBinding(secret=SEED)
    assert binding.dpop_seed("a state").hex() != binding.dpop_seed("b state").hex()
    made = binding.dpop_seed("a state")
    assert BrowserBinding(secret=bytes(32)).dpop_seed("a state") != made
    assert base64url.encode(made) != binding.verifier("a state")
    assert proofs().new_key("ES256") != derive_dpop_key(SEED, "ES256")


async def test_a_nonce_serves_its_origin_until_another_comes() -> None:
    made = proofs()
    first, again = await sent(made, answering("one"), answering("two", 200))
    assert (first.get("nonce"), again["nonce"]) == (None, "one")
    (third,) = await sent(made, answering(None, 200))
    assert third["nonce"] == "two"
    (elsewhere,) = await sent(made, answering(None, 200), url="https://api.example.com/userinfo")
    assert "nonce" not in elsewhere


@pytest.mark.parametrize(
    "challenge", ['DPoP error="use_dpop_nonce"', 'Bearer, DPoP algs="ES256", error="use_dpop_nonce"']
)
async def test_userinfo_asks_for_a_nonce_in_its_challenge(challenge: str) -> None:
    """RFC 9449 section 9: the body may be anything."""
    asking = ProviderResponse(
        what="userinfo",
        status=401,
        content_type="text/html",
        body=b"<html>",
        dpop_nonce="one",
        www_authenticate=challenge,
    )
    _, again = await sent(proofs(), asking, answering(None, 200))
    assert again["nonce"] == "one"


@pytest.mark.parametrize(
    "answer",
    [
        answering(None),
        answering(""),
        answering("with blank"),
        answering('quo"te'),
        answering("back\\slash"),
        answering("x" * 1025),
        answering("good", 500),
        answering("good", 200),
        answering("good", error="invalid_grant"),
        answering("good", error="invalid_dpop_proof"),
    ],
)
async def test_only_a_refusal_for_a_nonce_that_is_one_is_answered_with_a_second_request(
    answer: ProviderResponse,
) -> None:
    """A-98."""
    assert len(await sent(proofs(), answer)) == 1


async def test_the_nonces_that_are_kept_are_few() -> None:
    """A-65."""
    made = proofs()
    for port in range(1, 40):
        await sent(made, answering("nonce", 200), url=f"https://login.example.com:{port}/token")
    assert len(made._nonces) <= 16


@pytest.mark.parametrize(
    "key", ["", "{}", "null", '{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0"}', '{"kty":"EC","crv":"P-256"}']
)
def test_a_key_that_is_none_is_a_fault_and_is_not_shown(key: str) -> None:
    """C-48, C-51."""
    with pytest.raises(ProviderFault, match="the DPoP key of the session"):
        proofs().proof(key, "POST", TOKEN)
