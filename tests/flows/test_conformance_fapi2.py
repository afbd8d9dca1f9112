"""The FAPI 2.0 Security Profile's plan for relying parties (fapi2-security-profile-final-client-test-plan): each module by its name.

As an OpenID Connect client with private_key_jwt and DPoP. Its provider takes pushed requests alone, checks each client assertion and each
proof, asks for nonces, and signs with PS256.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import pytest_asyncio
from aiohttp import web
from joserfc import jwt
from redis import Redis as SyncRedis

from gateway.demo.provider import DemoClient
from gateway.demo.provider.clients import Clients
from gateway.demo.provider.pages import answer, oauth_error
from tests.fakes.conformance import Stage, a_stage
from tests.fakes.dpop import DpopProvider
from tests.fakes.forge import ec_key, public, rsa_key, sign, unsigned
from tests.fakes.house import NOBODY
from tests.fakes.provider import MISSING, MisbehavingProvider, earlier_sign_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PLAN = "fapi2-security-profile-final-client-test"
OPENID: dict[str, Any] = {
    "profile": "fapi2",
    "client_authentication": "private_key_jwt",
    "client_secret": None,
    "client_private_key": ec_key(kid="ours").as_pem(private=True).decode(),
    "client_key_id": "ours",
    "scopes": ["openid", "email", "profile", "offline_access"],
}


class IssuerIsAudience(Clients):
    """Takes client assertions whose audience is the issuer, and no others (section 5.3.2.1)."""

    issuer = ""

    def authenticate(
        self, authorization: str | None, form: Mapping[str, str], audiences: tuple[str, ...], now: datetime
    ) -> DemoClient:
        return super().authenticate(authorization, form, (self.issuer,), now)


class FapiProvider(DpopProvider):
    """What the profile requires of a provider, as far as a client meets it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.clients = IssuerIsAudience(())

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await super().start(host, port)
        assert isinstance(self.clients, IssuerIsAudience)
        self.clients.issuer = self.issuer

    def metadata(self) -> dict[str, Any]:
        required = {
            "pushed_authorization_request_endpoint": self.url("/par"),
            "require_pushed_authorization_requests": True,
            "authorization_response_iss_parameter_supported": True,
            "id_token_signing_alg_values_supported": ["PS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["PS256", "ES256", "EdDSA"],
        }
        # Nobody listens there: with private_key_jwt and DPoP no endpoint for client certificates is used.
        aliases = {
            "mtls_endpoint_aliases": {"token_endpoint": f"{NOBODY}/token", "userinfo_endpoint": f"{NOBODY}/userinfo"}
        }
        said = {**super().metadata(), **required, **aliases, **self.told.metadata}
        return {name: value for name, value in said.items() if value is not MISSING}

    async def serve_keys(self, request: web.Request) -> web.StreamResponse:
        return answer(public(rsa_key()))

    def sign_id_token(self, claims: dict[str, Any]) -> str:
        return self.sign(claims) if self.sign else sign(claims, rsa_key(), "PS256")


def _register(stage: Stage) -> None:
    stage.provider.register(
        DemoClient(
            client_id="doorward",
            authentication="private_key_jwt",
            public_jwk=ec_key(kid="ours").as_dict(private=False),
            redirect_uris=(stage.house.origin() + "/oauth2/callback",),
        )
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def the_stage(shared_valkey: SyncRedis) -> AsyncIterator[Stage]:
    async with a_stage(shared_valkey, FapiProvider(nonces=True), openid=OPENID) as stage:
        _register(stage)
        yield stage


@pytest.fixture
def stage(the_stage: Stage) -> Stage:
    the_stage.reset()
    assert isinstance(the_stage.provider, FapiProvider)
    the_stage.provider.nonces = True
    return the_stage


def _claims(**changes: Any) -> Callable[[MisbehavingProvider], None]:
    return lambda provider: provider.told.id_token.update(changes)


def _response(**changes: Any) -> Callable[[MisbehavingProvider], None]:
    return lambda provider: provider.told.authorization.update(changes)


def _signed(signer: Callable[[dict[str, Any]], str]) -> Callable[[MisbehavingProvider], None]:
    return lambda provider: setattr(provider, "sign", signer)


def _token(**changes: Any) -> Callable[[MisbehavingProvider], None]:
    return lambda provider: provider.told.token.update(changes)


ACCEPTED: dict[str, Callable[[Any], None]] = {
    f"{_PLAN}-happy-path": lambda provider: None,
    f"{_PLAN}-happy-path-no-dpop-nonce": lambda provider: setattr(provider, "nonces", False),
    f"{_PLAN}-valid-aud-as-array": _claims(aud=["doorward"]),
    f"{_PLAN}-token-endpoint-response-without-expires_in": _token(expires_in=MISSING),
    f"{_PLAN}-token-type-case-insensitivity": _token(token_type="dPOP"),
}  # fmt: skip
REFUSED: dict[str, Callable[[MisbehavingProvider], None]] = {
    f"{_PLAN}-invalid-iss": _claims(iss="https://invalid.example.org/1"),
    f"{_PLAN}-invalid-missing-iss": _claims(iss=MISSING),
    f"{_PLAN}-invalid-aud": _claims(aud="doorward1"),
    f"{_PLAN}-invalid-secondary-aud": _claims(aud=["doorward", "doorward1"]),
    f"{_PLAN}-invalid-missing-aud": _claims(aud=MISSING),
    f"{_PLAN}-invalid-null-alg": _signed(unsigned),
    f"{_PLAN}-invalid-alternate-alg": _signed(lambda claims: sign(claims, rsa_key(), "RS256")),
    f"{_PLAN}-invalid-expired-exp": _claims(exp=int(time.time()) - 300),
    f"{_PLAN}-invalid-missing-exp": _claims(exp=MISSING),
    f"{_PLAN}-invalid-nonce": _claims(nonce="another nonce"),
    f"{_PLAN}-invalid-missing-nonce": _claims(nonce=MISSING),
    f"{_PLAN}-invalid-authorization-response-iss": _response(iss="https://invalid.example.org/1"),
    f"{_PLAN}-remove-authorization-response-iss": _response(iss=MISSING),
    f"{_PLAN}-ensure-authorization-response-with-invalid-state-fails": _response(state="another state"),
    f"{_PLAN}-ensure-authorization-response-with-invalid-missing-state-fails": _response(state=MISSING),
}


@pytest.mark.parametrize("module", ACCEPTED)
async def test_a_module_whose_provider_is_right_ends_on_the_deep_link(stage: Stage, module: str) -> None:
    """By a pushed request, of which the browser has the name alone; each assertion has the issuer as its only audience."""
    ACCEPTED[module](stage.provider)
    await stage.assert_accepted()
    away = next(answer.url for answer in stage.browser.history if "/authorize?" in answer.url)
    assert dict(parse_qsl(urlsplit(away).query)).keys() == {"client_id", "request_uri"}
    asked = next(seen for seen in stage.provider.seen if seen.endpoint == "par")
    assert {"code_challenge", "redirect_uri", "state", "nonce"} <= asked.form.keys()
    assert asked.form["code_challenge_method"] == "S256"
    signed = [seen for seen in stage.provider.seen if "client_assertion" in seen.form]
    assert {seen.endpoint for seen in signed} == {"par", "token"}
    key = ec_key(kid="ours")
    for seen in signed:
        assertion = jwt.decode(seen.form["client_assertion"], key, algorithms=["ES256"])
        assert (assertion.header["kid"], assertion.claims["aud"]) == ("ours", stage.provider.issuer)
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize("module", REFUSED, ids=str)
async def test_a_module_with_a_wrong_value_ends_without_a_session(stage: Stage, module: str) -> None:
    REFUSED[module](stage.provider)
    await stage.assert_refused()
    stage.reset()
    await stage.assert_accepted()


async def test_fapi2_security_profile_final_client_test_rs_dpop_auth_scheme_case_insensitivity(stage: Stage) -> None:
    """Userinfo demands a nonce, its scheme in another case: the request is repeated with it."""
    provider = stage.provider
    assert isinstance(provider, FapiProvider)

    async def demand_once(request: web.Request) -> web.StreamResponse:
        del provider.faults["userinfo"]
        provider.new_nonce()
        demand = {"WWW-Authenticate": 'dPOP error="use_dpop_nonce"', "DPoP-Nonce": provider.nonce}
        return oauth_error("invalid_token", "no", 401, demand)

    provider.faults["userinfo"] = demand_once
    await stage.assert_accepted()
    assert provider.count("userinfo") == 2
    assert provider.proofs[-1]["nonce"] == provider.nonce


async def test_fapi2_security_profile_final_client_test_happy_path_no_mtls_endpoint_aliases(
    shared_valkey: SyncRedis,
) -> None:
    provider = FapiProvider(nonces=True)
    await provider.start()
    provider.told.metadata["mtls_endpoint_aliases"] = MISSING
    async with a_stage(shared_valkey, provider, openid=OPENID) as stage:
        _register(stage)
        await stage.assert_accepted()


async def test_fapi2_security_profile_final_client_refresh_token_test(stage: Stage) -> None:
    cookie = await stage.house.session(**earlier_sign_in(stage.provider))
    assert (await stage.house.ask("/", cookie=cookie)).status == 200
    (token,) = [seen for seen in stage.provider.seen if seen.form.get("grant_type") == "refresh_token"]
    assert "client_assertion" in token.form


async def test_fapi2_security_profile_final_client_test_discovery_issuer_mismatch(shared_valkey: SyncRedis) -> None:
    """Nothing is pushed, and no authorization request is sent."""
    provider = FapiProvider()
    await provider.start()
    provider.told.metadata["issuer"] = f"{provider.issuer}/INVALID"
    async with a_stage(shared_valkey, provider, openid=OPENID) as stage:
        await stage.sign_in()
        assert stage.page.status == 503
        assert (provider.count("par"), provider.count("authorize")) == (0, 0)
