"""Which server holds which key, and what a fleet knows of commands."""

import pytest
from redis.crc import key_slot

from gateway.redis_client.command_keys import key_of, writes
from gateway.redis_client.topology import Topology, one_primary, parse_cluster_slots, slot_of

A, B = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


@pytest.mark.parametrize(
    "key", [b"", b"123456789", b"dw:s:ab", b"{a}b", b"x{a}", b"{}a", b"a{", b"{a", b"a}{b}", b"{{a}}"]
)
def test_a_key_is_in_the_slot_that_the_library_computes(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def test_a_slot_has_one_owner_or_none() -> None:
    topology = Topology(((0, 10, A), (20, 16383, B)))
    assert [topology.owner(slot) for slot in (0, 10, 11, 19, 20, 16383)] == [A, A, None, None, B, B]
    assert topology.primaries == (A, B)
    assert one_primary(A, 2).owner(16383) == A


def test_cluster_slots_are_read_whatever_their_order_and_cuts() -> None:
    reply = [
        [20, 16383, [b"10.0.0.2", 6379, b"id"], [b"10.0.0.3", 6379, b"id"]],
        [0, 4, [b"", 6379, b"id"]],
        [5, 10, [b"10.0.0.1", 6379, b"id", []]],
    ]
    topology = parse_cluster_slots(reply, A)
    assert topology.ranges == ((0, 10, A), (20, 16383, B))
    assert topology.replicas == {A: 0, B: 1}


@pytest.mark.parametrize("reply", [5, [5], [[0, 1]], [[0, 1, []]], [["x", 1, [b"h", 1]]], None])
def test_any_other_reply_is_refused(reply: object) -> None:
    with pytest.raises(ValueError):
        parse_cluster_slots(reply, A)


def test_a_command_names_one_key() -> None:
    assert key_of(("SET", "k", b"v")) == b"k"
    assert key_of(("EVAL", "return 1", 1, "k", "x")) == b"k"
    assert writes(("EVAL", "return 1", 1, "k"))
    assert not writes(("GETRANGE", "k", 0, 1))
    assert not writes(("PEXPIRE", "k", 5))


@pytest.mark.parametrize(
    "args",
    [("DEL", "a", "b"), ("EVAL", "", 2, "a", "b"), ("EVAL", "", 0), ("PING",), ("SCAN", 0), ("RENAME", "a", "b")],
)
def test_a_command_without_one_key_is_refused(args: tuple[object, ...]) -> None:
    with pytest.raises(ValueError):
        key_of(args)
