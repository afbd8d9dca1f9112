"""Which discovery documents are believed."""

import json
from typing import Any

import pytest

from gateway.config.sections.openid import ProviderKeys
from gateway.oidc.metadata import ProviderMetadata, discovery_url, is_loopback, parse_metadata

AUTHORITY = "https://login.example.com"
MISSING = object()


def parse(
    authority: str = AUTHORITY, *, settings: Any = None, allow_insecure_http: bool = False, **changes: Any
) -> ProviderMetadata:
    document = {
        "issuer": authority,
        "authorization_endpoint": authority + "/authorize",
        "token_endpoint": authority + "/token",
        "jwks_uri": authority + "/jwks",
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        "code_challenge_methods_supported": ["S256", "plain"],
        **changes,
    }
    raw = json.dumps({name: value for name, value in document.items() if value is not MISSING}).encode()
    return parse_metadata(raw, configured(authority, **(settings or {})), allow_insecure_http=allow_insecure_http)


def configured(authority: str = AUTHORITY, **settings: Any) -> ProviderKeys:
    return ProviderKeys.model_validate({"authority_url": authority, **settings})


def refused(authority: str = AUTHORITY, **changes: Any) -> str:
    with pytest.raises(ValueError) as problem:
        parse(authority, **changes)
    return str(problem.value)


def test_a_whole_document_is_understood() -> None:
    assert parse(
        userinfo_endpoint="https://api.example.net/me",
        end_session_endpoint=AUTHORITY + "/out",
        revocation_endpoint=AUTHORITY + "/revoke",
        authorization_response_iss_parameter_supported=True,
        token_endpoint_auth_signing_alg_values_supported=["ES256"],
    ) == ProviderMetadata(
        issuer=AUTHORITY,
        authorization_endpoint=AUTHORITY + "/authorize",
        token_endpoint=AUTHORITY + "/token",
        jwks_uri=AUTHORITY + "/jwks",
        userinfo_endpoint="https://api.example.net/me",
        end_session_endpoint=AUTHORITY + "/out",
        revocation_endpoint=AUTHORITY + "/revoke",
        id_token_alg="RS256",
        userinfo_algs=("RS256",),
        client_assertion_algs=("ES256",),
        iss_parameter_supported=True,
    )


@pytest.mark.parametrize(
    "issuer",
    ["https://evil.example", AUTHORITY + "/x", AUTHORITY.upper(), "http://login.example.com", None, 7, MISSING, ""],
)
def test_a_document_of_another_issuer_is_refused(issuer: object) -> None:
    """A-17."""
    assert "issuer" in refused(issuer=issuer)


def test_a_slash_at_the_end_makes_no_difference_and_the_provider_s_spelling_is_kept() -> None:
    """A-17: both spellings of the authority lead to the same document."""
    assert discovery_url(AUTHORITY + "/") == discovery_url(AUTHORITY) == AUTHORITY + "/.well-known/openid-configuration"
    assert parse(issuer=AUTHORITY + "/").issuer == AUTHORITY + "/"
    raw = b'{"issuer":"%b"}' % AUTHORITY.encode()
    with pytest.raises(ValueError, match="authorization_endpoint"):
        parse_metadata(raw, configured(AUTHORITY + "/"))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:80@attacker.example/token",
        "https://user@login.example.com/token",
        "https://login.example.com:pw@evil.example/",
        "file:///etc/passwd",
        "gopher://login.example.com/token",
        "ftp://login.example.com/token",
        "http://login.example.com/token",
        "http://localhost/token",
        "http://127.0.0.1/token",
        "//login.example.com/token",
        "/token",
        "https:///token",
        "https://",
        "https://evil.example\\@login.example.com/",
        "https://login.example.com/token#x",
        "https://login.example.com/a b",
        "https://login.example.com/\r\nX: 1",
        "https://login.example.com:99999/",
        "https://login.example.com:0/",
        "https://login.example.com:x/",
        "https://[::1/",
        "https://løgin.example.com/token",
        "https://login.example.com/" + "x" * 3000,
        "",
        None,
        7,
        [],
        MISSING,
    ],
)
@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_an_endpoint_that_is_no_plain_https_url_is_refused(member: str, url: object) -> None:
    """A-69."""
    changes: dict[str, Any] = {member: url}
    refused(**changes)


