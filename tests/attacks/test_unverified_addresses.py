"""Who vouches for an e-mail address: the document that says it, for the claim that it is, or the operator by name; and what becomes of others."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.config.claim_path import ClaimPath
from gateway.config.schema import ClaimNames
from gateway.directory.backends.nexudus_records import new_record
from gateway.directory.backends.scim_records import new_user
from gateway.directory.person import Person
from gateway.errors.signing_in import DirectoryUnavailable, EmailNotVerified, NotRegistered, SignInFailed
from gateway.hand_off.templates import facts_of
from gateway.hand_off.tokens import DirectoryTokens
from gateway.identity.claims import Claims, Identity
from gateway.oidc.userinfo import is_disputed, is_disputed_by_older, merge_claims
from gateway.policy.rules import Requirement
from gateway.sessions.session import decode, encode
from tests.fakes.claims import claim_names, identified
from tests.fakes.directories import asked_to_create
from tests.fakes.house import House
from tests.fakes.provider import MIA, MISSING, MisbehavingProvider, earlier_sign_in
from tests.fakes.rowing_club import RowingClub
from tests.fakes.scim import ScimServer
from tests.fakes.wire import WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_access import cookie_for
from tests.flows.test_token_refresh import OFFLINE
from tests.unit.directory.api import ANA, EMAIL
from tests.unit.directory.every import at, every_kind
from tests.unit.directory.test_linking import desk
from tests.unit.sessions.made import a_person, a_session

BOSS = "boss@example.com"
A, B = "mia@example.com", BOSS
RULES = [
    {"match": ["* /ceo"], "require": {"emails": [BOSS, str(MIA["email"])]}},
    {"match": ["* /house"], "require": {"email_domains": ["example.com"]}},
]
APPS = {"portal": {"rules": RULES, "headers": {"X-Mail": "{email}"}}}
#: The sign-in name is Mia's to choose; her address is verified, and another one.
MAPPED = {"claims": {"email": "preferred_username"}}
REFERENCE = {**MAPPED, "verified_email_domains": ["other.example"]}
VOUCHED = {**MAPPED, "verified_email_domains": ["other.example", "EXAMPLE.com"]}


def told(house: House) -> dict[str, Any]:
    """What the upstream heard of the last person."""
    request = house.upstream.requests[-1]
    (assertion,) = request.values("X-Doorward-Jwt-Assertion")
    signed = json.loads(urlsafe_b64decode(assertion.split(b".")[1] + b"=="))
    return {
        "user": request.values("X-Forwarded-User"),
        "email": [*request.values("X-Forwarded-Email"), *request.values("X-Mail")],
        "signed": signed.get("email"),
    }


async def looked_at(house: House, cookie: str) -> list[int]:
    answers: list[WireResponse] = [await house.ask(path, cookie=cookie) for path in ("/", "/ceo", "/house")]
    return [answer.status for answer in answers]


@pytest.mark.parametrize("openid", [MAPPED, REFERENCE, {**MAPPED, "require_verified_email": "never"}], ids=str)
async def test_a_sign_in_name_that_looks_like_an_address_is_nobodys_address(
    open_house: OpenHouse, provider: MisbehavingProvider, openid: dict[str, Any]
) -> None:
    """A-81: `email_verified` is about the claim `email`. The person comes in; no rule, header or assertion takes them for the boss."""
    house = await open_house(apps=APPS, provider=provider, openid=openid)
    provider.told.userinfo = {"preferred_username": BOSS, "email_verified": True}
    cookie = await cookie_for(house, MIA["sub"])
    assert await looked_at(house, cookie) == [200, 403, 403]
    assert told(house) == {"user": [b"hd-1001"], "email": [], "signed": None}
    said = json.loads((await house.ask("/oauth2/userinfo", cookie=cookie)).body)
    assert (said["email"], said["email_verified"]) == (BOSS, False)
    refused = json.loads((await house.ask("/ceo", cookie=cookie)).body)
    assert refused["account"] == BOSS, "the page shows which account one is in"


async def test_where_the_operator_says_who_vouches_a_sign_in_name_is_an_address(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-81: also for whoever wants every address to be verified."""
    house = await open_house(apps=APPS, provider=provider, openid={**VOUCHED, "require_verified_email": "always"})
    provider.told.userinfo = {"preferred_username": BOSS, "email_verified": False}
    cookie = await cookie_for(house, MIA["sub"])
    assert await looked_at(house, cookie) == [200, 200, 200]
    assert told(house) == {"user": [b"hd-1001"], "email": [BOSS.encode()] * 2, "signed": BOSS}
    for address in ("boss@example.com.evil.example", "boss@sub.example.com", "boss@evil.example"):
        provider.told.userinfo["preferred_username"] = address
        assert (await house.sign_in(house.browser())).status == 403, address


