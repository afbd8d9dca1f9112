"""The client authentication at a provider: what is missing, what nothing would use, keys that cannot sign, what the profile leaves."""

import hashlib
import json
import os
import ssl
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from gateway.cli import main as cli
from gateway.config.client_keys import client_keys, parse_client_key
from gateway.config.loader import build
from tests.fakes.authority import Authority
from tests.fakes.forge import ec_key, ed_key, rsa_key
from tests.unit.config.made import changed, problems_with


def pem(key: Any, password: bytes | None = None) -> str:
    how = NoEncryption() if password is None else BestAvailableEncryption(password)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode())


def jwk(key: Any, **members: Any) -> str:
    return json.dumps(key.as_dict(private=True) | members)


EC = pem(ec.generate_private_key(ec.SECP256R1()))
P384 = pem(ec.generate_private_key(ec.SECP384R1()))
NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
RSA = rsa_key().as_pem(private=True).decode()
BY_KEY: dict[str, Any] = {
    "openid.client_secret": ...,
    "openid.client_authentication": "private_key_jwt",
    "openid.client_private_key": EC,
}
FAPI: dict[str, Any] = {**BY_KEY, "openid.profile": "fapi2"}


def said(changes: dict[str, Any]) -> list[str]:
    return [f"{problem.key}: {problem.what}" for problem in problems_with(changes)]


@pytest.mark.parametrize("key", [EC, P384, RSA, ed_key().as_pem(private=True).decode(), jwk(ec_key()), jwk(rsa_key())])
def test_a_client_with_a_key_needs_no_secret(key: str) -> None:
    assert said({**BY_KEY, "openid.client_private_key": key}) == []
    assert said({"openid.client_secret": ..., "openid.client_authentication": "none"}) == []


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, "is missing for private_key_jwt"),
        ("no key", "is not a private key without a passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "is not a private key without a passphrase"),
        (pem(rsa.generate_private_key(65537, 1024)), "is too short"),
        (pem(ec.generate_private_key(ec.SECP192R1())), "is of a kind that is not used here"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "is of a kind that is not used here"),
        (pem(x25519.X25519PrivateKey.generate()), "is of a kind that is not used here"),
        ("{", "is not JSON"),
        ('{"kty":"RSA","n":"x","e":"AQAB"}', "is not a private JWK"),
        ('{"kty":"oct","k":"x","d":"y"}', "is not a private JWK"),
        ('{"kty":"EC","crv":"P-256","x":"x","y":"y","d":"d"}', "is not a private JWK"),
        (json.dumps(ec_key().as_dict(private=False)), "is not a private JWK"),
        (jwk(ec_key(), alg="HS256"), "has an alg that is not its own"),
    ],
)
def test_a_private_key_that_cannot_sign_is_refused(key: str | None, expected: str) -> None:
    """C-21, A-95: an unusable or weak key stops the start, not the first login."""
    assert said({**BY_KEY, "openid.client_private_key": key}) == [f"openid.client_private_key: {expected}"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"openid.client_secret": "a"}, ["openid.client_secret: is not used with private_key_jwt"]),
        (
            {"openid.client_authentication": "client_secret_post", "openid.client_secret": "a"},
            ["openid.client_private_key: is not used with client_secret_post"],
        ),
        (
            {"openid.client_private_key": [EC, P384, EC]},
            ["openid.client_private_key[2]: has the kid of another one"],
        ),
        (
            {"openid.client_private_key": [EC, "no key"]},
            ["openid.client_private_key[1]: is not a private key without a passphrase"],
        ),
        (
            {"openid.client_private_key": [EC, P384], "openid.client_key_id": ["same", "same"]},
            ["openid.client_private_key[1]: has the kid of another one"],
        ),
        (
            {"openid.client_key_id": ["one", "two"]},
            ["openid.client_key_id: has more ids than there are keys in client_private_key"],
        ),
        (
            {"openid.client_key_id": "two words"},
            ["openid.client_key_id: 'two words' is not a key id"],
        ),
        (
            {"openid.token_endpoint_auth_signing_alg": "RS256"},
            ["openid.token_endpoint_auth_signing_alg: is RS256, and the first key signs ES256"],
        ),
        (
            {
                "openid.client_authentication": "none",
                "openid.client_private_key": None,
                "openid.client_assertion_audience": "issuer",
                "openid.token_endpoint_auth_signing_alg": "ES256",
            },
            [
                "openid.token_endpoint_auth_signing_alg: is not used with none",
                "openid.client_assertion_audience: is not used with none",
            ],
        ),
        (
            {
                "openid.client_assertion_audience": "issuer",
                "openid.issuer": "https://login.example.com/{tenantid}/v2.0",
                "openid.allowed_tenants": ["11111111-2222-3333-4444-555555555555"],
            },
            ["openid.client_assertion_audience: is issuer, and the issuer has {tenantid}, which is no audience"],
        ),
    ],
)
def test_what_contradicts_itself_or_has_no_effect_is_refused(changes: dict[str, Any], expected: list[str]) -> None:
    assert said(BY_KEY | changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {
                "openid.client_authentication": "client_secret_basic",
                "openid.client_secret": "a",
                "openid.client_private_key": None,
            },
            "openid.client_authentication: is client_secret_basic, which profile fapi2 does not allow",
        ),
        (
            {"openid.client_assertion_audience": "token_endpoint"},
            "openid.client_assertion_audience: is token_endpoint, which profile fapi2 does not allow",
        ),
        (
            {"openid.dpop_bound_access_tokens": False},
            "openid.dpop_bound_access_tokens: is off, and profile fapi2 wants tokens that are bound",
        ),
        (
            {"openid.id_token_signed_response_alg": "RS256"},
            "openid.id_token_signed_response_alg: is RS256, which profile fapi2 does not allow",
        ),
        (
            {"openid.pushed_authorization_requests": "never"},
            "openid.pushed_authorization_requests: is never, which profile fapi2 does not allow",
        ),
        (
            {"openid.client_private_key": P384},
            "openid.client_private_key: signs with none of PS256, ES256, EdDSA, Ed25519",
        ),
        (
            {"openid.client_private_key": jwk(rsa_key(), alg="RS256")},
            "openid.client_private_key: signs with none of PS256, ES256, EdDSA, Ed25519",
        ),
    ],
)
def test_the_fapi_2_profile_refuses_what_it_does_not_allow(changes: dict[str, Any], expected: str) -> None:
    """A-95, A-98."""
    assert said(FAPI) == []
    assert said(FAPI | changes) == [expected]


