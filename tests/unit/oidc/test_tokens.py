"""The token endpoint and userinfo over the wire: an honest sign-in, and everything a provider can do wrong after it."""

import time
from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus

import pytest
from aiohttp import web
from joserfc import jwt
from pydantic import SecretStr

from gateway.demo.provider.tokens import Grant
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import IdTokenInvalid, ProviderFault, ProviderUnavailable, SignInFailed
from gateway.oidc.id_token import left_hash
from gateway.oidc.tokens import TokenClient
from tests.fakes.forge import altered, ec_key, ed_key, hmac_signed, public, rsa_key, sign, unsigned
from tests.fakes.provider import MIA, MISSING, broken_off, dripping, endless, says
from tests.unit.oidc.conftest import REDIRECT_URI, SECRET, Trip


async def reason_of(trip: Trip, **asked: Any) -> str:
    """Why the sign-in failed; and that userinfo was not asked then."""
    with pytest.raises(SignInFailed) as refused:
        await trip.sign_in(**asked)
    assert trip.fake.count("userinfo") == 0, (
        "the verdict rule of the conformance suite: a bad ID Token ends the sign-in"
    )
    return refused.value.reason


async def test_an_honest_sign_in_gives_claims_and_tokens(trip: Trip) -> None:
    """A-01."""
    signed_in = await trip.sign_in()
    claims = signed_in.claims
    assert (claims.issuer, claims.subject) == (trip.fake.issuer, "hd-1001")
    assert claims.provider_sid
    assert claims.auth_time is not None
    assert abs(claims.auth_time - time.time()) < 60
    assert (claims.acr, signed_in.expires_in, signed_in.refresh_token) == ("password", 3600, None)
    sent = next(request for request in trip.fake.seen if request.endpoint == "token")
    assert sent.form["redirect_uri"] == REDIRECT_URI
    assert len(sent.form["code_verifier"]) == 43
    for secret in (signed_in.id_token, signed_in.access_token):
        assert secret not in repr(signed_in)


async def test_claims_that_only_userinfo_has_arrive(trip: Trip) -> None:
    """A-13."""
    values = (await trip.sign_in()).claims.values
    assert {name: values[name] for name in ("email", "name", "groups", "preferred_username")} == {
        name: MIA[name] for name in ("email", "name", "groups", "preferred_username")
    }


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param({"iss": "https://evil.example"}, "issuer", id="A-02"),
        pytest.param({"sub": MISSING}, "subject", id="A-03"),
        pytest.param({"aud": "another-client"}, "audience", id="A-04"),
        pytest.param({"iat": MISSING}, "issued_at", id="A-05"),
        pytest.param({"nonce": "altered"}, "nonce", id="A-12"),
        pytest.param({"at_hash": "altered"}, "at_hash", id="A-39"),
        pytest.param({"exp": 1}, "expired", id="A-68"),
        pytest.param({"azp": "another-client"}, "authorized_party", id="A-68 azp"),
    ],
)
async def test_an_id_token_that_says_something_wrong_ends_the_sign_in(
    trip: Trip, told: dict[str, Any], reason: str
) -> None:
    """A-02, A-03, A-04, A-05, A-12, A-39, A-68: over the wire."""
    trip.fake.told.id_token = told
    assert await reason_of(trip) == reason


async def test_a_token_without_kid_is_verified(trip: Trip) -> None:
    """A-06, A-07: with one key, and with several."""
    trip.fake.sign = lambda claims: sign(claims, rsa_key(), kid=None)
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    trip.fake.told.jwks = public(rsa_key("two"), ec_key(), rsa_key())
    trip.clock += 61
    await trip.provider.ping()
    assert (await trip.sign_in()).claims.subject == "hd-1001"


async def test_unsigned_and_wrongly_signed_tokens_end_the_sign_in(trip: Trip) -> None:
    """A-09, A-10, A-40, A-61."""
    attacks: dict[str, Any] = {
        "unsigned": unsigned,
        "altered": lambda claims: altered(sign(claims, rsa_key())),
        "hs256 with the secret": lambda claims: hmac_signed(claims, SECRET.encode()),
        "hs256 with the key": lambda claims: hmac_signed(claims, rsa_key().as_pem(private=False)),
        "es256": lambda claims: altered(sign(claims, ec_key(), "ES256")),
        "a stranger": lambda claims: sign(claims, rsa_key("stranger"), kid="one"),
    }
    for attack in attacks.values():
        trip.fake.sign = attack
        assert await reason_of(trip) in ("algorithm", "signature", "key")


