"""Workers of two releases share what is stored: what a release left is read by the next one, and nothing that is known gets lost."""

import base64
import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields, replace
from redis.asyncio import Redis

from gateway.break_glass.store import Openings
from gateway.directory.account_links import AccountLinks
from gateway.gate.site import Site
from gateway.hand_off.cookie_seals import Seals
from gateway.hand_off.records import Bearer, HandOffRecord, HandOffRecords
from gateway.identity.assertion import AssertionSigner
from gateway.identity.claims import Identity
from gateway.oidc.authorization import ATTEMPT_LIFETIME
from gateway.proxy.identity_fields import IdentityLines, specimen
from gateway.redis_client.once import Once
from gateway.sessions.cache import SessionCache
from gateway.sessions.cookie import SessionCookie
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.live import live_from
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.long_links import LongLinks
from gateway.sessions.pending_sign_in import PendingSignIn, PendingSignIns
from gateway.sessions.records import Stored
from gateway.sessions.scan import SessionFilter, SessionScan
from gateway.sessions.session import Session, decode, encode
from gateway.sessions.session_limit import SessionLimit
from gateway.sessions.shared_headers import SharedHeaders
from gateway.sessions.store import SessionStore
from gateway.sign_in.login_attempts import LoginAttempts
from gateway.web.sign_out import AfterSignOut
from tests.fakes.redis_commands import stored
from tests.fakes.waiting import eventually
from tests.records import written
from tests.unit.proxy.test_identity_fields import site
from tests.unit.redis_client.test_pipelined_reader import ShortWay, reading
from tests.unit.sessions.made import APP, HOST, KEY, a_person, a_session, a_store, push_connections, with_every_field

BARE = {"id_token": None, "access_token": None, "refresh_token": None, "dpop_key": None}
RELEASES = sorted(Path(written.__file__).parent.glob("release-*.json"))
HOUR = timedelta(hours=1)


# --- a field that one of two releases does not know -------------------------------------------------------------------


def test_the_session_that_is_stored_here_has_a_value_in_every_field() -> None:
    """Who adds a field to Session or Identity finds it in all the tests below."""
    session = with_every_field()
    for struct in (session, session.identity):
        for field in fields(type(struct)):
            assert getattr(struct, field.name) not in (None, field.default, "", (), {}), field.name


def test_no_field_of_a_session_is_lost_when_it_is_stored() -> None:
    """C-70: with its tokens, and without them as memory has it."""
    session = with_every_field()
    assert decode(encode(session)) == session
    assert decode(encode(session), tokens=False) == replace(session, **BARE)


async def test_no_field_of_a_session_is_lost_on_any_way_to_it(redis: Redis, prefix: str, valkey: str) -> None:
    """C-70: the library's, the short one, the cache's, the operator's; after a change of keys; while a sign-in waits for its account."""
    session, old_key = with_every_field(), new_key()
    old = a_store(redis, prefix, keys=(old_key,))
    key = old.key_of(await old.issue(session))
    ring = (KEY, old_key)
    async with reading(valkey) as reader:
        store = SessionStore(redis, KeyRing(ring), prefix, reader=reader)
        assert await store.reseal([key]) == 1
        by_library, short = await store.fetch(key, HOST, APP), await ShortWay(store).fetch(key, HOST, APP)
        assert by_library is not None
        assert by_library.session == session
        assert short is not None
        assert short.session == replace(session, **BARE)
        cache = SessionCache(store, push_connections(valkey), time.monotonic)
        live = await cache.load(key, HOST, APP)
        assert live is not None
        assert live.session == replace(session, **BARE)
        await cache.close()
        assert await store.rewrite(key, by_library, replace(session, access_token="another"))
        again = await store.fetch(key, HOST, APP)
        assert again is not None
        assert again.session == replace(session, access_token="another")
        batches = [batch async for batch in SessionScan(redis, KeyRing(ring), prefix).batches(SessionFilter())]
        assert [entry.session for batch in batches for entry in batch] == [again.session]
        waiting = PendingSignIn(session=session, claims={}, issued_at=1, return_to="/", began=session.created_at)
        pending = PendingSignIns(redis, prefix, KeyRing(ring))
        found = await pending.find(await pending.keep(waiting), HOST)
        assert found is not None
        assert found.session == session
        assert await store.revoke(key) == again.session


def test_directory_facts_are_the_only_thing_about_a_person_that_they_replace() -> None:
    """C-70."""
    assert specimen().with_directory({"id": "2"}) == replace(specimen(), directory={"id": "2"})


def of_a_later_release(session: Session) -> bytes:
    """As a release writes it that knows more about sessions and people than this one."""
    document = json.loads(encode(session))
    document["identity"] |= {"department": "tides", "assurance": {"level": [1, 2]}}
    return json.dumps({**document, "device": "d-1", "limits": {"a": [None, 1.5, True]}}).encode()