@pytest.mark.parametrize(
    ("changes", "dpop"),
    [
        ({}, False),
        ({"openid.dpop_bound_access_tokens": True}, True),
        ({"openid.profile": "fapi2"}, True),
        (
            {
                "openid.profile": "fapi2",
                "openid.client_tls": {"certificate": "/a.pem", "key": "/a.key"},
                "openid.tls_client_certificate_bound_access_tokens": True,
            },
            False,
        ),
    ],
)
def test_the_profile_binds_tokens_by_dpop_where_no_certificate_does(changes: dict[str, Any], dpop: bool) -> None:
    assert build(changed(BY_KEY | changes)).openid.uses_dpop is dpop


@pytest.mark.parametrize(("profile", "first"), [(None, "RS256"), ("fapi2", "PS256")])
def test_an_rsa_key_signs_as_the_profile_allows(profile: str | None, first: str) -> None:
    openid = build(changed({**BY_KEY, "openid.client_private_key": RSA, "openid.profile": profile})).openid
    (key,) = client_keys(openid)
    assert key.algorithms[0] == first
    assert openid.assertion_audience == ("issuer" if profile else "token_endpoint")


def test_a_key_in_an_environment_variable_is_taken_as_it_is(tmp_path: Path) -> None:
    """A PEM has colons and dashes, and is no YAML."""
    assert build(changed({**BY_KEY, "openid.client_private_key": RSA})).openid.client_private_keys == (RSA,)
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(changed({**BY_KEY, "openid.client_private_key": ...})))
    environ = {**os.environ, "DOORWARD__OPENID__CLIENT_PRIVATE_KEY": RSA}
    done = CliRunner().invoke(cli.app, ["keys", "public", str(file)], env=environ)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["keys"][0]["n"] == rsa_key().as_dict(private=False)["n"]


def test_a_certificate_beside_the_key_names_it_in_the_header(tmp_path: Path) -> None:
    """Entra ID finds the key by the thumbprint of its certificate."""
    authority = Authority(tmp_path)
    pair, other = authority.issue("doorward"), authority.issue("other", file="other")
    text = pair.certificate.read_text() + pair.key.read_text()
    key = parse_client_key(text)
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    thumbprint = urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    assert key.header == {"kid": key.key.thumbprint(), "x5t#S256": thumbprint}
    assert key.public_jwk()["x5c"] == [b64encode(der).decode()]
    for wrong, what in ((other.certificate.read_text(), "of another key"), (NO_CERTIFICATE, "cannot be read")):
        mixed = {**BY_KEY, "openid.client_private_key": pair.key.read_text() + wrong}
        assert said(mixed) == [
            f"openid.client_private_key: has a certificate {'that ' if 'read' in what else ''}{what}"
        ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "openid.client_tls: is missing for tls_client_auth"),
        ({"openid.client_tls": {"certificate": "/a.pem"}}, "openid.client_tls: needs both certificate and key"),
        (
            {"openid.client_tls": {"certificate": "/a.pem", "key": "/a.key"}, "openid.client_secret": "a"},
            "openid.client_secret: is not used with tls_client_auth",
        ),
        (
            {"openid.client_tls": {"certificate": "/a.pem", "key": "/a.key"}, "openid.client_private_key": EC},
            "openid.client_private_key: is not used with tls_client_auth",
        ),
        (
            {**BY_KEY, "openid.tls_client_certificate_bound_access_tokens": True},
            "openid.client_tls: is missing, and tls_client_certificate_bound_access_tokens is on",
        ),
    ],
)
def test_a_client_with_a_certificate_has_all_of_it_and_nothing_else(changes: dict[str, Any], expected: str) -> None:
    """A-96."""
    by_certificate = {"openid.client_secret": ..., "openid.client_authentication": "tls_client_auth"}
    assert said(by_certificate | changes) == [expected]


