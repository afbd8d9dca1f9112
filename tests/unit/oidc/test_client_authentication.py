"""What the client needs before it can prove who it is."""

import json
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jwt
from pydantic import SecretStr

from gateway.config.schema import OpenID
from gateway.errors.signing_in import ProviderFault
from gateway.oidc.client_authentication import ClientAuthentication
from gateway.oidc.metadata import ProviderMetadata
from tests.fakes.forge import ec_key, ed_key, rsa_key

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
METADATA = ProviderMetadata(
    issuer="https://a", authorization_endpoint="https://a/a", token_endpoint="https://a/t", jwks_uri="https://a/k"
)


def authentication(key: str | None = None, method: str = "private_key_jwt", **settings: Any) -> ClientAuthentication:
    # model_construct: the configuration's own checks are not what is tried here.
    secret = SecretStr(key) if key is not None else None
    openid = OpenID.model_construct(
        client_id="doorward", client_authentication=method, client_private_key=secret, **settings
    )
    return ClientAuthentication(openid, lambda: NOW, lambda size: b"r" * size)


def assertion(proof_of: ClientAuthentication, metadata: ProviderMetadata = METADATA) -> str:
    return dict(proof_of.prove(metadata).form)["client_assertion"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_method_with_a_secret_needs_one(method: str) -> None:
    with pytest.raises(ValueError, match="client_secret"):
        authentication(method=method)


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("client_secret_basic", "doorward:a%3Ab%25c%2Bd+%2F%C3%A9"),
        ("client_secret_basic_raw", "doorward:a:b%c+d /é"),
    ],
)
def test_basic_is_urlencoded_unless_the_configuration_says_raw(method: str, sent: str) -> None:
    """A-14."""
    openid = OpenID.model_construct(
        client_id="doorward", client_authentication=method, client_secret=SecretStr("a:b%c+d /é")
    )
    header = ClientAuthentication(openid, lambda: NOW, lambda size: b"").prove(METADATA).headers["Authorization"]
    assert b64decode(header.removeprefix("Basic ")).decode() == sent


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----",
        "{}",
        "{secret",
        rsa_key().as_pem(private=False).decode(),
        json.dumps(ec_key().as_dict(private=False)),
        json.dumps({"kty": "oct", "k": "c2VjcmV0" * 4}),
    ],
)
def test_a_key_that_cannot_sign_is_refused_without_being_shown(key: str | None) -> None:
    """C-48."""
    with pytest.raises(ValueError, match=r"client_private_key is (missing|not)") as problem:
        authentication(key)
    assert "secret" not in str(problem.value)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # said of the name; many providers know no other
@pytest.mark.parametrize(("key", "alg"), [(rsa_key(), "RS256"), (ec_key("P-384"), "ES384"), (ed_key(), "EdDSA")])
@pytest.mark.parametrize("form", ["pem", "jwk"])
def test_the_assertion_is_for_the_token_endpoint_and_for_a_minute(key: Any, alg: str, form: str) -> None:
    text = key.as_pem(private=True).decode() if form == "pem" else json.dumps(key.as_dict(private=True))
    token = jwt.decode(assertion(authentication(text)), key, algorithms=[alg])
    issued_at = int(NOW.timestamp())
    assert token.header["alg"] == alg
    assert token.header["kid"]
    assert token.claims == {
        "iss": "doorward",
        "sub": "doorward",
        "aud": "https://a/t",
        "jti": token.claims["jti"],
        "iat": issued_at,
        "exp": issued_at + 60,
    }
    assert len(token.claims["jti"]) == 32


@pytest.mark.parametrize("settings", [{"client_assertion_audience": "issuer"}, {"profile": "fapi2"}])
def test_the_audience_is_the_issuer_where_the_provider_wants_that(settings: dict[str, str]) -> None:
    """A-95: as one text, not a list."""
    text = ec_key().as_pem(private=True).decode()
    token = jwt.decode(assertion(authentication(text, **settings)), ec_key(), algorithms=["ES256"])
    assert token.claims["aud"] == "https://a"


def test_the_first_of_several_keys_signs_under_the_id_that_the_provider_knows() -> None:
    texts = tuple(SecretStr(json.dumps(key.as_dict(private=True))) for key in (ec_key(kid="new"), rsa_key("old")))
    openid = OpenID.model_construct(
        client_id="doorward", client_authentication="private_key_jwt", client_private_key=texts
    )
    made = ClientAuthentication(openid, lambda: NOW, lambda size: b"r" * size)
    assert jwt.decode(assertion(made), ec_key(kid="new")).header == {"alg": "ES256", "kid": "new", "typ": "JWT"}
    named = openid.model_copy(update={"client_key_id": ("2026-11",)})
    made = ClientAuthentication(named, lambda: NOW, lambda size: b"r" * size)
    assert jwt.decode(assertion(made), ec_key(kid="new")).header["kid"] == "2026-11"


def test_the_algorithm_is_one_that_the_provider_takes() -> None:
    text = rsa_key().as_pem(private=True).decode()
    token = assertion(authentication(text), replace(METADATA, client_assertion_algs=("PS256", "ES256")))
    assert jwt.decode(token, rsa_key(), algorithms=["PS256"]).header["alg"] == "PS256"
    with pytest.raises(ProviderFault, match="the provider lists ES256"):
        assertion(authentication(text), replace(METADATA, client_assertion_algs=("ES256",)))
    named = authentication(text, token_endpoint_auth_signing_alg="RS512")
    assert jwt.decode(assertion(named), rsa_key(), algorithms=["RS512"]).header["alg"] == "RS512"
    with pytest.raises(ProviderFault, match="signs RS512; the provider lists PS256"):
        assertion(named, replace(METADATA, client_assertion_algs=("PS256",)))