async def test_an_altered_es256_signature_ends_the_sign_in(trip: Trip) -> None:
    """A-40: where the provider does sign with ES256."""
    trip.fake.told.metadata = {"id_token_signing_alg_values_supported": ["ES256"]}
    trip.fake.told.jwks = public(ec_key())
    trip.fake.told.id_token = {"at_hash": MISSING}
    trip.fake.sign = lambda claims: sign(claims, ec_key(), "ES256")
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    trip.fake.seen.clear()
    trip.fake.sign = lambda claims: altered(sign(claims, ec_key(), "ES256"))
    assert await reason_of(trip) == "signature"


async def test_keys_in_a_header_cause_no_request_anywhere(trip: Trip) -> None:
    """A-62: the addresses in the header are the provider's own, and would be seen."""
    await trip.provider.ping()
    evil = rsa_key("attacker")
    before = len(trip.fake.seen)
    for header in ({"jku": trip.fake.issuer + "/evil"}, {"x5u": trip.fake.issuer + "/evil"}, {"jwk": evil.as_dict()}):
        trip.fake.sign = lambda claims, header=header: sign(claims, evil, kid="one", **header)
        assert await reason_of(trip) == "signature"
    assert trip.fake.count("evil") == 0
    assert len(trip.fake.seen) > before


async def test_a_userinfo_of_another_subject_ends_the_sign_in(trip: Trip) -> None:
    """A-11."""
    for subject in ("somebody-else", MISSING, None, ["hd-1001"]):
        trip.fake.told.userinfo = {"sub": subject, "email": "victim@example.com"}
        with pytest.raises(SignInFailed) as refused:
            await trip.sign_in()
        assert refused.value.reason == "userinfo_subject"


@pytest.mark.parametrize(
    "fault",
    [
        endless,
        dripping,
        broken_off,
        says("{}", status=401),
        says("no", status=500),
        says("[]"),
        says("<html>", content_type="text/html"),
        says("", status=307, Location="https://evil.example/"),
        says('{"sub": "hd-1001", "sub": "x"}'),
    ],
)
async def test_a_userinfo_that_cannot_be_used_ends_the_sign_in(trip: Trip, fault: Any) -> None:
    """A-65, A-69, A-70."""
    trip.fault("userinfo", fault)
    with pytest.raises((ProviderFault, ProviderUnavailable)):
        await trip.sign_in()


WHOLE = {"email": "mia@example.com", "email_verified": True, "groups": ["members"]}
NAMES = {"name": "Mia", "preferred_username": "mia"}


async def test_a_userinfo_that_fails_does_not_end_a_sign_in_whose_id_token_has_what_decides(trip: Trip) -> None:
    """A-41: and any claim that decides and is missing does."""
    trip.fake.faults["userinfo"] = says("no", status=500)
    trip.fake.told.id_token = WHOLE
    assert (await trip.sign_in()).claims.values["groups"] == ["members"]
    for claim in WHOLE:
        trip.fake.told.id_token = {**WHOLE, claim: MISSING}
        with pytest.raises(ProviderFault):
            await trip.sign_in()
    trip.fake.told.id_token = WHOLE
    trip.fake.faults.clear()
    trip.fake.told.userinfo = {"sub": "another"}
    with pytest.raises(SignInFailed, match="userinfo_subject"):
        await trip.sign_in()


@pytest.mark.parametrize(
    ("when", "id_token", "fetched"),
    [
        ("always", {**WHOLE, **NAMES}, 1),
        ("when_needed", {**WHOLE, **NAMES}, 0),
        ("when_needed", {**WHOLE, **NAMES, "name": MISSING}, 1),
        ("when_needed", {**WHOLE, **NAMES, "email_verified": MISSING}, 1),
        ("never", {}, 0),
    ],
)
async def test_userinfo_is_fetched_when_the_setting_says_so(trip: Trip, when: str, id_token: Any, fetched: int) -> None:
    trip.settings["userinfo"] = when
    trip.fake.told.id_token = id_token
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    assert trip.fake.count("userinfo") == fetched