def test_a_certificate_that_does_not_fit_its_key_is_found(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, other = authority.issue("doorward"), authority.issue("other", file="other")
    changes: dict[str, Any] = {
        "openid.client_secret": ...,
        "openid.client_authentication": "self_signed_tls_client_auth",
    }

    def with_key(key: Path) -> str:
        tls = {"certificate": str(pair.certificate), "key": str(key)}
        done = published(tmp_path, {**changes, "openid.client_tls": tls})
        return str(done.stdout if done.exit_code == 0 else done.stderr)

    assert "openid.client_tls: has a certificate and a key that cannot be used together" in with_key(other.key)
    (jwk_of_it,) = json.loads(with_key(pair.key))["keys"]
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    assert jwk_of_it["x5c"] == [b64encode(der).decode()]
    assert set(jwk_of_it) == {"kty", "crv", "x", "y", "kid", "use", "alg", "x5c"}


# --- doorward keys public -----------------------------------------------------------------------------------------------


def published(tmp_path: Path, changes: dict[str, Any], *words: str) -> Any:
    (tmp_path / "client.pem").write_text(RSA + "\n")
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(changed(changes)))
    return CliRunner().invoke(cli.app, ["keys", "public", str(file), *words])


def test_every_key_is_published_without_its_private_part(tmp_path: Path) -> None:
    """C-48."""
    keys = ["file:client.pem", jwk(ec_key(kid="its own")), jwk(ed_key())]
    done = published(tmp_path, {**BY_KEY, "openid.client_private_key": keys, "openid.client_key_id": ["2026-11"]})
    assert done.exit_code == 0, done.output
    first, second, third = json.loads(done.stdout)["keys"]
    rsa_public, ec_public = rsa_key().as_dict(private=False), ec_key(kid="its own").as_dict(private=False)
    assert first == {
        "kty": "RSA", "n": rsa_public["n"], "e": rsa_public["e"], "kid": "2026-11", "use": "sig"
    }  # fmt: skip
    assert second == {
        "kty": "EC", "crv": "P-256", "x": ec_public["x"], "y": ec_public["y"], "kid": "its own", "use": "sig", "alg": "ES256"
    }  # fmt: skip
    assert set(third) == {"kty", "crv", "x", "kid", "use"}


def test_the_keys_of_several_providers_are_asked_for_by_name(tmp_path: Path) -> None:
    other = {"authority_url": "https://b.example.com", "client_id": "b", "client_authentication": "private_key_jwt"}
    changes = {**BY_KEY, "providers": {"members": {**other, "client_private_key": P384}}}
    changes["apps.portal.provider"] = "members"
    done = published(tmp_path, changes)
    assert done.exit_code == 1
    assert "--provider openid, --provider members" in done.stderr
    done = published(tmp_path, changes, "--provider", "members")
    assert json.loads(done.stdout)["keys"][0]["crv"] == "P-384"
    done = published(tmp_path, {})
    assert done.exit_code == 1
    assert "no provider has a client_private_key, or a certificate of its own" in done.stderr


def test_request_objects_need_a_key_that_signs_so() -> None:
    """The key may be there for them alone."""
    signs = {"openid.client_private_key": EC, "openid.request_object_signing_alg": "ES256"}
    assert said(signs) == []
    assert said({**signs, "openid.client_private_key": ...}) == [
        "openid.client_private_key: is missing for request_object_signing_alg"
    ]
    key = "openid.request_object_signing_alg"
    assert said({**signs, key: "RS256"}) == [f"{key}: is RS256, and the first key signs ES256"]
    tenants = {"openid.issuer": "https://login.example.com/{tenantid}/v2.0", "openid.allowed_tenants": ["t1"]}
    assert said({**signs, **tenants}) == [f"{key}: is given, and the issuer has {{tenantid}}, which is no audience"]
    fapi = {**FAPI, "openid.client_private_key": RSA, key: "RS256"}
    assert said(fapi) == [f"{key}: is RS256, and the first key signs PS256"]