def test_a_session_of_a_later_release_is_a_session(prefix: str) -> None:
    """C-70: or everybody is signed out on each worker that is exchanged last."""
    session = a_session()
    assert decode(of_a_later_release(session)) == session
    assert decode(of_a_later_release(session), tokens=False) == replace(session, **BARE)


async def test_what_a_later_release_wrote_survives_a_change_of_keys_by_this_one(redis: Redis, prefix: str) -> None:
    """C-70: nobody decided anything about the session, so nothing of it may change."""
    session, old_key = a_session(), new_key()
    old = a_store(redis, prefix, keys=(old_key,))
    key = old.key_of(await old.issue(session))
    name, ring = f"{prefix}s:{key}", KeyRing([KEY, old_key])
    context = ("1", name, HOST, APP)
    beginning = (await stored(redis, name))[: len("DW1") + 2 + len(HOST) + 2 + len(APP)]
    sealed = KeyRing([old_key]).purpose("session").seal(of_a_later_release(session), context)
    await redis.set(name, beginning + sealed, keepttl=True)
    assert await a_store(redis, prefix, keys=(KEY, old_key)).reseal([key]) == 1
    record = await stored(redis, name)
    assert ring.purpose("session").open(record[len(beginning) :], context) == of_a_later_release(session)


def test_a_field_that_says_nothing_is_not_written() -> None:
    """C-70: an earlier release that refuses what it does not know still reads everybody of whom nothing new is known."""
    document = json.loads(encode(a_session(identity=Identity(issuer="i", subject="s"))))
    assert document["identity"] == {"issuer": "i", "subject": "s"}


# --- what releases left -----------------------------------------------------------------------------------------------


class Left:
    """What a release wrote, put back where it was."""

    def __init__(self, redis: Redis, document: dict[str, Any]) -> None:
        self.redis = redis
        self.ring = KeyRing(document["keys"])
        self.prefix: str = document["prefix"]
        self.browser: dict[str, Any] = document["browser"]
        self.signing_keys: list[str] = document["signing_keys"]
        self.store = SessionStore(redis, self.ring, self.prefix, lambda: written.NOW)

    def key(self, which: str) -> str:
        return self.store.key_of(self.browser["tokens"][which])


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
async def left(request: pytest.FixtureRequest, redis: Redis) -> AsyncIterator[Left]:
    document = json.loads(request.param.read_text())
    for name, value in document["redis"].items():
        if "sorted_set" in value:
            await redis.zadd(name, value["sorted_set"])
            await redis.pexpire(name, value["milliseconds"])
        else:
            await redis.set(name, base64.b64decode(value["text"]), px=value["milliseconds"])
    yield Left(redis, document)
    async for name in redis.scan_iter(match=document["prefix"] + "*", count=1000):
        await redis.delete(name)


async def test_sessions_of_an_earlier_release_go_on(left: Left) -> None:
    """C-70: whatever is known of them, by whichever key they were sealed."""
    for which, session in (("full", written.FULL), ("bare", written.BARE), ("old_key", written.FULL)):
        stored = await left.store.fetch(left.key(which), written.HOST, written.APP)
        assert stored is not None, which
        assert stored.session == session
        assert stored.old_key == (which == "old_key")
    cookie = SessionCookie(secure=True)
    assert cookie.find([left.browser["session"].encode()]) == left.browser["tokens"]["full"]


async def test_sessions_of_an_earlier_release_are_found_by_person_by_sign_in_and_by_place(left: Left) -> None:
    """C-70, C-44."""
    who = written.FULL.identity
    places = SessionLimit(left.redis, left.ring, left.prefix, lambda: written.NOW)
    new = left.store.key_of(await left.store.issue(replace(written.FULL, provider_sid="another")))
    ending = await places.take(new, written.FULL, 1, refuse=False)
    assert ending is not None
    assert left.key("full") in ending
    assert len(await left.store.revoke_provider_session(who.issuer, "provider-sid-1")) == 2
    assert len(await left.store.revoke_person(who.issuer, "sub-2")) == 1
    for which in ("full", "bare", "old_key"):
        assert await left.store.fetch(left.key(which), written.HOST, written.APP) is None


