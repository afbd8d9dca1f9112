"""Signing out at the provider, and which logout tokens end sessions."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from gateway.config.schema import OpenID
from gateway.demo.listener import Listener
from gateway.errors.signing_in import LogoutTokenInvalid, ProviderUnavailable
from gateway.oidc.logout import LOGOUT_EVENT, LogoutClaims, logout_url, receive_logout_token, validate_logout_token
from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.registered_claims import Verification
from gateway.oidc.signatures import parse_keys
from tests.fakes.forge import altered, ec_key, hmac_signed, public, rsa_key, sign, unsigned
from tests.fakes.provider import says
from tests.unit.oidc.conftest import Trip

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
T = int(NOW.timestamp())
ISSUER = "https://login.example.com"
MISSING = object()
METADATA = ProviderMetadata(
    issuer=ISSUER,
    authorization_endpoint=ISSUER + "/authorize",
    token_endpoint=ISSUER + "/token",
    jwks_uri=ISSUER + "/jwks",
    end_session_endpoint=ISSUER + "/out?tenant=a",
)
PORTAL = "https://portal.example.com/?signed=out&x=1"


def url(log_out_url: str | None = None, metadata: ProviderMetadata | None = METADATA, **given: Any) -> str | None:
    openid = OpenID(authority_url=ISSUER, client_id="door ward", log_out_url=log_out_url)
    values: dict[str, Any] = {"id_token_hint": "a.b.c", "client_id": "door ward", "return_to": PORTAL, **given}
    return logout_url(openid, metadata, **values)


def test_the_provider_s_end_session_endpoint_gets_the_hint_and_the_way_back() -> None:
    """A-20, A-21."""
    parts = urlsplit(url(state="s-1") or "")
    assert parts.netloc + parts.path == "login.example.com/out"
    assert parse_qs(parts.query) == {
        "tenant": ["a"],
        "client_id": ["door ward"],
        "post_logout_redirect_uri": [PORTAL],
        "id_token_hint": ["a.b.c"],
        "state": ["s-1"],
    }


def test_without_a_state_or_a_hint_none_is_sent() -> None:
    """A-22."""
    query = parse_qs(urlsplit(url(id_token_hint=None) or "").query)
    assert query.keys() == {"tenant", "client_id", "post_logout_redirect_uri"}


def test_a_hint_that_no_server_would_take_is_left_out() -> None:
    assert len(url(id_token_hint="x" * 20_000) or "") < 400


def test_a_configured_log_out_url_is_filled_and_percent_encoded() -> None:
    """A-20: Auth0's way."""
    assert url("https://x.auth0.com/v2/logout?client_id={client_id}&returnTo={return_to}&h={id_token_hint}") == (
        "https://x.auth0.com/v2/logout?client_id=door%20ward"
        "&returnTo=https%3A%2F%2Fportal.example.com%2F%3Fsigned%3Dout%26x%3D1&h=a.b.c"
    )
    assert url("https://x.example/logout") == "https://x.example/logout"
    assert url("https://x.example/logout", metadata=None) == "https://x.example/logout"


def test_what_is_filled_in_is_never_taken_for_a_placeholder() -> None:
    filled = url("https://x.example/{id_token_hint}/{client_id}", id_token_hint="{client_id}", client_id="{return_to}")
    assert filled == "https://x.example/%7Bclient_id%7D/%7Breturn_to%7D"


def test_there_may_be_nowhere_to_go() -> None:
    """A provider that cannot be reached, or has no such page: the local session is ended all the same."""
    assert url(metadata=None) is None
    assert url(metadata=replace(METADATA, end_session_endpoint=None)) is None


# --- logout tokens ----------------------------------------------------------------------------------------------------


def honest(**changes: Any) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "doorward",
        "iat": T,
        "exp": T + 120,
        "jti": "j-1",
        "sub": "bob",
        "sid": "ps-1",
        "events": {LOGOUT_EVENT: {}},
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not MISSING}