@pytest.mark.parametrize("member", ["userinfo_endpoint", "end_session_endpoint", "revocation_endpoint"])
def test_an_endpoint_that_is_not_required_is_held_to_the_same(member: str) -> None:
    """A-69."""
    without: dict[str, Any] = {member: None}
    assert getattr(parse(**without), member) is None
    refused(**{member: "file:///etc/passwd"})
    refused(**{member: "http://localhost:80@attacker.example/"})


def test_endpoints_on_other_https_hosts_are_used() -> None:
    """A-69: Google has three."""
    assert parse(token_endpoint="https://oauth2.example.net/token").token_endpoint == "https://oauth2.example.net/token"


def test_plain_http_is_for_loopback_authorities_and_loopback_endpoints() -> None:
    """A-69."""
    for authority in ("http://localhost:4190", "http://login.localhost:4190", "http://127.0.0.1:1", "http://[::1]:1"):
        assert parse(authority).token_endpoint == authority + "/token"
        refused(authority, token_endpoint="http://login.example.com/token")
    assert parse("http://login.example.com", allow_insecure_http=True)


def test_a_provider_that_lists_pkce_methods_without_s256_is_refused() -> None:
    assert "S256" in refused(code_challenge_methods_supported=["plain"])
    assert "S256" in refused(code_challenge_methods_supported=[])
    assert parse(code_challenge_methods_supported=MISSING)


COMMON = {"issuer": AUTHORITY + "/{tenantid}/v2.0", "allowed_tenants": ["one", "two"]}


def test_a_provider_without_the_response_that_we_ask_for_is_refused() -> None:
    by_form = {"response_mode": "form_post"}
    assert parse(
        response_types_supported=["id_token", "code"], response_modes_supported=["form_post"], settings=by_form
    )
    assert parse(settings=by_form)
    assert parse(response_modes_supported=["form_post"])
    assert "has no Authorization Code Flow" in refused(response_types_supported=["id_token", "code id_token"])
    assert "does not answer by form_post" in refused(response_modes_supported=["query"], settings=by_form)


def test_pushed_requests_have_an_endpoint_where_they_are_required_or_configured() -> None:
    endpoint = "pushed_authorization_request_endpoint"
    required: dict[str, Any] = {"require_pushed_authorization_requests": True}
    has: dict[str, Any] = {endpoint: AUTHORITY + "/par"}
    always = {"pushed_authorization_requests": "always"}
    assert parse(**has).pushed_authorization_request_endpoint is None
    for given in (required, {"settings": always}):
        assert parse(**has, **given).pushed_authorization_request_endpoint
        assert f"has no {endpoint}" in refused(**given)
        assert refused(**(has | {endpoint: "http://login.example.com/par"}), **given) == f"its {endpoint} is not https"
    assert "is never" in refused(**required, settings={"pushed_authorization_requests": "never"})
    assert "neither true nor false" in refused(require_pushed_authorization_requests="true")


def test_an_issuer_that_differs_from_the_discovery_address_is_configured_exactly() -> None:
    """A-17: Azure B2C."""
    issuer = AUTHORITY + "/0d4b/v2.0/"
    assert parse(settings={"issuer": issuer}, issuer=issuer).issuers == (issuer,)
    for other in (AUTHORITY, issuer.removesuffix("/"), issuer + "x", MISSING):
        assert refused(settings={"issuer": issuer}, issuer=other) == "its issuer is not the configured issuer"
    assert f"but {issuer!r}: set `issuer`" in refused(issuer=issuer)


def test_an_issuer_for_tenants_is_that_of_the_tokens_own_tenant() -> None:
    """A-17: Microsoft Entra's /common."""
    metadata = parse(settings=COMMON, issuer=COMMON["issuer"])
    assert metadata.issuers == (AUTHORITY + "/one/v2.0", AUTHORITY + "/two/v2.0")
    assert metadata.issuer_for({"tid": "two"}) == AUTHORITY + "/two/v2.0"
    for stranger in ({"tid": "three"}, {}, {"tid": None}, {"tid": ["one"]}, {"tid": "{tenantid}"}):
        assert metadata.issuer_for(stranger) is None
    refused(settings=COMMON, issuer=AUTHORITY + "/one/v2.0")


@pytest.mark.parametrize(
    ("listed", "registered", "alg"),
    [
        (MISSING, None, "RS256"),
        ("", None, "RS256"),
        (["ES256", "RS256", "PS256"], None, "RS256"),
        (["EdDSA", "none", "HS256"], None, "EdDSA"),
        (["ES256", "RS256"], "ES256", "ES256"),
        (MISSING, "PS256", "PS256"),
    ],
)
def test_id_tokens_have_the_configured_algorithm_or_the_default_or_the_only_one(
    listed: object, registered: str | None, alg: str
) -> None:
    """A-09."""
    assert (
        parse(
            settings={"id_token_signed_response_alg": registered}, id_token_signing_alg_values_supported=listed
        ).id_token_alg
        == alg
    )