def signed_userinfo(trip: Trip, key: Any = None, alg: str = "RS256", **changes: Any) -> Any:
    claims = {"iss": trip.fake.issuer, "aud": "doorward", "sub": "hd-1001", "email": "signed@example.com", **changes}
    honest = {name: value for name, value in claims.items() if value is not MISSING}

    async def answer(request: web.Request, grant: Grant | None = None) -> web.StreamResponse:
        return web.Response(text=sign(honest, key or rsa_key(), alg), content_type="application/jwt")

    return answer


async def test_a_signed_userinfo_is_verified_with_its_audience(trip: Trip) -> None:
    """A-41."""
    trip.fake.faults["userinfo"] = signed_userinfo(trip)
    assert (await trip.sign_in()).claims.values["email"] == "signed@example.com"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"key": rsa_key("stranger")}, "key"),
        ({"exp": 1}, "expired"),
    ]
    for changes, reason in wrong:
        trip.fake.faults["userinfo"] = signed_userinfo(trip, **changes)
        with pytest.raises(IdTokenInvalid) as refused:
            await trip.sign_in()
        assert refused.value.reason == reason
    trip.fake.faults["userinfo"] = signed_userinfo(trip, iss=MISSING, aud=MISSING)
    assert (await trip.sign_in()).claims.values["email"] == "signed@example.com", (
        "both are recommended only (section 5.3.2)"
    )
    trip.fake.faults["userinfo"] = signed_userinfo(trip, sub="somebody-else")
    with pytest.raises(SignInFailed, match="userinfo_subject"):
        await trip.sign_in()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (says('{"error": "invalid_grant"}', status=400), SignInFailed),
        (says('{"error": "invalid_client"}', status=401), ProviderFault),
        (says('{"error": "invalid_client"}', status=400), ProviderFault),
        (says('{"error": "<script>"}', status=400), ProviderFault),
        (says('{"error": "invalid_grant"}'), SignInFailed),
        (says('{"error": "invalid_grant"}', content_type="text/html"), ProviderFault),
        (says('{"error": ["x"]}'), ProviderFault),
        (says("[]"), ProviderFault),
        (says('["access_token"]'), ProviderFault),
        (says("<html>", content_type="text/html"), ProviderFault),
        (says("access_token=x&id_token=y", content_type="application/x-www-form-urlencoded"), ProviderFault),
        (says("<html>oops</html>", status=500, content_type="text/html"), ProviderFault),
        (says("{}", status=503), ProviderFault),
        (says("{}", status=201), ProviderFault),
        (broken_off, ProviderFault),
        (endless, ProviderFault),
        (dripping, ProviderUnavailable),
        (says("{" * 300_000), ProviderFault),
    ],
)
async def test_a_token_response_that_is_none_ends_the_sign_in_cleanly(trip: Trip, fault: Any, expected: Any) -> None:
    """A-65, A-70: and no text of the provider's reaches what is shown."""
    trip.fault("token", fault)
    with pytest.raises(expected) as refused:
        await trip.sign_in()
    refusal: Refusal = refused.value
    assert "<" not in str(refusal.facts) + refusal.detail
    assert trip.fake.count("userinfo") == 0


@pytest.mark.parametrize(
    "told",
    [
        {"token_type": "mac"},
        {"token_type": MISSING},
        {"token_type": ["Bearer"]},
        {"access_token": MISSING},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a\tb"},
        {"access_token": "a\r\nX: 1"},
        {"access_token": "x" * 100_000},
        {"refresh_token": 7},
        {"refresh_token": "é"},
        {"id_token": MISSING},
        {"id_token": ["a"]},
        {"id_token": ""},
    ],
)
async def test_a_token_response_with_a_wrong_member_ends_the_sign_in(trip: Trip, told: dict[str, Any]) -> None:
    """A-70."""
    trip.fake.told.token = told
    with pytest.raises((ProviderFault, IdTokenInvalid)):
        await trip.sign_in()


async def test_a_token_with_a_blank_is_used_as_it_is(trip: Trip) -> None:
    """RFC 6749 appendix A."""
    trip.fake.told.token = {"access_token": "a b", "refresh_token": "c d"}
    trip.fake.told.id_token = {"at_hash": MISSING}
    trip.fake.faults["userinfo"] = signed_userinfo(trip)
    result = await trip.sign_in()
    assert (result.access_token, result.refresh_token) == ("a b", "c d")


