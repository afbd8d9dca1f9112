"""The certified provider knows us by a key or a certificate, and binds access tokens: private_key_jwt, mutual TLS, DPoP, FAPI 2."""

from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from playwright.sync_api import Browser, expect

from gateway.config.client_keys import ClientKey, certificate_key, parse_client_key
from gateway.demo.people import ADMIN
from tests.e2e.conftest import Stand
from tests.e2e.processes import free_port
from tests.e2e.stack import Door
from tests.e2e.steps import cookies_of, visit_as
from tests.fakes.authority import Authority

BY_KEY = {"client_secret": None, "client_authentication": "private_key_jwt"}
REFRESH = {"refresh": True, "ttl": {"AccessToken": 4}}


def new_key() -> str:
    return ECKey.generate_key("P-256").as_pem(private=True).decode()


def registered(*keys: ClientKey, method: str = "private_key_jwt", **more: Any) -> dict[str, Any]:
    """The client's metadata at the provider: what `doorward keys public` prints."""
    jwks = {"keys": [key.public_jwk() for key in keys]}
    return {"client_secret": None, "token_endpoint_auth_method": method, "jwks": jwks, **more}


def sign_in(door: Door, browser: Browser) -> str:
    """A person signs in with a new profile, and sees the page; the Cookie header."""
    with browser.new_context() as context:
        page = context.new_page()
        visit_as(page, door.origin("dashboard") + "/members", ADMIN)
        expect(page).to_have_url(door.origin("dashboard") + "/members")
        return cookies_of(context, door.origin("dashboard"))


def refreshed(door: Door, cookie: str) -> None:
    """Goes on using the page until the tokens were renewed."""

    def renewed() -> bool:
        assert door.ask("dashboard", "/api/members", headers={"Cookie": cookie}).status == 200
        return "token.refreshed" in door.log

    door.wait_until(renewed)
    assert "token.refresh_failed" not in door.log


def authentication(door: Door) -> dict[str, Any]:
    """What `/ready` says of the client authentication, once it was tried."""
    door.wait_until(lambda: "client_authentication" in door.ready()["dependencies"])
    found: dict[str, Any] = door.ready()["dependencies"]["client_authentication"]
    return found


def test_a_key_is_changed_without_a_sign_in_that_fails(stand: Stand, browser: Browser) -> None:
    old, new = new_key(), new_key()
    known = registered(parse_client_key(old), parse_client_key(new))
    door = stand({**BY_KEY, "client_private_key": [old, new]}, client=known)
    assert authentication(door)["state"] == "ok"
    sign_in(door, browser)
    door = stand({**BY_KEY, "client_private_key": [new, old]}, door.provider)
    assert authentication(door)["state"] == "ok"
    sign_in(door, browser)


def test_a_self_signed_certificate_authenticates_us_and_binds_the_tokens(
    stand: Stand, browser: Browser, tmp_path: Path
) -> None:
    """A-96: at the addresses of `mtls_endpoint_aliases`, for the code, for userinfo and for a refresh."""
    authority = Authority(tmp_path)
    server, ours = authority.issue("127.0.0.1", file="provider"), authority.issue("doorward", file="client")
    key = certificate_key(ours.certificate.read_text(), ours.key.read_text())
    bound = {"tls_client_certificate_bound_access_tokens": True}
    door = stand(
        {
            "client_secret": None,
            "client_authentication": "self_signed_tls_client_auth",
            "client_tls": {"certificate": str(ours.certificate), "key": str(ours.key)},
            "ca": str(authority.ca),
            **bound,
        },
        client=registered(key, method="self_signed_tls_client_auth", **bound),
        features={"revocation": {"enabled": True}},
        mutualTls={"port": free_port(), "certificate": str(server.certificate), "key": str(server.key)},
        **REFRESH,
    )
    assert authentication(door)["state"] == "ok"
    refreshed(door, sign_in(door, browser))


def test_tokens_are_bound_to_the_key_of_the_sign_in_and_nonces_are_followed(stand: Stand, browser: Browser) -> None:
    """A-98: the provider refuses every proof without a nonce, and every token request without a proof."""
    bound = {"dpop_bound_access_tokens": True}
    door = stand(bound, client=bound, dpopNonce=True, **REFRESH)
    refreshed(door, sign_in(door, browser))
    assert "use_dpop_nonce" in door.provider.log, "it did ask for one"


def test_the_fapi_2_security_profile_runs_to_its_end(stand: Stand, browser: Browser) -> None:
    """A-95, A-98: the provider holds the client to the profile: pushed requests, bound tokens, ES256, the issuer as audience."""
    key, signing = new_key(), ECKey.generate_key("P-256", {"kid": "provider", "use": "sig", "alg": "ES256"})
    door = stand(
        {**BY_KEY, "client_private_key": key, "profile": "fapi2", "id_token_signed_response_alg": "ES256"},
        client=registered(
            parse_client_key(key),
            dpop_bound_access_tokens=True,
            id_token_signed_response_alg="ES256",
            require_pushed_authorization_requests=True,
        ),
        jwks={"keys": [signing.as_dict(private=True)]},
        dpopNonce=True,
        features={
            "fapi": {"enabled": True, "profile": "2.0"},
            "pushedAuthorizationRequests": {"enabled": True, "requirePushedAuthorizationRequests": True},
        },
        **REFRESH,
    )
    assert authentication(door)["state"] == "ok"
    refreshed(door, sign_in(door, browser))