def test_the_fapi_2_profile_takes_its_own_algorithms_and_always_iss() -> None:
    """A-09, A-56."""
    fapi = {"profile": "fapi2"}
    push: dict[str, Any] = {"pushed_authorization_request_endpoint": AUTHORITY + "/par"}
    listed: dict[str, Any] = {"id_token_signing_alg_values_supported": ["RS256", "PS256", "ES512", "none"]}
    metadata = parse(settings=fapi, **push, **listed, userinfo_signing_alg_values_supported=["RS256", "ES256"])
    assert metadata.pushed_authorization_request_endpoint == AUTHORITY + "/par"
    assert "and profile fapi2 requires pushed requests" in refused(settings=fapi, **listed)
    assert metadata.id_token_alg == "PS256"
    assert metadata.userinfo_algs == ("ES256",)
    assert metadata.iss_parameter_supported
    assert not parse(**listed).iss_parameter_supported
    for few in (["RS256"], None):
        assert "with none of PS256, ES256" in refused(settings=fapi, id_token_signing_alg_values_supported=few)
    assert "must name the one" in refused(
        settings=fapi, id_token_signing_alg_values_supported=["PS256", "ES256", "RS256"]
    )


@pytest.mark.parametrize(
    ("listed", "registered", "fault"),
    [
        (["HS256", "none"], None, "with none of RS256,"),
        ([], None, "with none of RS256,"),
        ("RS256", None, "not a list of names"),
        (["ES256", "PS256"], None, "with one of PS256, ES256: id_token_signed_response_alg must name"),
        (
            ["RS256", "none"],
            "ES256",
            "does not sign ID Tokens with ES256 (id_token_signed_response_alg); it lists RS256, none",
        ),
    ],
)
def test_an_algorithm_that_is_not_certain_is_not_guessed(listed: object, registered: str | None, fault: str) -> None:
    """A-09, A-61."""
    assert fault in refused(
        settings={"id_token_signed_response_alg": registered}, id_token_signing_alg_values_supported=listed
    )


@pytest.mark.parametrize(
    "member",
    ["userinfo_endpoint", "end_session_endpoint", "revocation_endpoint", "userinfo_signing_alg_values_supported"],
)
def test_an_optional_member_that_is_empty_counts_as_missing(member: str) -> None:
    empty: dict[str, Any] = {member: ""}
    assert parse(**empty) == parse()


def test_a_revocation_endpoint_without_https_is_left_out_and_named() -> None:
    metadata = parse(revocation_endpoint="http://login.example.com/revoke")
    assert metadata.revocation_endpoint is None
    assert metadata.unused == ("its revocation_endpoint is not https, and is not used",)
    assert parse(revocation_endpoint="http://login.example.com/revoke", allow_insecure_http=True).unused == ()
    refused(userinfo_endpoint="http://login.example.com/me")


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"<html>", b'{"issuer":"a","issuer":"b"}', b"\xef\xbb\xbf{}", b"[" * 500_000]
)
def test_what_is_no_plain_json_object_is_refused(raw: bytes) -> None:
    """A-65."""
    with pytest.raises(ValueError):
        parse_metadata(raw, configured())


def test_only_true_counts_as_naming_itself() -> None:
    assert not parse(authorization_response_iss_parameter_supported="true").iss_parameter_supported


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.b.localhost", "127.0.0.1", "127.9.9.9", "::1"]
)
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "notlocalhost", "10.0.0.1", "0.0.0.0", "localhost.evil", ""])
def test_other_names_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_aliases_for_mutual_tls_change_no_endpoint() -> None:
    """A-43: nobody configured a client certificate for the provider."""
    aliases = {"token_endpoint": "https://mtls.example.com/token", "userinfo_endpoint": "https://mtls.example.com/me"}
    assert parse(mtls_endpoint_aliases=aliases) == parse()


# --- mutual TLS (RFC 8705) ----------------------------------------------------------------------------------------------

BY_CERTIFICATE: dict[str, Any] = {
    "client_authentication": "tls_client_auth",
    "client_tls": {"certificate": "/client.pem", "key": "/client.key"},
}
ALIASES = {
    "token_endpoint": "https://mtls.example.com/token",
    "userinfo_endpoint": "https://mtls.example.com/userinfo",
    "authorization_endpoint": "https://evil.example.com/authorize",
    "jwks_uri": "https://evil.example.com/jwks",
    "revocation_endpoint": None,
}


