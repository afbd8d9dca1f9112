"""An upstream connection that waits for one session's next request on one client connection."""

from collections.abc import AsyncIterator
from typing import cast

import pytest

from gateway.config.schema import App
from gateway.proxy.pool import Pool
from gateway.proxy.tie import Tie
from gateway.proxy.upstream import Reuse, UpstreamConnection
from gateway.sessions.cache import SessionCache
from tests.fakes.clock import SettableClock
from tests.fakes.waiting import eventually
from tests.unit.proxy.test_pool import listening


def no_abort() -> None:
    raise AssertionError("the client connection is idle: nothing aborts it")


@pytest.fixture
async def pool(clock: SettableClock) -> AsyncIterator[Pool]:
    async with listening() as there:
        app = App.model_validate({"hosts": ["portal.example.com"], "upstream": [there.url]})
        pool = Pool("portal", app, clock=clock.monotonic)
        yield pool
        pool.close()


async def tied(pool: Pool, clock: SettableClock, reuse: Reuse) -> tuple[Tie, UpstreamConnection]:
    connection = await pool.connect()
    connection.narrow(reuse)
    nothing = cast(SessionCache, None)  # no session is attached
    tie = Tie(connection, pool, no_abort, "key", nothing, clock.monotonic)
    tie.wait(None)
    return tie, connection


@pytest.mark.parametrize("repeatable", [True, False])
async def test_an_authenticated_connection_is_taken_however_long_it_waited(
    pool: Pool, clock: SettableClock, repeatable: bool
) -> None:
    """B-61: the third leg of a handshake goes over the connection of the second, though it is a POST and a person typed meanwhile."""
    tie, connection = await tied(pool, clock, Reuse.SESSION)
    clock.advance(100)
    assert tie.sweep(clock.monotonic())
    assert tie.take(repeatable=repeatable) is connection
    assert connection.used
    tie.end()


async def test_what_must_not_be_sent_twice_takes_no_other_connection_that_waited_for_long(
    pool: Pool, clock: SettableClock
) -> None:
    """B-18."""
    tie, connection = await tied(pool, clock, Reuse.SESSION_BRIEFLY)
    assert tie.take(repeatable=False) is connection
    tie.wait(None)
    clock.advance(2)
    assert tie.take(repeatable=False) is None
    assert not connection.alive


async def test_a_connection_that_may_bring_more_does_not_wait_for_long(pool: Pool, clock: SettableClock) -> None:
    """B-60."""
    tie, _ = await tied(pool, clock, Reuse.SESSION_BRIEFLY)
    assert tie.sweep(clock.monotonic())
    clock.advance(2)
    assert not tie.sweep(clock.monotonic())
    await eventually(lambda: pool.open == 0)


async def test_it_serves_the_same_key_at_the_same_app_and_nothing_that_is_dead(
    pool: Pool, clock: SettableClock
) -> None:
    """B-60, B-61."""
    tie, connection = await tied(pool, clock, Reuse.SESSION)
    other = Pool("other", App.model_validate({"hosts": ["other.example.com"], "upstream": ["http://127.0.0.1:9"]}))
    assert tie.is_for(pool, "key")
    assert not any((tie.is_for(pool, "another"), tie.is_for(pool, None), tie.is_for(other, "key")))
    connection.abort()
    assert tie.take(repeatable=True) is None
    assert not tie.sweep(clock.monotonic())


async def test_a_connection_serves_no_more_than_it_did_before(pool: Pool) -> None:
    """B-60, B-61: an authenticated one that may bring more stays authenticated, and one that is spent stays so."""
    connection = await pool.connect()
    assert connection.reuse is Reuse.ANY
    for asked, left in (
        (Reuse.SESSION_BRIEFLY, Reuse.SESSION_BRIEFLY), (Reuse.ANY, Reuse.SESSION_BRIEFLY), (Reuse.SESSION, Reuse.SESSION), (Reuse.SESSION_BRIEFLY, Reuse.SESSION),
        (Reuse.NEVER, Reuse.NEVER), (Reuse.SESSION, Reuse.NEVER),
    ):  # fmt: skip
        connection.narrow(asked)
        assert connection.reuse is left
    connection.abort()