def validate(token: str) -> LogoutClaims:
    keys = parse_keys(json.dumps(public(rsa_key(), ec_key())).encode())
    skew = timedelta(seconds=30)
    return validate_logout_token(
        token, Verification(keys=keys, metadata=METADATA, client_id="doorward", now=NOW, skew=skew)
    )


def refused(token: str) -> str:
    with pytest.raises(LogoutTokenInvalid) as invalid:
        validate(token)
    assert invalid.value.status == 400
    return invalid.value.reason


def refused_claims(**changes: Any) -> str:
    return refused(sign(honest(**changes), rsa_key(), typ="logout+jwt"))


def test_a_good_logout_token_says_whom_to_sign_out() -> None:
    """A-23: with an unknown claim more, that is ignored."""
    told = validate(sign(honest(surprise={"x": 1}), rsa_key(), typ="logout+jwt"))
    exp = datetime.fromtimestamp(T + 150, UTC)
    issued_at = datetime.fromtimestamp(T, UTC)
    assert told == LogoutClaims(issuer=ISSUER, sid="ps-1", sub="bob", jti="j-1", issued_at=issued_at, exp=exp)
    assert validate(sign(honest(sid=MISSING), rsa_key())).sid is None
    assert validate(sign(honest(sub=MISSING), rsa_key())).sub is None


def test_an_unsigned_logout_token_is_refused() -> None:
    """A-24."""
    assert refused(unsigned(honest())) == "algorithm"


@pytest.mark.parametrize("events", [MISSING, None, {}, [], [LOGOUT_EVENT], LOGOUT_EVENT, {LOGOUT_EVENT: None}])
def test_a_logout_token_without_the_event_is_refused(events: object) -> None:
    """A-25."""
    assert refused_claims(events=events) == "events"


@pytest.mark.parametrize("uri", [LOGOUT_EVENT + "/", LOGOUT_EVENT.replace("http:", "https:"), "logout"])
def test_a_logout_token_with_another_event_is_refused(uri: str) -> None:
    """A-26."""
    assert refused_claims(events={uri: {}}) == "events"


def test_a_logout_token_with_a_nonce_is_refused() -> None:
    """A-27."""
    assert refused_claims(nonce="n") == "nonce"
    assert refused_claims(nonce=None) == "nonce"


def test_a_logout_token_under_another_algorithm_is_refused() -> None:
    """A-28: the provider signs with RS256, whatever keys it publishes."""
    assert refused(sign(honest(), ec_key(), "ES256")) == "algorithm"
    assert refused(hmac_signed(honest(), rsa_key().as_pem(private=False))) == "algorithm"
    assert refused(sign(honest(), rsa_key("stranger"), kid="one")) == "signature"
    assert refused(altered(sign(honest(), rsa_key()))) == "signature"


@pytest.mark.parametrize("audience", ["another", ["another"], MISSING, None, []])
def test_a_logout_token_for_another_client_is_refused(audience: object) -> None:
    """A-29."""
    assert refused_claims(aud=audience) == "audience"


@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", MISSING, None])
def test_a_logout_token_of_another_issuer_is_refused(issuer: object) -> None:
    """A-30."""
    assert refused_claims(iss=issuer) == "issuer"


def test_a_logout_token_without_its_times_or_its_id_is_refused() -> None:
    """A-31."""
    assert refused_claims(iat=MISSING) == "issued_at"
    assert refused_claims(iat=T + 3600) == "issued_at"
    assert refused_claims(jti=MISSING) == "token_id"
    assert refused_claims(jti=7) == "token_id"
    assert refused_claims(exp=T - 31) == "expired"
    assert refused_claims(exp=None) == "expired"


def test_a_logout_token_without_an_end_ends_five_minutes_after_its_issue() -> None:
    """A-31: drafts of the specification had no exp."""
    token = sign(honest(exp=MISSING, iat=T - 329), rsa_key())
    assert validate(token).exp == datetime.fromtimestamp(T + 1, UTC)
    assert refused_claims(exp=MISSING, iat=T - 330) == "expired"
    assert refused_claims(exp=MISSING, iat=MISSING) == "issued_at"


