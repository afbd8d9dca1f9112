"""The provider over the wire: discovery, keys that rotate, outages, and strangers who would have us hammer it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from gateway.config.schema import OpenID
from gateway.errors.signing_in import IdTokenInvalid, ProviderFault, ProviderUnavailable
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.oidc.tokens import TokenClient
from tests.fakes.forge import ec_key, public, rsa_key, sign
from tests.fakes.provider import MISSING, Fault, MisbehavingProvider, broken_off, dripping, endless, says
from tests.unit.oidc.conftest import REDIRECT_URI, Trip


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_every_endpoint_comes_from_discovery(trip: Trip) -> None:
    """A-15, A-16: nothing is hard-wired, not even the keys' address."""
    base = trip.fake.issuer
    trip.fake.told.metadata = {"jwks_uri": base + "/jwks?run=7f3a", "token_endpoint": base + "/token?x=1"}
    await trip.provider.ping()
    assert trip.provider.metadata.token_endpoint == base + "/token?x=1"
    assert trip.provider.metadata.jwks_uri == base + "/jwks?run=7f3a"
    assert (await trip.sign_in()).claims.subject == "hd-1001"


async def test_before_discovery_there_is_no_metadata(trip: Trip) -> None:
    with pytest.raises(ProviderUnavailable):
        _ = trip.provider.metadata
    assert not trip.provider.ready


async def test_a_mismatching_issuer_keeps_the_provider_unavailable(trip: Trip) -> None:
    """A-17: no authorization request can be made of a document that is not believed."""
    trip.fake.told.metadata = {"issuer": "https://evil.example"}
    trip.provider.start()
    await until(lambda: trip.fake.count("openid-configuration") >= 2)
    with pytest.raises(ProviderUnavailable):
        _ = trip.provider.metadata
    assert "issuer" in (trip.provider.problem or "")
    assert trip.fake.count("jwks") == 0


async def test_a_provider_that_is_down_at_the_start_is_found_when_it_comes_back(trip: Trip) -> None:
    trip.fake.faults["openid-configuration"] = says("down", status=503)
    trip.provider.start()
    await until(lambda: trip.fake.count("openid-configuration") >= 3)
    assert not trip.provider.ready
    trip.fake.faults.clear()
    await until(lambda: trip.provider.ready)
    assert trip.provider.problem is None
    assert (await trip.sign_in()).claims.subject == "hd-1001"


async def test_a_provider_that_nobody_listens_for_is_unavailable() -> None:
    async with open_session() as http:
        provider = Provider(OpenID(authority_url="http://127.0.0.1:9", client_id="x"), http)
        with pytest.raises(ProviderUnavailable):
            await provider.ping()


async def test_an_outage_later_on_leaves_what_is_known(trip: Trip) -> None:
    await trip.provider.ping()
    trip.fake.faults["openid-configuration"] = says("down", status=500)
    with pytest.raises(ProviderUnavailable):
        await trip.provider.ping()
    assert trip.provider.ready
    assert (await trip.sign_in()).claims.subject == "hd-1001"


async def test_metadata_and_keys_are_fetched_again_on_their_schedule(trip: Trip) -> None:
    provider = trip.new_provider(refresh_interval=timedelta(milliseconds=10))
    provider.start()
    provider.start()
    await until(lambda: trip.fake.count("jwks") >= 3)
    await provider.close()
    asked = trip.fake.count("jwks")
    await asyncio.sleep(0.05)
    assert trip.fake.count("jwks") == asked


def rotate(fake: MisbehavingProvider, kid: str) -> None:
    fake.signer.key = rsa_key(kid)


async def test_keys_that_changed_between_two_logins_are_fetched_once(trip: Trip) -> None:
    """A-18."""
    await trip.sign_in()
    rotate(trip.fake, "two")
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    assert trip.fake.count("jwks") == 2


async def test_a_key_that_is_new_when_its_token_is_verified_is_fetched(trip: Trip) -> None:
    """A-19: the rotation happens between the authorization request and the token response."""
    code = await trip.code()
    rotate(trip.fake, "two")
    signed_in = await TokenClient(trip.provider, trip.openid).redeem(code, REDIRECT_URI)
    assert signed_in.claims.subject == "hd-1001"
    assert trip.fake.count("jwks") == 2


async def test_a_new_key_under_an_old_name_is_found_too(trip: Trip) -> None:
    """A-18: providers that rotate without a new kid."""
    await trip.sign_in()
    trip.fake.signer.key = rsa_key("two")
    trip.fake.told.jwks = public(rsa_key("two"), kid="one")
    trip.fake.sign = lambda claims: sign(claims, rsa_key("two"), kid="one")
    assert (await trip.sign_in()).claims.subject == "hd-1001"


async def test_a_second_rotation_within_the_window_is_found_at_once_too(trip: Trip) -> None:
    """A-19: a token from the token endpoint with an unknown key is worth a fetch, as long as fetches bring keys."""
    await trip.sign_in()
    for kid in ("two", "three", "four"):
        rotate(trip.fake, kid)
        assert (await trip.sign_in()).claims.subject == "hd-1001"
    assert trip.fake.count("jwks") == 4


async def test_a_key_that_the_provider_does_not_publish_is_asked_for_once_in_a_window(trip: Trip) -> None:
    """A-63: whoever sent its tokens."""
    await trip.sign_in()
    trip.fake.sign = lambda claims: sign(claims, rsa_key("two"), kid="two")
    for _ in range(5):
        with pytest.raises(IdTokenInvalid) as refused:
            await trip.sign_in()
        assert refused.value.reason == "key"
    assert trip.fake.count("jwks") == 2
    trip.fake.told.jwks = public(rsa_key("two"))
    trip.clock += 61
    assert (await trip.sign_in()).claims.subject == "hd-1001"