async def test_an_address_from_elsewhere_counts_as_not_mentioned_where_it_must_be_verified(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-81."""
    provider.told.userinfo = {"preferred_username": BOSS, "email_verified": True}
    always = await open_house(apps=APPS, provider=provider, openid={**MAPPED, "require_verified_email": "always"})
    assert (await always.sign_in(always.browser())).status == 403
    assert always.upstream.requests == []
    lines = [json.loads(line) for line in b"".join(always.lines).splitlines() if b"login.refused" in line]
    assert [line["reason"] for line in lines] == ["email_not_verified"]


DISPUTES: list[Any] = [
    ({"email": B}, {"email": A, "email_verified": True}),
    ({"email": B, "email_verified": True}, {"email": A, "email_verified": True}),
    ({"email": B, "email_verified": "true"}, {"email": A}),
    ({"email": B, "email_verified": True}, {"email": B, "email_verified": False}),
    ({"email": B, "email_verified": True}, {"email": B, "email_verified": "no"}),
]


@pytest.mark.parametrize(("id_token", "userinfo"), DISPUTES)
@pytest.mark.parametrize("required", ["when_present", "always"])
async def test_where_id_token_and_userinfo_differ_nobody_vouches(
    open_house: OpenHouse, provider: MisbehavingProvider, id_token: Any, userinfo: Any, required: str
) -> None:
    """A-81: neither the address of one with the word of the other, nor one of two words about one address."""
    settings = {"require_verified_email": required, "verified_email_domains": ["example.com"]}
    house = await open_house(apps=APPS, provider=provider, openid=settings)
    provider.told.id_token, provider.told.userinfo = id_token, {"email_verified": MISSING, **userinfo}
    if required == "always":
        assert (await house.sign_in(house.browser())).status == 403
        return
    assert await looked_at(house, await cookie_for(house, MIA["sub"])) == [200, 403, 403]
    assert told(house)["email"] == []


NAMES, UPN = ClaimNames(), claim_names(email="upn")
T, F = {"email_verified": True}, {"email_verified": False}
#: ID Token, userinfo, and what comes of it by `when_present`, `always` and `never`: verified, unverified, or refused.
PAIRS: list[Any] = [
    ({"email": A, **T}, {}, "vvv"),
    ({"email": A, **F}, {}, "rrv"),
    ({"email": A}, {}, "vrv"),
    ({}, {"email": A, **T}, "vvv"),
    ({}, {"email": A, **F}, "rrv"),
    ({"email": A}, {"email": A, **T}, "vvv"),
    ({"email": A, **T}, {"email": A}, "vvv"),
    ({"email": A}, {"email": "MIA@Example.com", **T}, "vvv"),
    ({"email": A}, {"email": A, **F}, "rrv"),
    ({"email": A, **F}, {"email": A, **T}, "rru"),
    ({"email": A, **T}, {"email": A, **F}, "uru"),
    ({"email": A, **T}, {"email": B, **T}, "uru"),
    ({"email": A, **T}, {"email": B, **F}, "uru"),
    ({"email": A, **F}, {"email": B, **T}, "rru"),
    ({"email": A}, {"email": B}, "uru"),
    ({"email": A}, {"email": B, **F}, "uru"),
    ({"email": A}, T, "vrv"),  # said of nothing that came with it
    (T, {"email": A}, "vrv"),
    ({"email": A}, F, "rrv"),  # a "no" needs no address beside it
    (F, {"email": A}, "rrv"),
    ({"email": A, **T}, {"email": "", **T}, "vvv"),
    ({"email": A, **T}, {"email": None, **F}, "vvv"),
    ({"email": "MIA@example.com"}, {"email": "m\u0131a@example.com", **T}, "uru"),  # a dotless i is another letter
]


def outcome(id_claims: Any, said: Any, required: Any, names: ClaimNames = NAMES, domains: Any = ()) -> str:
    values = {"sub": "s", **merge_claims(id_claims, said, names)}
    disputed = is_disputed(id_claims, said, names.email)
    try:
        who = identified(
            Claims(issuer="i", subject="s", values=values, email_disputed=disputed), names, required, domains
        )
    except EmailNotVerified:
        return "r"
    return "v" if who.email_verified else "u"


@pytest.mark.parametrize(("id_claims", "said", "expected"), PAIRS)
def test_each_source_speaks_of_its_own_address(id_claims: Any, said: Any, expected: str) -> None:
    """A-81, A-58."""
    found = [outcome(id_claims, said, required) for required in ("when_present", "always", "never")]
    assert "".join(found) == expected


@pytest.mark.parametrize(
    ("id_claims", "said"),
    [({"upn": A, **T}, {}), ({"upn": A, **F}, {}), ({"upn": A}, {"upn": A, **T}), ({"upn": A, "email": A, **T}, {"email": A, **T})],
)  # fmt: skip
def test_what_is_mapped_from_elsewhere_is_vouched_for_by_name_or_not_at_all(id_claims: Any, said: Any) -> None:
    """A-81: whatever `email_verified` says."""
    for required, unvouched in (("when_present", "u"), ("always", "r"), ("never", "u")):
        assert outcome(id_claims, said, required, UPN) == unvouched
        assert outcome(id_claims, said, required, UPN, ("other.example",)) == unvouched
        assert outcome(id_claims, said, required, UPN, ("Example.COM",)) == "v"
    assert outcome({"upn": A}, {"upn": B}, "never", UPN, ("example.com",)) == "u", "two addresses are none"


def test_a_word_about_the_claim_email_disputes_no_other_claim() -> None:
    """A-81."""
    assert not is_disputed({"upn": A, **T}, {"upn": A, **F}, ClaimPath("upn"))
    assert is_disputed({"upn": A}, {"upn": B}, ClaimPath("upn"))
    assert not is_disputed_by_older({"upn": B}, {"upn": A, **T}, ClaimPath("upn"))
    assert is_disputed_by_older({"email": B}, {"email": A, **T}, ClaimPath("email"))
    assert not is_disputed_by_older({"email": B}, {"email": A}, ClaimPath("email"))
    assert not is_disputed_by_older({"email": B, **T}, {"email": A, **T}, ClaimPath("email"))


def test_where_the_operator_names_who_vouches_silence_about_other_domains_is_no_word() -> None:
    """A-81: a provider that never says whether an address is verified, as Entra ID."""
    for required, listed, other in (("when_present", "v", "u"), ("always", "v", "r"), ("never", "v", "u")):
        assert outcome({"email": A}, {}, required, NAMES, ("example.com",)) == listed
        assert outcome({"email": "mia@gmail.example"}, {}, required, NAMES, ("example.com",)) == other
    assert outcome({"email": A, **F}, {}, "when_present", NAMES, ("example.com",)) == "r", "what is said counts"
    assert outcome({"email": "mia@gmail.example", **T}, {}, "always", NAMES, ("example.com",)) == "v"


def test_a_person_is_not_named_by_an_address_that_nobody_vouches_for() -> None:
    """A-81: X-Forwarded-User, where `claims.subject` is the address."""
    by_address, values = claim_names(subject="email"), {"sub": "s", "email": A}
    named = identified(Claims(issuer="i", subject="s", values=values), by_address, "when_present")
    assert named.user == A
    disputed = Claims(issuer="i", subject="s", values=values, email_disputed=True)
    for claims, names in ((disputed, by_address), (disputed, claim_names(subject="email", email="upn"))):
        with pytest.raises(EmailNotVerified):
            identified(claims, names, "never")
    with pytest.raises(SignInFailed):
        identified(Claims(issuer="i", subject="s", values={"sub": "s"}), by_address, "never")


def test_an_address_that_nobody_vouches_for_is_no_group_either() -> None:
    """A-81: where addresses are the groups of a rule."""
    values = {"sub": "s", "email": A, "upn": B}
    for names, groups in (
        (claim_names(groups="email"), (A,)),
        (claim_names(groups="upn", email="upn"), ()),
        (claim_names(groups="email", email="upn"), ()),
    ):
        found = identified(Claims(issuer="i", subject="s", values=values), names, "when_present")
        assert found.groups == groups
    disputed = Claims(issuer="i", subject="s", values=values, email_disputed=True)
    assert identified(disputed, claim_names(groups="email"), "when_present").groups == ()


def test_a_refusal_says_in_the_log_that_nobody_vouches() -> None:
    """For whoever wonders why a rule with this very address is not met."""
    requirement = Requirement(emails=frozenset({EMAIL}))
    assert requirement.unmet(ANA) is None
    assert requirement.unmet(UNVERIFIED) == "require: not one of the e-mail addresses, and the address is not verified"


# --- accounts ---------------------------------------------------------------------------------------------------------

UNVERIFIED = replace(ANA, email_verified=False)


@every_kind
async def test_an_address_that_nobody_vouches_for_finds_links_and_makes_no_account(
    redis: Redis, prefix: str, kind: str
) -> None:
    """A-81."""
    async with desk(kind, redis, prefix) as office:
        with pytest.raises(NotRegistered):
            await office.ensure(UNVERIFIED)
        assert asked_to_create(office.api) == 0
        number = office.api.add(EMAIL, "Ana")
        for registration in ("create", "refuse"):
            with pytest.raises(NotRegistered):
                await office.ensure(UNVERIFIED, registration)
        assert await office.provisioner.known(UNVERIFIED) is None
        assert {line["reason"] for line in office.told("account.refused")} == {"email_unverified"}
        assert (await office.ensure()).directory["id"] == number
        assert (await office.ensure(UNVERIFIED)).directory["id"] == number, "who is linked needs no address"


async def test_an_address_that_nobody_vouches_for_fills_no_field_and_chooses_no_defaults(
    redis: Redis, prefix: str
) -> None:
    """A-81: nor does it open an upstream's own session."""
    defaults = [{"email_domains": ["tenant.example"], "fields": {"userType": "Employee"}}]
    fields = {"nickName": "{email}", "title": "{email_local}"}
    async with desk("scim", redis, prefix, update="at_login", fields=fields, defaults=defaults) as office:
        office.api.add("old@tenant.example", "Ana", link=f"{ANA.issuer}|{ANA.subject}")
        await office.ensure(UNVERIFIED)
        (user,) = office.api.users.values()
        assert not {"nickName", "title", "userType"} & user.keys()
        await office.ensure()
        assert (user["nickName"], user["title"]) == (EMAIL, "ana")
    assert "email" not in facts_of(UNVERIFIED)
    assert facts_of(ANA)["email"] == EMAIL


async def test_no_creation_and_no_one_time_token_is_asked_for_with_an_unverified_address() -> None:
    """A-81: whoever asks for it."""
    with pytest.raises(DirectoryUnavailable):
        new_record(UNVERIFIED, businesses=[501], country=1, time_zone=1, create_login=True)
    with pytest.raises(DirectoryUnavailable):
        new_user(Person(identity=UNVERIFIED), {}, link=None)
    token = {"method": "POST", "path": "/members/{id}/door-key", "query": {"who": "{email}"}}
    async with at("rowing club", requests=RowingClub().section()["requests"] | {"sign_in_token": token}) as here:
        facts = {"id": here.api.add("old@tenant.example", "Ana"), "user_id": "7"}

        async def nobody(identity: Identity) -> None:
            raise AssertionError("the session knows its account")

        tokens = DirectoryTokens(here.directory, nobody)
        for identity, asked in ((UNVERIFIED, ""), (ANA, "?who=ana%40tenant.example")):
            assert await tokens.token(identity.with_directory(facts), {})
            assert here.api.seen[-1][1] == f"/v7/members/{facts['id']}/door-key{asked}"


async def test_a_sign_in_with_a_foreign_address_gets_no_account_by_it(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-81: all the way from the provider."""
    async with ScimServer() as api:
        api.add(BOSS, "The boss")
        provider.told.userinfo = {"preferred_username": BOSS, "email_verified": True}
        openid = {**MAPPED, "create_users": True}
        house = await open_house(apps=APPS, provider=provider, openid=openid, directory=api.section())
        assert (await house.sign_in(house.browser())).status == 403
        assert api.addresses == [BOSS]
        assert house.upstream.requests == []
        house = await open_house(
            apps=APPS, provider=provider, openid={**openid, **VOUCHED}, directory=api.section(), keys=house_keys(house)
        )
        assert (await house.sign_in(house.browser())).status == 200
        assert house.upstream.requests[-1].values("X-Forwarded-Email") == [BOSS.encode()]


def house_keys(house: House) -> list[str]:
    return [key.get_secret_value() for key in house.worker.config.keys]


# --- while a session lasts --------------------------------------------------------------------------------------------


async def test_a_session_of_an_earlier_release_with_a_mapped_address_signs_in_anew(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-81: its record says nothing of verification. Whoever is at a vouched domain, has no address or uses the claim `email` goes on."""
    for openid, email, status in (
        (MAPPED, BOSS, 401), (REFERENCE, BOSS, 401), (VOUCHED, BOSS, 200), (MAPPED, None, 200), ({}, BOSS, 200),
    ):  # fmt: skip
        house = await open_house(apps=APPS, provider=provider, openid=openid)
        assert (await house.ask("/", cookie=await house.session(email=email))).status == status


async def test_an_address_that_is_no_longer_vouched_for_at_a_refresh_counts_no_more(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-81, A-74: and one that is, counts again."""
    house = await open_house(apps=APPS, provider=provider, openid=OFFLINE)
    provider.told.id_token = {"email": BOSS}
    cookie = await house.session(**earlier_sign_in(provider))
    assert await looked_at(house, cookie) == [200, 403, 403]
    provider.told.id_token = {"email": MIA["email"]}
    assert await looked_at(house, await house.session(**earlier_sign_in(provider))) == [200, 200, 200]


async def test_userinfo_that_changes_the_address_without_a_word_about_it_is_not_believed(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-81: the ID Token of the sign-in knew whether its own address was verified; this one is another."""
    house = await open_house(apps=APPS, provider=provider, openid=OFFLINE)
    provider.told.id_token = {"email": MIA["email"], "email_verified": True}
    signed_in = earlier_sign_in(provider)
    provider.told.token = {"id_token": MISSING}
    for userinfo, seen in (
        ({"email": BOSS, "email_verified": MISSING}, [200, 403, 403]),
        ({"email": BOSS, "email_verified": True}, [200, 200, 200]),
        ({"email": MIA["email"], "email_verified": MISSING}, [200, 200, 200]),
    ):
        provider.told.userinfo = userinfo
        again = {**signed_in, "refresh_token": earlier_sign_in(provider)["refresh_token"]}
        assert await looked_at(house, await house.session(**again)) == seen


async def test_who_vouches_is_asked_at_a_refresh_too(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """A-81."""
    for openid, seen in ((VOUCHED, [200, 200, 200]), (REFERENCE, [200, 403, 403])):
        house = await open_house(apps=APPS, provider=provider, openid={**OFFLINE, **openid})
        provider.told.userinfo = {"preferred_username": BOSS}
        earlier = earlier_sign_in(provider)
        unsaid = replace(earlier["identity"], email_verified=False)
        assert await looked_at(house, await house.session(**{**earlier, "identity": unsaid})) == seen


def test_a_record_without_the_word_is_read_and_one_with_it_keeps_it() -> None:
    """A-81, C-70: nobody is signed out by it whose address was judged by the rules of before."""
    known = a_session()
    assert b"email_verified" not in encode(known)
    assert decode(encode(known)).identity.vouched_email == known.identity.email
    unverified = a_session(identity=a_person(email_verified=False))
    assert decode(encode(unverified), tokens=False).identity.vouched_email is None
    assert Identity(issuer="i", subject="s").vouched_email is None