def test_a_replayed_logout_token_has_the_same_id_until_it_expires() -> None:
    """A-31: the id is consumed once, for as long as the token would be accepted."""
    told = validate(sign(honest(), rsa_key()))
    assert told.jti == validate(sign(honest(), rsa_key())).jti
    assert told.exp >= datetime.fromtimestamp(T + 120, UTC) + timedelta(seconds=30)


def test_an_id_token_is_no_logout_token() -> None:
    """A-31: the type says so, the nonce says so, the missing event says so."""
    id_token = {"iss": ISSUER, "aud": "doorward", "iat": T, "exp": T + 300, "sub": "bob", "nonce": "n", "jti": "j"}
    assert refused(sign(id_token, rsa_key(), typ="JWT")) == "nonce"
    del id_token["nonce"]
    assert refused(sign(id_token, rsa_key())) == "events"
    assert refused(sign(honest(), rsa_key(), typ="at+jwt")) == "type"
    for typ in ("logout+jwt", "application/logout+jwt", "LOGOUT+JWT", "JWT", None):
        assert validate(sign(honest(), rsa_key(), typ=typ))


def test_a_huge_logout_token_is_refused() -> None:
    """A-31."""
    assert refused(sign(honest(x="x" * 64 * 1024), rsa_key())) == "malformed"
    assert refused("") == "malformed"


def test_a_logout_token_must_name_somebody() -> None:
    """A-31."""
    assert refused_claims(sub=MISSING, sid=MISSING) == "subject"
    assert refused_claims(sid=["ps-1"]) == "session"
    assert refused_claims(sub=7) == "subject"


# --- over the wire ----------------------------------------------------------------------------------------------------


class Receiver:
    """The back-channel logout URI of a client."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        app = web.Application()
        app.router.add_post("/backchannel-logout", self.receive)
        self.listener = Listener(app)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(str((await request.post())["logout_token"]))
        return web.Response(status=204)


async def test_the_provider_s_logout_token_names_the_session_that_it_ended(trip: Trip) -> None:
    """A-20, A-23."""
    receiver = Receiver()
    await receiver.listener.start()
    back = "http://portal.localhost:4180/"
    trip.register(
        backchannel_logout_uri=receiver.listener.url + "/backchannel-logout", post_logout_redirect_uris=(back,)
    )
    signed_in = await trip.sign_in()
    where = logout_url(
        trip.openid,
        trip.provider.metadata,
        id_token_hint=signed_in.id_token,
        client_id="doorward",
        return_to=back,
        state="s-1",
    )
    async with trip.browser.get(str(where), allow_redirects=False) as answer:
        assert answer.headers["Location"] == back + "?state=s-1"
    await receiver.listener.close()
    (token,) = receiver.tokens
    told = await receive_logout_token(token, trip.provider, datetime.now(UTC))
    assert (told.sid, told.sub) == (signed_in.claims.provider_sid, signed_in.claims.subject)


async def test_a_logout_token_cannot_be_judged_without_the_keys(trip: Trip) -> None:
    """A-31's kind: an outage is no reason to end a session, nor to say that it was ended."""
    trip.fake.faults["jwks"] = says("down", status=503)
    with pytest.raises(ProviderUnavailable):
        await trip.provider.ping()
    with pytest.raises(ProviderUnavailable):
        await receive_logout_token(sign(honest(), rsa_key()), trip.provider, NOW)


async def test_a_logout_token_signed_with_a_new_key_is_verified_after_one_fetch(trip: Trip) -> None:
    """A-19, for logout tokens."""
    await trip.provider.ping()
    trip.fake.signer.key = rsa_key("two")
    token = sign(honest(iss=trip.fake.issuer), rsa_key("two"))
    assert (await receive_logout_token(token, trip.provider, NOW)).jti == "j-1"
    assert trip.fake.count("jwks") == 2