def test_with_a_client_certificate_the_endpoints_that_ask_for_one_are_called() -> None:
    """A-96: an alias takes the place of an endpoint that we call as the client, and of no other."""
    document: dict[str, Any] = {"mtls_endpoint_aliases": ALIASES, "revocation_endpoint": AUTHORITY + "/revoke"}
    metadata = parse(settings=BY_CERTIFICATE, **document)
    assert metadata.token_endpoint == "https://mtls.example.com/token"
    assert metadata.userinfo_endpoint == "https://mtls.example.com/userinfo"
    assert metadata.revocation_endpoint == AUTHORITY + "/revoke"
    assert metadata.authorization_endpoint == AUTHORITY + "/authorize"
    assert metadata.jwks_uri == AUTHORITY + "/jwks"
    assert parse(**document).token_endpoint == AUTHORITY + "/token"
    assert parse(settings=BY_CERTIFICATE).token_endpoint == AUTHORITY + "/token"


def test_an_alias_is_held_to_what_an_endpoint_is_held_to() -> None:
    """A-69, A-96."""
    refusal = refused(settings=BY_CERTIFICATE, mtls_endpoint_aliases={"token_endpoint": "http://mtls.example.com/t"})
    assert "token_endpoint is not https" in refusal
    assert "is no object" in refused(settings=BY_CERTIFICATE, mtls_endpoint_aliases=["token"])


def test_a_certificate_is_never_left_out_because_the_endpoint_is_http() -> None:
    """A-96."""
    home = "http://127.0.0.1:9"
    assert parse(home).token_endpoint == home + "/token"
    assert "not https, which tls_client_auth needs" in refused(home, settings=BY_CERTIFICATE)
    bound = {**BY_CERTIFICATE, "client_authentication": "none", "tls_client_certificate_bound_access_tokens": True}
    said = refused(home, settings=bound, tls_client_certificate_bound_access_tokens=True)
    assert "not https, which tls_client_certificate_bound_access_tokens needs" in said


def test_tokens_that_must_be_bound_are_asked_only_of_a_provider_that_binds_them() -> None:
    """A-96."""
    bound = {**BY_CERTIFICATE, "tls_client_certificate_bound_access_tokens": True}
    for value in (False, MISSING, None, "true"):
        said = refused(settings=bound, tls_client_certificate_bound_access_tokens=value)
        assert "tls_client_certificate_bound_access_tokens is not true" in said
    assert parse(settings=bound, tls_client_certificate_bound_access_tokens=True).issuer == AUTHORITY


# --- DPoP (RFC 9449) ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "profile", "alg"),
    [
        (MISSING, None, "ES256"),
        (["PS256", "ES256"], None, "ES256"),
        (["RS256", "EdDSA"], None, "EdDSA"),
        (["ES384"], None, "ES384"),
        (["Ed25519", "ES512"], "fapi2", "Ed25519"),
    ],
)
def test_dpop_proofs_have_the_first_of_our_algorithms_that_is_listed(
    listed: object, profile: str | None, alg: str
) -> None:
    settings = {"dpop_bound_access_tokens": True, "profile": profile}
    document: dict[str, Any] = {
        "dpop_signing_alg_values_supported": listed,
        "id_token_signing_alg_values_supported": ["PS256" if profile else "RS256"],
        "pushed_authorization_request_endpoint": AUTHORITY + "/par",
    }
    assert parse(settings=settings, **document).dpop_alg == alg


@pytest.mark.parametrize(("listed", "profile"), [(["RS256"], None), ([], None), (["ES384", "ES512"], "fapi2")])
def test_a_provider_that_takes_none_of_our_proofs_is_refused_where_they_are_wanted(
    listed: list[str], profile: str | None
) -> None:
    """A-98."""
    document: dict[str, Any] = {
        "dpop_signing_alg_values_supported": listed,
        "id_token_signing_alg_values_supported": ["PS256" if profile else "RS256"],
        "pushed_authorization_request_endpoint": AUTHORITY + "/par",
    }
    settings = {"dpop_bound_access_tokens": True, "profile": profile}
    assert "it takes DPoP proofs with" in refused(settings=settings, **document)
    assert parse(settings={"dpop_bound_access_tokens": False}, **document).token_endpoint