async def test_an_empty_refresh_token_is_none(trip: Trip) -> None:
    trip.fake.told.token = {"refresh_token": ""}
    assert (await trip.sign_in()).refresh_token is None


async def test_a_token_response_that_names_a_member_twice_is_refused(trip: Trip) -> None:
    """A-70."""

    async def twice(request: web.Request) -> web.StreamResponse:
        text = '{"token_type": "Bearer", "access_token": "a", "access_token": "b", "id_token": "c"}'
        return web.Response(text=text, content_type="application/json")

    trip.fake.faults["token"] = twice
    with pytest.raises(ProviderFault, match="twice"):
        await trip.sign_in()


@pytest.mark.parametrize("value", ["3600", 3600, None, MISSING, "soon", -1, 1e9, True, "9" * 50])
async def test_an_odd_lifetime_is_no_reason_to_fail(trip: Trip, value: object) -> None:
    trip.fake.told.token = {"expires_in": value, "token_type": "bEaReR"}
    assert (await trip.sign_in()).expires_in in (3600, None)


async def test_secrets_never_follow_a_redirect(trip: Trip) -> None:
    """A-69: neither the code nor the client's secret nor the access token."""
    for endpoint in ("token", "userinfo", "openid-configuration", "jwks"):
        for status in (301, 302, 303, 307, 308):
            trip.fake.faults = {endpoint: says("", status=status, Location=trip.fake.issuer + "/stolen")}
            trip.provider = trip.new_provider()
            with pytest.raises((ProviderFault, ProviderUnavailable)):
                await trip.sign_in()
    assert trip.fake.count("stolen") == 0


async def test_a_code_is_redeemed_once(trip: Trip) -> None:
    """A-54."""
    code = await trip.code()
    client = TokenClient(trip.provider, trip.openid)
    await client.redeem(code, REDIRECT_URI)
    with pytest.raises(SignInFailed) as refused:
        await client.redeem(code, REDIRECT_URI)
    assert refused.value.reason == "code_refused"


async def test_a_code_never_goes_to_another_provider(trip: Trip) -> None:
    """A-56."""
    code = await trip.code()
    elsewhere = Trip(trip.fake, trip.http, trip.browser)
    trip.fake.issuer = trip.fake.issuer.replace("127.0.0.1", "localhost")
    elsewhere.provider = elsewhere.new_provider()
    await elsewhere.provider.ping()
    trip.fake.seen.clear()
    with pytest.raises(SignInFailed) as refused:
        await TokenClient(elsewhere.provider, elsewhere.openid).redeem(code, REDIRECT_URI)
    assert refused.value.reason == "issuer_mismatch"
    assert not trip.fake.seen


# --- client authentication --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["s3cret", "a:b%c+d /é", "::%25", "ü&=?#"])
async def test_client_secret_basic_form_urlencodes_both_halves(trip: Trip, secret: str) -> None:
    """A-14."""
    trip.register(client_id="door:ward %25", client_secret=secret)
    trip.settings = {"client_id": "door:ward %25", "client_secret": SecretStr(secret)}
    trip.provider = trip.new_provider()
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    sent = next(request for request in trip.fake.seen if request.endpoint == "token")
    pair = f"{quote_plus('door:ward %25')}:{quote_plus(secret)}".encode()
    assert sent.headers["Authorization"] == "Basic " + b64encode(pair).decode()
    assert "client_secret" not in sent.form


async def test_client_secret_post_sends_the_secret_in_the_form_only(trip: Trip) -> None:
    """A-14's other methods."""
    trip.register(authentication="client_secret_post", client_secret="a:b%c+d /é")
    trip.settings |= {"client_authentication": "client_secret_post", "client_secret": SecretStr("a:b%c+d /é")}
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    sent = next(request for request in trip.fake.seen if request.endpoint == "token")
    assert "Authorization" not in sent.headers


async def test_a_public_client_sends_no_secret(trip: Trip) -> None:
    trip.register(authentication="none", client_secret=None)
    trip.settings |= {"client_authentication": "none"}
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    sent = next(request for request in trip.fake.seen if request.endpoint == "token")
    assert "Authorization" not in sent.headers
    assert "client_secret" not in sent.form


