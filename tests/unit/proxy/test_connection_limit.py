"""Counting who is connected."""

from gateway.config.schema import Limits
from gateway.proxy.connection_limit import ConnectionLimiter
from tests.fakes.clock import SettableClock


def crowd(connections: int = 100, connections_per_address: int = 2) -> ConnectionLimiter:
    limits = Limits(connections=connections, connections_per_address=connections_per_address)
    return ConnectionLimiter(limits, SettableClock().monotonic)


def test_each_address_has_its_own_count() -> None:
    """D-20."""
    people = crowd()
    assert [people.enter("192.0.2.1", trusted=False) for _ in range(3)] == [0, 0, 429]
    assert people.enter("192.0.2.2", trusted=False) == 0
    people.leave("192.0.2.1", trusted=False)
    assert people.enter("192.0.2.1", trusted=False) == 0
    assert people.total == 3


def test_one_customer_is_one_network_of_ipv6_addresses() -> None:
    """D-20: 2^64 addresses must not be 2^64 allowances."""
    people = crowd()
    assert people.enter("2001:db8:1:2::1", trusted=False) == 0
    assert people.enter("2001:db8:1:2:ffff::9", trusted=False) == 0
    assert people.enter("2001:db8:1:2::3", trusted=False) == 429
    assert people.enter("2001:db8:1:3::1", trusted=False) == 0


def test_an_ipv4_mapped_address_counts_as_its_ipv4_form() -> None:
    """C-34."""
    people = crowd()
    assert people.enter("::ffff:192.0.2.1", trusted=False) == 0
    assert people.enter("192.0.2.1", trusted=False) == 0
    assert people.enter("::ffff:192.0.2.1", trusted=False) == 429


def test_a_trusted_proxy_counts_in_all_only() -> None:
    people = crowd(connections=5)
    assert [people.enter("10.0.0.1", trusted=True) for _ in range(6)] == [0, 0, 0, 0, 0, 503]
    for _ in range(5):
        people.leave("10.0.0.1", trusted=True)
    assert people.total == 0


def test_an_announced_client_takes_its_balancers_place() -> None:
    people = crowd(connections=2)
    for _ in range(2):
        assert people.enter("10.0.0.1", trusted=True) == 0
        assert people.reassign("192.0.2.1", trusted=False) == 0
    assert people.total == 2
    people.leave("192.0.2.1", trusted=False)
    assert people.enter("10.0.0.1", trusted=True) == 0
    assert people.reassign("192.0.2.1", trusted=False) == 0


def test_an_announced_client_who_is_one_too_many_leaves_the_count_as_it_was() -> None:
    people = crowd(connections_per_address=1)
    assert people.enter("192.0.2.1", trusted=False) == 0
    assert people.enter("10.0.0.1", trusted=True) == 0
    assert people.reassign("192.0.2.1", trusted=False) == 429
    assert people.total == 2
    people.leave("10.0.0.1", trusted=True)
    people.leave("192.0.2.1", trusted=False)
    assert people.total == 0
    assert people.enter("192.0.2.1", trusted=False) == 0
