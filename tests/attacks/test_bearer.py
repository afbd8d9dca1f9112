"""Access tokens of programs: what is one, whose, for whom, until when; and what is none. Nothing else than a good token reaches an application
with an identity, and no token of ours reaches it at all."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.bearer.ended import EndedTokens
from gateway.bearer.presented import presented_in
from gateway.sessions.keyring import KeyRing
from tests.fakes.access_tokens import AUDIENCE, Introspecting, at_jwt, auth0_jwt, bearer, claims_of, keycloak_jwt
from tests.fakes.forge import ec_key, hmac_signed, public, rsa_key, segment, sign, sign_raw, unsigned
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MIA, MISSING, MisbehavingProvider, says
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse
from tests.unit.directory.every import at

RULES = [
    {"match": ["* /api/**"], "programs": "also"},
    {"match": ["* /robots/**"], "programs": "only"},
    {"match": ["* /api/write/**"], "scopes": ["write", "extra"]},
    {"match": ["* /api/staff/**"], "require": {"groups": ["staff"]}},
    {"match": ["* /api/fresh/**"], "max_age": "5m"},
    {"match": ["* /api/closed/**"], "programs": "never"},
]
HOUR = 3600


def app(**keys: Any) -> dict[str, Any]:
    return {"portal": {"rules": RULES, "public": ["GET /open"], "bearer": {"audiences": [AUDIENCE], **keys}}}


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(apps=app(), provider=provider, openid={"clock_skew": "0s"})


def challenge(answer: WireResponse) -> str:
    return str(answer.value("WWW-Authenticate"))


def forwarded(house: House) -> list[tuple[str, list[bytes], list[bytes]]]:
    """Target, Authorization and X-Forwarded-Email of all that reached the application."""
    return [
        (each.target, each.values("authorization"), each.values("x-forwarded-email"))
        for each in house.upstream.requests
    ]


# --- what is good -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "make"), [("rfc9068", at_jwt), ("jwt", keycloak_jwt), ("jwt", auth0_jwt)])
async def test_a_good_token_is_a_person_and_does_not_reach_the_application(
    open_house: OpenHouse, provider: MisbehavingProvider, profile: str, make: Any
) -> None:
    """D-30: asked twice on one connection, so that the second takes the shortcut."""
    house = await open_house(apps=app(profile=profile), provider=provider)
    wire = await Wire.open(house.port)
    head = f"GET /api/x HTTP/1.1\r\nHost: {house.host()}\r\n{bearer(make(provider))}\r\n".encode()
    for _ in range(3):
        await wire.send(head)
        assert (await wire.response()).status == 200
    await wire.close()
    assert forwarded(house) == [("/api/x", [], [str(MIA["email"]).encode()])] * 3
    assert house.upstream.requests[0].values("x-doorward-jwt-assertion")


async def test_a_public_route_gets_neither_the_token_nor_an_identity(
    house: House, provider: MisbehavingProvider
) -> None:
    """D-30"""
    assert (await house.ask("/open", fields=bearer(at_jwt(provider)))).status == 200
    assert forwarded(house) == [("/open", [], [])]


# --- what is none -----------------------------------------------------------------------------------------------------

FORGED = {
    "alg none": lambda provider: unsigned(claims_of(provider)),
    "HS256 with the public key": lambda provider: hmac_signed(
        claims_of(provider), json.dumps(public(rsa_key())).encode()
    ),
    "another key": lambda provider: sign(claims_of(provider), ec_key(), "ES256", typ="at+jwt"),
    "a key of its own under a known kid": lambda provider: sign(
        claims_of(provider), rsa_key("two"), typ="at+jwt", kid="one"
    ),
    "an unknown critical header": lambda provider: sign(claims_of(provider), rsa_key(), typ="at+jwt", crit=["exp"]),
    "wrong aud": lambda provider: at_jwt(provider, aud="https://other.example"),
    "no aud": lambda provider: at_jwt(provider, aud=MISSING),
    "token of another app of the provider": lambda provider: at_jwt(provider, aud=["doorward", "account"]),
    "ID token": lambda provider: sign(claims_of(provider, nonce="n"), rsa_key(), typ="JWT"),
    "without typ": lambda provider: sign(claims_of(provider), rsa_key()),
    "logout token": lambda provider: sign(claims_of(provider, events={}), rsa_key(), typ="logout+jwt"),
    "expired": lambda provider: at_jwt(provider, exp=int(provider.now().timestamp()) - 1),
    "for ever": lambda provider: at_jwt(provider, exp=MISSING),
    "not yet": lambda provider: at_jwt(provider, nbf=int(provider.now().timestamp()) + HOUR),
    "bound to a key": lambda provider: at_jwt(provider, cnf={"jkt": "x"}),
    "without sub": lambda provider: at_jwt(provider, sub=MISSING),
    "without jti": lambda provider: at_jwt(provider, jti=MISSING),
    "scopes that are none": lambda provider: at_jwt(provider, scope={"read": True}),
    "a claim with a line break": lambda provider: at_jwt(provider, name="Mia\r\nX-Forwarded-Groups: staff"),
    "two values of one claim": lambda provider: sign_raw(
        segment({"alg": "RS256", "kid": "one", "typ": "at+jwt"}),
        segment(json.dumps(claims_of(provider)).replace("{", '{"aud": "x", ', 1).encode()),
        rsa_key(),
        "RS256",
    ),
    "our own kind, which was never given out": lambda provider: "dw_abc",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_forged_or_foreign_token_is_refused_and_never_redirected(
    house: House, provider: MisbehavingProvider, forge: Any
) -> None:
    """D-31, D-32, D-33; a token whose `iss` cannot be read in one way only is not ours, and so no identity either."""
    answer = await house.ask("/api/x", fields=bearer(forge(provider)))
    assert answer.status == 401
    assert challenge(answer).startswith("Bearer ")
    navigation = await house.ask("/api/x", fields=BROWSER + bearer(forge(provider)))
    assert navigation.status in (401, 302)
    if navigation.status == 302:
        assert "error=" not in challenge(answer), "only what is not ours is answered like any stranger"
    assert house.upstream.requests == []


OTHERS = {
    **{mark: {mark: "x"} for mark in ("nonce", "at_hash", "c_hash", "events")},
    "typ ID": {"typ": "ID"},
    "typ Refresh": {"typ": "Refresh"},
}


@pytest.mark.parametrize("marks", OTHERS.values(), ids=OTHERS)
async def test_an_id_token_is_no_access_token_of_a_provider_without_types(
    open_house: OpenHouse, provider: MisbehavingProvider, marks: dict[str, Any]
) -> None:
    """D-33"""
    house = await open_house(apps=app(profile="jwt"), provider=provider)
    token = sign(claims_of(provider, **marks), rsa_key(), typ="JWT")
    answer = await house.ask("/api/x", fields=bearer(token))
    assert (answer.status, house.upstream.requests) == (401, [])
    assert 'error="invalid_token"' in challenge(answer)


NO_ID_TOKENS: dict[str, dict[str, Any]] = {
    "another client's, which lists us": {"aud": [AUDIENCE, "another-client"], "azp": "another-client"},
    "of several clients, none of them named": {"aud": [AUDIENCE, "another-client"]},
    "ours alone, and another client's": {"azp": "another-client"},
    "logout token": {"events": {}},
    "access token": {"typ": "Bearer"},
    "bound to a key": {"cnf": {"jkt": "x"}},
}


@pytest.mark.parametrize("changes", NO_ID_TOKENS.values(), ids=NO_ID_TOKENS)
async def test_an_id_token_counts_for_the_client_alone_that_asked_for_it(
    open_house: OpenHouse, provider: MisbehavingProvider, changes: dict[str, Any]
) -> None:
    """A-68, D-33: where `profile` is id_token; what it says of scopes gives none."""
    house = await open_house(apps=app(profile="id_token"), provider=provider)
    for good in ({}, {"azp": AUDIENCE}, {"aud": [AUDIENCE, "another-client"], "azp": AUDIENCE}, {"typ": "ID"}):
        token = sign(claims_of(provider, nonce="n", **good), rsa_key(), typ="JWT")
        assert (await house.ask("/api/x", fields=bearer(token))).status == 200
    assert (await house.ask("/api/write/x", fields=bearer(token))).status == 403
    house.upstream.requests.clear()
    for token in (sign(claims_of(provider, **changes), rsa_key(), typ="JWT"), at_jwt(provider)):
        answer = await house.ask("/api/x", fields=bearer(token))
        assert (answer.status, house.upstream.requests) == (401, [])
        assert 'error="invalid_token"' in challenge(answer)


async def test_made_up_tokens_cost_the_provider_one_fetch_of_keys(house: House, provider: MisbehavingProvider) -> None:
    """D-31: unknown kids come with each."""
    before = provider.count("jwks")
    for number in range(20):
        token = sign(claims_of(provider), rsa_key("two"), typ="at+jwt", kid=f"k{number}")
        assert (await house.ask("/api/x", fields=bearer(token))).status == 401
    assert provider.count("jwks") <= before + 1


async def test_a_token_of_another_issuer_is_the_applications_and_never_an_identity(
    house: House, provider: MisbehavingProvider
) -> None:
    """A portal's pages send its own token with the session cookie, and go on to do so."""
    cookie = await house.session()
    for own in ("opaque-of-the-portal", sign(claims_of(provider, iss="https://portal.example"), rsa_key())):
        assert (await house.ask("/form", cookie=cookie, fields=bearer(own))).status == 200
        assert house.upstream.requests[-1].values("authorization") == [f"Bearer {own}".encode()]
        assert house.upstream.requests[-1].values("x-forwarded-email") == [b"bob@example.com"]
        assert (await house.ask("/api/x", fields=bearer(own))).status == 401
        assert (await house.ask("/open", fields=bearer(own))).status == 200
        assert house.upstream.requests[-1].values("authorization") == [f"Bearer {own}".encode()]