async def test_strangers_do_not_spend_the_fetch_of_a_sign_in(trip: Trip) -> None:
    """A-63: unknown keys and wrong signatures in logout tokens, just before the provider changes its key."""
    await trip.sign_in()
    rotate(trip.fake, "two")
    for n in range(10):
        assert await trip.provider.keys_for(f"stranger-{n}", "RS256") == ()
    rotate(trip.fake, "three")
    assert (await trip.sign_in()).claims.subject == "hd-1001"
    assert trip.fake.count("jwks") == 3


async def test_a_fetch_that_began_before_the_rotation_is_not_the_last_word(trip: Trip) -> None:
    """A-19: a stranger's fetch was under way; its answer does not have the new key yet."""
    await trip.provider.ping()
    before = public(rsa_key("one"))
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def old_answer(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await go_on.wait()
        return web.json_response(before)

    trip.fake.faults["jwks"] = old_answer
    stranger = asyncio.create_task(trip.provider.keys_for("stranger", "RS256"))
    await arrived.wait()
    rotate(trip.fake, "two")
    trip.fake.faults.clear()
    sign_in = asyncio.create_task(trip.provider.keys_for("two", "RS256", from_endpoint=True))
    await asyncio.sleep(0)
    go_on.set()
    assert len(await sign_in) == 1
    assert await stranger == ()


async def test_a_thousand_unknown_kids_cost_the_provider_one_request(trip: Trip) -> None:
    """A-63."""
    await trip.provider.ping()
    asked = trip.fake.count("jwks")
    results = await asyncio.gather(*(trip.provider.keys_for(f"stranger-{n}", "RS256") for n in range(1000)))
    assert not any(results)
    for n in range(1000):
        assert await trip.provider.keys_for(f"late-{n}", "RS256") == ()
    assert trip.fake.count("jwks") == asked + 1


async def test_an_unknown_kid_within_the_window_is_refused_without_waiting(trip: Trip) -> None:
    """A-63: also while the keys cannot be fetched at all."""
    await trip.provider.ping()
    trip.fault("jwks", dripping)
    with pytest.raises(ProviderUnavailable):
        await trip.provider.keys_for("stranger", "RS256")
    asked = trip.fake.count("jwks")
    assert await trip.provider.keys_for("stranger", "RS256") == ()
    assert trip.fake.count("jwks") == asked
    assert await trip.provider.keys_for("one", "RS256")


async def test_strangers_cannot_make_us_ask_for_keys_that_were_never_there(trip: Trip) -> None:
    """A-63: nothing was fetched yet, and the endpoint is broken."""
    trip.fake.faults["jwks"] = says("down", status=500)
    with pytest.raises(ProviderUnavailable):
        await trip.provider.ping()
    asked = trip.fake.count("jwks")
    for n in range(20):
        with pytest.raises(ProviderUnavailable):
            await trip.provider.keys_for(f"stranger-{n}", "RS256")
    assert trip.fake.count("jwks") == asked + 1


async def test_concurrent_callers_share_one_fetch_and_none_can_cancel_it(trip: Trip) -> None:
    await trip.provider.ping()
    rotate(trip.fake, "two")
    impatient = asyncio.create_task(trip.provider.keys_for("two", "RS256"))
    patient = [asyncio.create_task(trip.provider.keys_for("two", "RS256")) for _ in range(5)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert all(len(keys) == 1 for keys in await asyncio.gather(*patient))
    assert trip.fake.count("jwks") == 2


async def test_a_key_set_without_usable_keys_is_a_fault_and_the_old_ones_stay(trip: Trip) -> None:
    await trip.provider.ping()
    trip.fake.told.jwks = {"keys": [{"kty": "oct", "k": "AAAA"}]}
    with pytest.raises(ProviderFault):
        await trip.provider.ping()
    assert await trip.provider.keys_for("one", "RS256")


async def test_keys_without_a_kid_are_tried(trip: Trip) -> None:
    """A-06."""
    trip.fake.told.jwks = {
        "keys": [{k: v for k, v in key.items() if k != "kid"} for key in public(rsa_key(), ec_key())["keys"]]
    }
    assert (await trip.sign_in()).claims.subject == "hd-1001"


GZIPPED: dict[str, Any] = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "fault",
    [
        endless,
        dripping,
        broken_off,
        says("{}" + " " * 2_000_000),
        says('{"issuer": "x", "issuer": "y"}'),
        says("<html>", content_type="text/html"),
        says("", status=302, Location="https://evil.example/"),
        says("{}", **GZIPPED),
        says("", status=204),
    ],
)
@pytest.mark.parametrize("endpoint", ["openid-configuration", "jwks"])
async def test_an_answer_without_end_time_or_sense_is_given_up(trip: Trip, endpoint: str, fault: Fault) -> None:
    """A-65, A-69."""
    trip.fault(endpoint, fault)
    with pytest.raises((ProviderUnavailable, ProviderFault)):
        await trip.provider.ping()
    assert not trip.provider.ready


async def test_other_metadata_members_may_be_missing(trip: Trip) -> None:
    for member in ("userinfo_endpoint", "end_session_endpoint", "revocation_endpoint", "scopes_supported"):
        trip.fake.told.metadata[member] = MISSING
    signed_in = await trip.sign_in()
    assert signed_in.claims.subject == "hd-1001"
    assert "email" not in signed_in.claims.values