@pytest.mark.parametrize("key", [rsa_key("client"), ec_key("P-256", "client-ec"), ed_key("client-ed")])
async def test_private_key_jwt_signs_with_the_key_it_was_given(trip: Trip, key: Any) -> None:
    trip.register(authentication="private_key_jwt", client_secret=None, public_jwk=key.as_dict(private=False))
    pem = key.as_pem(private=True).decode()
    trip.settings |= {"client_authentication": "private_key_jwt", "client_private_key": SecretStr(pem)}
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    sent = next(request for request in trip.fake.seen if request.endpoint == "token")
    assert "client_secret" not in sent.form
    assert "PRIVATE" not in str(sent.form)


@pytest.mark.parametrize("audience", ["token_endpoint", "issuer"])
async def test_an_assertion_is_refused_by_a_provider_that_wants_another_audience(trip: Trip, audience: str) -> None:
    """A-95: a provider takes one of the two; the setting says which, and the other is never sent beside it."""
    key = ec_key("P-256", "client-ec")
    trip.register(authentication="private_key_jwt", client_secret=None, public_jwk=key.as_dict(private=False))
    pem = SecretStr(key.as_pem(private=True).decode())
    by_key = {"client_authentication": "private_key_jwt", "client_private_key": pem, "client_secret": None}

    async def sent(wanted: str) -> Any:
        trip.settings |= {**by_key, "client_assertion_audience": wanted}
        await trip.sign_in()
        form = [request.form for request in trip.fake.seen if request.endpoint == "token"][-1]
        return jwt.decode(form["client_assertion"], key, algorithms=["ES256"]).claims["aud"]

    known = {"token_endpoint": trip.fake.url("/token"), "issuer": trip.fake.issuer}
    assert await sent(audience) == known[audience]
    trip.fake.audiences = tuple(url for name, url in known.items() if name != audience)
    with pytest.raises(ProviderFault, match="invalid_client"):
        await sent(audience)
    assert await sent(next(name for name in known if name != audience)) == trip.fake.audiences[0]


async def test_a_wrong_secret_is_the_operators_problem_and_not_the_persons(trip: Trip) -> None:
    trip.settings |= {"client_secret": SecretStr("wrong")}
    with pytest.raises(ProviderFault, match="invalid_client"):
        await trip.sign_in()


# --- what else --------------------------------------------------------------------------------------------------------


async def test_a_revoked_token_is_worth_nothing(trip: Trip) -> None:
    signed_in = await trip.sign_in()
    client = TokenClient(trip.provider, trip.openid)
    assert await client.revoke(signed_in.access_token, "access_token")
    assert trip.fake.tokens.access(signed_in.access_token) is None


async def test_a_revocation_that_fails_hurts_nobody(trip: Trip) -> None:
    await trip.sign_in()
    client = TokenClient(trip.provider, trip.openid)
    trip.fake.faults["revoke"] = broken_off
    assert not await client.revoke("token", "access_token")
    trip.fake.faults["revoke"] = says("no", status=503)
    assert not await client.revoke("token", "access_token")
    assert not await TokenClient(trip.new_provider(), trip.openid).revoke("token", "access_token")


async def test_a_stronger_and_fresher_sign_in_is_asked_for_and_given(trip: Trip) -> None:
    await trip.sign_in()
    assert (await trip.sign_in(acr=("mfa",))).claims.acr == "mfa"
    trip.fake.told.id_token = {"acr": "password"}
    with pytest.raises(IdTokenInvalid) as refused:
        await trip.sign_in(acr=("mfa",))
    assert refused.value.reason == "acr"
    trip.fake.told.id_token = {"auth_time": 1000}
    with pytest.raises(IdTokenInvalid) as refused:
        await trip.sign_in(max_age=60)
    assert refused.value.reason == "auth_time"


async def test_the_at_hash_belongs_to_the_access_token_that_came_along(trip: Trip) -> None:
    """A-39."""
    trip.fake.told.token = {"access_token": "swapped"}
    assert await reason_of(trip) == "at_hash"
    trip.fake.told.id_token = {"at_hash": left_hash("RS256", "swapped")}
    with pytest.raises(ProviderFault, match="userinfo"):
        await trip.sign_in()