async def test_a_sign_in_that_an_earlier_release_began_is_finished_once(left: Left) -> None:
    """C-70, A-54."""
    route = release_site().route
    links = LongLinks(left.redis, left.prefix, left.ring, ATTEMPT_LIFETIME, lambda: 0.0)
    attempts = LoginAttempts(left.ring, links, secrets.token_bytes)
    kept, state = left.browser["attempt"].encode(), left.browser.get("state", written.ATTEMPT.state)
    found = await attempts.find(state, [kept], route, written.NOW)
    assert found is not None
    theirs = written.ATTEMPT
    assert dataclasses.replace(found, state=theirs.state, nonce=theirs.nonce, verifier=theirs.verifier) == theirs
    assert await attempts.find(state, [], route, written.NOW) is None
    assert await attempts.find(state, [kept], route, written.NOW + timedelta(minutes=16)) is None
    (removed,) = attempts.drop_all([kept], route)
    assert removed.partition("=")[0] == kept.decode().partition("=")[0]
    assert not await left.store.consume(f"login:{written.ATTEMPT.id}", HOUR)
    pending = await PendingSignIns(left.redis, left.prefix, left.ring).find(
        left.browser["tokens"]["pending"], written.HOST
    )
    assert pending is not None
    assert (pending.session, pending.return_to, pending.began) == (written.FULL, "/pages", written.NOW)
    after = AfterSignOut(left.ring).open(left.browser["after_sign_out"], written.HOST)
    assert after == "https://portal.example.com/bye"


async def test_what_an_earlier_release_did_once_is_not_done_again(left: Left) -> None:
    """C-70, A-31."""
    marks = Once(left.redis, left.prefix)
    assert await marks.begin("begun", HOUR)
    assert not await marks.begin("done", HOUR)


async def test_a_sign_in_whose_end_an_earlier_release_was_told_of_is_over(left: Left) -> None:
    """C-70, A-23."""
    endings: Any = LogoutMarkers(left.redis, left.ring, left.prefix)
    issued_at = int(written.NOW.timestamp())
    for subject, sid, over in (
        ("anybody", "ended-sid", True),
        ("ended-sub", None, True),
        ("ended-person", "any-sid", True),
        ("anybody", "another-sid", False),
    ):
        session = a_session(identity=a_person(subject), provider_sid=sid)
        assert await endings.covers(session, issued_at - 30) == over
        assert not await endings.covers(session, issued_at + 30)


async def test_what_an_earlier_release_opened_by_break_glass_is_open(left: Left) -> None:
    """C-70."""
    openings = Openings(left.redis, left.ring, left.prefix)
    found = await openings.read(written.APP, written.NOW)
    assert found is not None
    assert found[0] == written.OPENING
    assert await openings.forwarders(written.NOW) == ["192.0.2.99"]


async def test_an_upstreams_session_that_an_earlier_release_opened_is_still_its_persons(left: Left) -> None:
    """C-70, C-44."""
    live = live_from(left.key("full"), Stored(written.FULL, HOUR, HOUR), 0.0)
    now = written.NOW.timestamp()
    assert await HandOffRecords(left.redis, left.ring, left.prefix, lambda: written.NOW).read(live) == HandOffRecord(
        began=(now,), ended=now, bearer=Bearer(token="bearer-token", until=now + 3600), links=("0" * 64,),
        paths={"upstream": "/app"},
    )  # fmt: skip
    seals = Seals(left.ring, written.APP, ["upstream"])
    assert seals.open(written.FULL.sid, b"upstream", left.browser["sealed_cookie"].encode()) == b"value"


async def test_an_account_that_an_earlier_release_linked_is_its_persons(left: Left) -> None:
    """C-70, A-59."""
    links = AccountLinks(left.redis, left.prefix, left.ring, written.REALM)
    assert await links.read(f"{written.ISSUER}|sub-1") == "87654321"
    assert not await links.allows(f"{written.ISSUER}|sub-2", "87654321")


async def test_an_upstream_that_knows_the_signing_keys_knows_them_still(left: Left) -> None:
    """C-70."""
    assert list(AssertionSigner(left.ring.raw).kids) == left.signing_keys


# --- identity lines ---------------------------------------------------------------------------------------------------


def release_site() -> Site:
    return site(hosts=[written.HOST], headers=dict(written.HEADERS))


async def test_identity_lines_of_an_earlier_release_are_nobodys(left: Left, valkey: str) -> None:
    """C-71: it may have written people in another way. What this release leaves under the same record is taken."""
    key = left.key("full")
    async with reading(valkey) as reader:
        store = SessionStore(left.redis, left.ring, left.prefix, lambda: written.NOW, reader=reader)
        signer = AssertionSigner(left.ring.raw)

        def lines() -> IdentityLines:
            return IdentityLines(
                signer, lambda: 0.0, lambda: written.NOW, SharedHeaders(left.ring, left.prefix, reader)
            )

        async def renewed() -> bytes:
            stored = await ShortWay(store).fetch(key, written.HOST, written.APP)
            assert stored is not None
            assert stored.shared
            live = live_from(key, stored, 0.0)
            lines().renew(live, release_site())
            return live.assertion

        beside = f"{left.prefix}a:{key}"
        theirs = await stored(left.redis, beside)
        ours = await renewed()
        await eventually(lambda: _changed(left.redis, beside, theirs))
        assert await renewed() == ours


async def _changed(redis: Redis, name: str, before: bytes) -> bool:
    return bool(await redis.get(name) != before)
