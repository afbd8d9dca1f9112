"""Which of the lines that another worker left are taken: those of the same configuration, keys and time."""

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway import __version__
from gateway.config.loader import build
from gateway.gate.site import Site, app_routes
from gateway.identity.assertion import Assertion, AssertionSigner
from gateway.identity.claims import Identity
from gateway.proxy.identity_fields import IdentityLines
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession, live_from
from gateway.sessions.records import Stored
from gateway.sessions.session import Session
from gateway.sessions.shared_headers import SharedHeaders
from tests.fakes.clock import SettableClock
from tests.fakes.waiting import eventually
from tests.unit.redis_client.test_pipelined_reader import read, reading
from tests.unit.sessions.made import KEY, a_client, a_person, a_session

OTHER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
NAME = "doorward:a:k"
RECORD = b"r" * 16


@pytest.fixture
async def reader(own_valkey: EmbeddedValkey) -> AsyncIterator[RecordReader]:
    async with reading(own_valkey.url) as connected:
        yield connected


@pytest.fixture
async def redis(own_valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with a_client(own_valkey.url) as client:
        await client.delete(NAME)
        yield client


def site(**app: Any) -> Site:
    keys = {"hosts": ["portal.example.com"], "upstream": "http://127.0.0.1:9", **app}
    config = build({"keys": [KEY], "openid": {"enabled": False}, "apps": {"portal": keys}})
    return Site(app_routes(config)[0], config)


class Office:
    """A worker, as far as this goes."""

    def __init__(self, reader: RecordReader | None, clock: SettableClock, *keys: str) -> None:
        ring = KeyRing(keys or (KEY,))
        shared = SharedHeaders(ring, "doorward:", reader)
        self.lines = IdentityLines(AssertionSigner(ring.raw), clock.monotonic, clock.now, shared)

    def written(self, session: Session, at: Site, shared: bytes = b"", record_id: bytes = RECORD) -> LiveSession:
        """What this worker makes of a session that it just read, with what lay beside it."""
        hour = timedelta(hours=1)
        live = live_from("k", Stored(session, hour, hour, record_id=record_id, shared=shared), 0.0)
        self.lines.renew(live, at)
        assert live.shared == b""
        return live


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


async def left(redis: Redis) -> bytes:
    value = await eventually(lambda: redis.get(NAME))
    assert isinstance(value, bytes)
    return value


async def test_another_worker_takes_the_lines_and_lets_them_go_in_time(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    session = a_session()
    one = Office(reader, clock).written(session, site())
    shared = await left(redis)
    clock.advance(100)
    other = Office(reader, clock).written(session, site(), shared)
    assert other.assertion == one.assertion
    assert other.assertion_until == pytest.approx(one.assertion_until, abs=1)
    assert other.assertion_until <= one.assertion_until


async def test_lines_with_little_time_left_are_written_anew(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    session = a_session()
    one = Office(reader, clock).written(session, site())
    shared = await left(redis)
    clock.advance(241)
    other = Office(reader, clock).written(session, site(), shared)
    assert other.assertion != one.assertion
    assert other.assertion_until == clock.monotonic() + 240


async def test_lines_from_a_clock_that_runs_ahead_are_not_believed_for_longer(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    session = a_session()
    clock.advance(3600)
    one = Office(reader, clock).written(session, site())
    shared = await left(redis)
    clock.set_wall_clock_by(-3600)
    assert Office(reader, clock).written(session, site(), shared).assertion != one.assertion


@pytest.mark.parametrize(
    "otherwise",
    [
        {"headers": {"X-Customer": "{email}"}},
        {"hosts": ["members.example.com"]},
    ],
)
async def test_lines_of_another_configuration_are_not_taken(
    reader: RecordReader, redis: Redis, clock: SettableClock, otherwise: dict[str, Any]
) -> None:
    session = a_session()
    one = Office(reader, clock).written(session, site())
    shared = await left(redis)
    other = Office(reader, clock).written(session, site(**otherwise), shared)
    assert other.assertion != one.assertion
    assert (b"X-Customer" in other.assertion) == ("headers" in otherwise)


async def test_lines_that_another_key_signed_are_not_taken(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    """The assertion's beginning names its key: what goes on behind it must be of the same one."""
    session = a_session()
    one = Office(reader, clock, KEY, OTHER_KEY).written(session, site())
    shared = await left(redis)
    other = Office(reader, clock, OTHER_KEY, KEY).written(session, site(), shared)
    assert other.assertion != one.assertion


class LaterSigner(AssertionSigner):
    """Of a release that says something else about people in its assertions."""

    def sign(self, identity: Identity, **facts: Any) -> Assertion:
        return super().sign(replace(identity, name=f"{identity.name} of the tides"), **facts)


async def test_lines_of_a_release_that_writes_people_otherwise_are_not_taken(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    """C-71: the label is made of what is written, so nobody has to think of changing it."""
    session = a_session()
    one = Office(reader, clock).written(session, site())
    shared = await left(redis)
    shared_lines = SharedHeaders(KeyRing([KEY]), "doorward:", reader)
    for signer, release in ((LaterSigner, __version__), (AssertionSigner, "99.0.0")):
        later = IdentityLines(signer(KeyRing([KEY]).raw), clock.monotonic, clock.now, shared_lines, release)
        hour = timedelta(hours=1)
        live = live_from("k", Stored(session, hour, hour, record_id=RECORD, shared=shared), 0.0)
        later.renew(live, site())
        assert live.assertion != one.assertion


class OtherAddresses(AssertionSigner):
    """Of a release that writes addresses otherwise."""

    def sign(self, identity: Identity, **facts: Any) -> Assertion:
        return super().sign(replace(identity, email=identity.email and f"mailto:{identity.email}"), **facts)


async def test_lines_of_a_release_that_writes_addresses_otherwise_are_not_taken(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    """C-71: the label knows a person whose address is told, and one whose address is not."""
    one = Office(reader, clock).written(a_session(), site())
    shared = await left(redis)
    other = IdentityLines(
        OtherAddresses(KeyRing([KEY]).raw),
        clock.monotonic,
        clock.now,
        SharedHeaders(KeyRing([KEY]), "doorward:", reader),
    )
    hour = timedelta(hours=1)
    live = live_from("k", Stored(a_session(), hour, hour, record_id=RECORD, shared=shared), 0.0)
    other.renew(live, site())
    assert live.assertion != one.assertion


async def test_lines_of_another_record_are_not_taken(reader: RecordReader, redis: Redis, clock: SettableClock) -> None:
    """C-08, C-31."""
    session = a_session()
    one = Office(reader, clock).written(session, site())
    shared = await left(redis)
    assert Office(reader, clock).written(session, site(), shared).assertion == one.assertion
    assert Office(reader, clock).written(session, site(), shared, b"s" * 16).assertion != one.assertion


async def test_lines_too_long_for_their_place_are_not_left(
    reader: RecordReader, redis: Redis, clock: SettableClock
) -> None:
    many = tuple(f"group-{number}" for number in range(900))
    Office(reader, clock).written(a_session(identity=a_person(groups=many)), site(identity_headers_limit="32KiB"))
    assert await read(reader, b"nothing", NAME.encode()) == (b"", -2, b"")
    Office(reader, clock).written(a_session(), site())
    assert await left(redis)


async def test_without_a_short_way_to_redis_everything_is_written_here(clock: SettableClock) -> None:
    assert Office(None, clock).written(a_session(), site()).assertion


async def test_what_is_left_out_for_its_length_is_logged_once_an_hour(
    clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    many = a_session(identity=a_person(groups=tuple(f"group-{number}" for number in range(500))))
    office, portal = Office(None, clock), site()
    for _ in range(3):
        office.written(many, portal)
        clock.advance(1700)
    assert [record.getMessage() for record in caplog.records] == [
        "apps.portal: what names a person is too long, so it gets the identity headers without X-Forwarded-Groups "
        "(identity_headers_limit) and the assertion without groups (its limit is 4096 bytes): guides/groups.md"
    ]
    office.written(many, portal)
    assert len(caplog.records) == 2


async def test_an_app_that_wants_no_groups_in_its_assertion_gets_them_in_a_field(clock: SettableClock) -> None:
    person = a_session(identity=a_person(groups=("a", "b")))
    for wanted in (True, False):
        lines = Office(None, clock).written(person, site(assertion={"groups": wanted})).assertion
        payload = lines.partition(b".")[0]
        assert (b'"groups":["a","b"]' in urlsafe_b64decode(payload + b"==")) is wanted
        assert b"\r\nX-Forwarded-Groups: a,b\r\n" in lines