async def test_a_further_issuer_is_asked_for_its_keys_and_for_nothing_else(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-32: its tokens count, those that it signs as another issuer do not, and no credential of ours is kept for it."""
    machines = MisbehavingProvider()
    await machines.start()
    try:
        house = await open_house(apps=app(issuers=[machines.issuer]), provider=provider)
        assert (await house.ask("/api/x", fields=bearer(at_jwt(machines)))).status == 200
        forged = sign(claims_of(provider), rsa_key("machines"), typ="at+jwt")
        assert (await house.ask("/api/x", fields=bearer(forged))).status == 401
        assert forwarded(house) == [("/api/x", [], [str(MIA["email"]).encode()])]
        issuers = house.worker.tokens.issuers
        assert issuers is not None
        settings = issuers.by_app["portal"].by_issuer[machines.issuer].settings
        secrets = (settings.client_secret, settings.client_private_key, settings.client_tls.certificate)
        assert (secrets, settings.allowed_tenants) == ((None, None, None), ())
    finally:
        await machines.close()


# --- two ways at once -------------------------------------------------------------------------------------------------


async def test_a_token_beside_a_live_session_is_refused_and_a_dead_cookie_counts_as_none(
    house: House, provider: MisbehavingProvider
) -> None:
    """D-36"""
    cookie, token = await house.session(), at_jwt(provider)
    for field in (bearer(token), bearer("dw_abc")):
        answer = await house.ask("/api/x", cookie=cookie, fields=field)
        assert answer.status == 400
        assert 'error="invalid_request"' in challenge(answer)
    assert house.upstream.requests == []
    assert (await house.ask("/api/x", cookie="doorward_session=gone", fields=bearer(token))).status == 200
    assert forwarded(house) == [("/api/x", [], [str(MIA["email"]).encode()])]


@pytest.mark.parametrize(
    "fields",
    ["Authorization: Bearer {}\r\nAuthorization: Bearer {}\r\n", "Authorization: Basic eDp5\r\nAuthorization: bearer {}\r\n",
     "Authorization: Bearer {}\r\nauthorization: Bearer opaque\r\n", "Authorization: Bearer {}, Basic eDp5\r\n",
     "Authorization: Bearer {} {}\r\n"],
)  # fmt: skip
async def test_a_second_authorization_is_refused_on_every_route(
    house: House, provider: MisbehavingProvider, fields: str
) -> None:
    """D-36"""
    token = at_jwt(provider)
    for target in ("/api/x", "/open"):
        answer = await house.ask(target, fields=fields.format(token, token))
        assert (answer.status, house.upstream.requests) == (400, [])


async def test_a_token_in_the_query_is_refused(house: House, provider: MisbehavingProvider) -> None:
    """D-38"""
    token = at_jwt(provider)
    for name in ("access_token", "access%5ftoken", "%61ccess_token"):
        for target in (f"/api/x?{name}={token}", f"/open?x=1&{name}={token}"):
            answer = await house.ask(target)
            assert (answer.status, house.upstream.requests) == (400, [])
    assert (await house.ask("/open?access_token=of-the-portal")).status == 200


async def test_a_header_with_another_spelling_smuggles_no_identity_beside_a_token(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-61 with a token: neither in an identity header nor in Authorization itself."""
    token = at_jwt(provider)
    answer = await house.ask("/api/x", fields=f"{bearer(token)}X_Forwarded_Email: boss@example.com\r\n")
    assert answer.status in (200, 400)
    assert all(b"boss@" not in each.head for each in house.upstream.requests)
    before = len(house.upstream.requests)
    answer = await house.ask("/api/x", fields=f"{bearer(token)}AUTHORIZATION : Basic eDp5\r\n")
    assert (answer.status, len(house.upstream.requests)) == (400, before)


# --- rules ------------------------------------------------------------------------------------------------------------


async def test_rules_hold_for_tokens_and_say_what_is_missing(house: House, provider: MisbehavingProvider) -> None:
    """D-39; RFC 6750 section 3.1, RFC 9470 section 3."""
    token = at_jwt(provider, auth_time=int(provider.now().timestamp()) - HOUR)
    asked = {
        "/api/write/1": (403, 'error="insufficient_scope"'),
        "/api/staff/1": (403, 'error="insufficient_scope"'),
        "/api/closed/1": (403, 'error="insufficient_scope"'),
        "/else": (403, 'error="insufficient_scope"'),
        "/api/fresh/1": (401, 'error="insufficient_user_authentication"'),
    }
    for target, (status, error) in asked.items():
        answer = await house.ask(target, fields=bearer(token))
        assert (target, answer.status, error in challenge(answer)) == (target, status, True)
    assert 'scope="extra write"' in challenge(await house.ask("/api/write/1", fields=bearer(token)))
    assert house.upstream.requests == []
    for target in ("/api/%2e%2e/else", "/api/..%2felse", "/api/x/..;/../else"):
        answer = await house.ask(target, fields=bearer(token))
        assert answer.status in (400, 403), target
    assert house.upstream.requests == []
    good = at_jwt(provider, scope="read write extra", groups=["staff"], auth_time=int(provider.now().timestamp()))
    for target in ("/api/write/1", "/api/staff/1", "/api/fresh/1", "/robots/1"):
        assert (await house.ask(target, fields=bearer(good))).status == 200


async def test_a_form_that_names_another_path_is_no_way_past_the_rules_for_programs(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-39"""
    portal = {
        **app()["portal"],
        "rules": [{"match": ["POST /"], "programs": "also"}, {"match": ["* /wp-json/users/**"], "scopes": ["read"]}],
    }
    house = await open_house(apps={"portal": portal}, provider=provider)
    fields = bearer(at_jwt(provider)) + "Content-Type: application/x-www-form-urlencoded\r\n"
    assert (await house.ask("/", method="POST", fields=fields, body=b"a=1")).status == 200
    for path in (b"/users/1", b"/else"):
        answer = await house.ask("/", method="POST", fields=fields, body=b"rest_route=" + path)
        assert (answer.status, len(house.upstream.requests)) == (403, 1)


async def test_a_scope_is_not_met_by_leaving_the_token_out(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-39: an app that strangers may use keeps what is for tokens with a scope, and for people with a session."""
    house = await open_house(apps={"portal": {**app()["portal"], "unauthenticated": "pass"}}, provider=provider)
    assert (await house.ask("/api/write/1", fields=bearer(at_jwt(provider)))).status == 403
    assert (await house.ask("/api/write/1")).status == 401
    assert house.upstream.requests == []
    assert (await house.ask("/api/x")).status == 200
    assert (await house.ask("/api/write/1", cookie=await house.session())).status == 200


async def test_a_person_has_no_way_to_what_is_for_programs_only(house: House) -> None:
    """D-39: refused with a session, and not sent to a sign-in without one."""
    cookie = await house.session()
    assert (await house.ask("/robots/1", cookie=cookie)).status == 403
    assert (await house.ask("/robots/1", fields=BROWSER)).status == 401
    assert (await house.ask("/api/x", cookie=cookie)).status == 200


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_a_cached_token_ends_at_its_exp(house: House, provider: MisbehavingProvider) -> None:
    """D-35: the same token, the same connection, the shortcut."""
    token = at_jwt(provider, exp=int(provider.now().timestamp()) + 2)
    wire = await Wire.open(house.port)
    head = f"GET /api/x HTTP/1.1\r\nHost: {house.host()}\r\n{bearer(token)}\r\n".encode()
    seen: list[int] = []

    async def refused() -> bool:
        await wire.send(head)
        seen.append((await wire.response()).status)
        return seen[-1] == 401

    assert not await refused()
    over = provider.now() + timedelta(seconds=20)
    while not await refused() and provider.now() < over:
        await asyncio.sleep(0.05)
    await wire.close()
    assert set(seen) == {200, 401}


async def ended(house: House, at: datetime, **whom: Any) -> None:
    worker = house.worker
    await EndedTokens(worker.redis, KeyRing(worker.config.keys), worker.config.redis.key_prefix).write(at, **whom)


@pytest.mark.parametrize(
    "whom", [{"emails": ["MIA@example.com"]}, {"subject": MIA["sub"]}, {"subject": MIA["sub"], "apps": ["portal"]}]
)
async def test_an_operator_ends_a_persons_tokens_in_every_worker(
    house: House, provider: MisbehavingProvider, whom: dict[str, Any]
) -> None:
    """D-35: a verified one at once, by push; the same one presented again, and not one that the person gets afterwards."""
    moment = provider.now().replace(microsecond=0) - timedelta(seconds=3)
    token = at_jwt(provider, iat=int(moment.timestamp()))
    await eventually(lambda: house.worker.tokens.trusted)
    assert (await house.ask("/api/x", fields=bearer(token))).status == 200
    assert house.worker.tokens.size == 1
    await ended(house, moment, **whom)
    await eventually(lambda: house.worker.tokens.size == 0)
    assert (await house.ask("/api/x", fields=bearer(token))).status == 401
    later = at_jwt(provider, iat=int(moment.timestamp()) + 1)
    assert (await house.ask("/api/x", fields=bearer(later))).status == 200
    other = at_jwt(provider, sub="hd-1003", email="ada@example.com")
    assert (await house.ask("/api/x", fields=bearer(other))).status == 200


async def test_tokens_of_a_key_that_the_provider_took_back_end(house: House, provider: MisbehavingProvider) -> None:
    """D-35"""
    token = at_jwt(provider)
    await eventually(lambda: house.worker.tokens.trusted)
    assert (await house.ask("/api/x", fields=bearer(token))).status == 200
    provider.told.jwks = public(rsa_key("two"))
    await house.worker.providers["openid"].provider.ping()
    assert house.worker.tokens.size == 0
    assert (await house.ask("/api/x", fields=bearer(token))).status == 401


# --- introspection ----------------------------------------------------------------------------------------------------


async def test_an_opaque_token_is_what_the_provider_says_now(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-34; asked once while the answer counts, and never beside a live session."""
    asking = Introspecting(provider)
    house = await open_house(apps=app(introspection={}), provider=provider)
    await eventually(lambda: house.worker.tokens.trusted)
    asking.answers["good"] = {**claims_of(provider), "active": True}
    for _ in range(2):
        assert (await house.ask("/api/x", fields=bearer("good"))).status == 200
    assert (forwarded(house), asking.asked) == ([("/api/x", [], [str(MIA["email"]).encode()])] * 2, ["good"])
    cookie = await house.session()
    assert (await house.ask("/api/x", cookie=cookie, fields=bearer("good"))).status == 200
    assert forwarded(house)[-1] == ("/api/x", [b"Bearer good"], [b"bob@example.com"])


async def test_an_opaque_token_that_travelled_with_a_session_stays_here_once_the_session_is_over(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-30: the same bytes on the same connection; beside a live session the token was the application's."""
    asking = Introspecting(provider)
    house = await open_house(apps=app(introspection={}), provider=provider)
    asking.answers["good"] = {**claims_of(provider), "active": True}
    cookie = await house.session()
    wire = await Wire.open(house.port)
    head = f"GET /api/x HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{bearer('good')}\r\n".encode()

    async def person() -> bytes:
        await wire.send(head)
        assert (await wire.response()).status == 200
        (email,) = house.upstream.requests[-1].values("x-forwarded-email")
        return email

    assert await person() == b"bob@example.com"
    assert house.upstream.requests[-1].values("authorization") == [b"Bearer good"]
    await house.worker.store.revoke(house.worker.store.key_of(cookie.partition("=")[2]))
    await eventually(lambda: house.worker.cache.size == 0)
    assert await person() == str(MIA["email"]).encode()
    assert house.upstream.requests[-1].values("authorization") == []
    await wire.close()


async def test_an_answer_counts_no_longer_than_the_app_lets_it(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-34: the token says five minutes, `cache` one."""
    asking = Introspecting(provider)
    house = await open_house(apps=app(introspection={"cache": "1m"}), provider=provider)
    await eventually(lambda: house.worker.tokens.trusted)
    asking.answers["good"] = {**claims_of(provider), "active": True}
    assert (await house.ask("/api/x", fields=bearer("good"))).status == 200
    token = presented_in([b"Bearer good"], frozenset(), opaque=True)
    assert token is not None
    known = house.worker.tokens.peek(token, house.host())
    assert known is not None
    assert known.until <= house.worker.context.clock() + 60


@pytest.mark.parametrize(
    "answer",
    [{"active": False}, {}, {"active": "true"}, {"active": 1}, {"active": True, "aud": "https://other.example"},
     {"active": True, "aud": MISSING}, {"active": True, "iss": "https://evil.example"}, {"active": True, "exp": 1},
     {"active": True, "sub": MISSING}, {"active": True, "cnf": {}}],
)  # fmt: skip
async def test_an_answer_that_says_less_than_good_lets_nothing_in(
    open_house: OpenHouse, provider: MisbehavingProvider, answer: dict[str, Any]
) -> None:
    """D-34"""
    asking = Introspecting(provider)
    house = await open_house(apps=app(introspection={}), provider=provider)
    asking.answers["token"] = claims_of(provider, **answer)
    assert (await house.ask("/api/x", fields=bearer("token"))).status == 401
    assert house.upstream.requests == []


@pytest.mark.parametrize("fault", [says("down", status=503), says("<html>", content_type="text/html"), says("[]")])
async def test_while_introspection_is_down_nothing_is_let_in(
    open_house: OpenHouse, provider: MisbehavingProvider, fault: Any
) -> None:
    """D-34"""
    Introspecting(provider)
    provider.faults["introspect"] = fault
    house = await open_house(apps=app(introspection={}), provider=provider)
    assert (await house.ask("/api/x", fields=bearer("token"))).status in (502, 503)
    assert house.upstream.requests == []


# --- people -----------------------------------------------------------------------------------------------------------


async def test_a_token_registers_nobody(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """D-37: with `create_users` on, where a sign-in would create the account."""
    async with at("rowing club") as here:
        house = await open_house(
            apps=app(), provider=provider, openid={"create_users": True}, directory=here.api.section()
        )
        answer = await house.ask("/api/x", fields=bearer(at_jwt(provider)))
        assert answer.status == 403
        assert json.loads(answer.body)["code"] == "not_registered"
        assert house.upstream.requests == []
        assert here.api.ids == []
        here.api.add(str(MIA["email"]), "Mia")
        assert (await house.ask("/api/x", fields=bearer(at_jwt(provider)))).status == 200
