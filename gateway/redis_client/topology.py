"""Which primary holds which key: the primaries of a Sentinel set or a cluster at one moment.

Pure. A slot is one of the 16384 parts of a cluster's keys (CRC16 of the key, or of its hash tag, the part in its first braces);
a Sentinel set is a cluster whose one primary has them all. Replicas are counted, never read.
"""

from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.config.redis_url import Endpoint

SLOTS: Final = 16384

Range = tuple[int, int, Endpoint]  # first slot, last slot, the primary


@dataclass(frozen=True, slots=True)
class Topology:
    """`ranges` are sorted and do not overlap. `replicas` counts those that are believed to be in touch, by primary."""

    ranges: tuple[Range, ...]
    replicas: Mapping[Endpoint, int] = field(default_factory=dict, compare=False)

    @property
    def primaries(self) -> tuple[Endpoint, ...]:
        return tuple(dict.fromkeys(endpoint for _, _, endpoint in self.ranges))

    def owner(self, slot: int) -> Endpoint | None:
        """The primary that holds a slot; None: no primary does."""
        place = bisect_right(self.ranges, slot, key=lambda entry: entry[0]) - 1
        if place < 0 or slot > self.ranges[place][1]:
            return None
        return self.ranges[place][2]


def slot_of(key: bytes) -> int:
    """The slot of a key (Redis Cluster specification, "Key distribution model" and "Hash tags")."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def one_primary(endpoint: Endpoint, replicas: int) -> Topology:
    """A Sentinel set: one primary holds all slots."""
    return Topology(((0, SLOTS - 1, endpoint),), {endpoint: replicas})


def parse_cluster_slots(reply: Any, queried: Endpoint) -> Topology:
    """The reply to CLUSTER SLOTS; a node that does not know its own address is the one that was `queried`. Raises ValueError."""
    try:
        entries = sorted((_entry(entry, queried) for entry in reply), key=lambda entry: entry[0])
    except (TypeError, IndexError, AttributeError) as error:
        raise ValueError("not a reply to CLUSTER SLOTS") from error
    ranges: list[Range] = []
    replicas: dict[Endpoint, int] = {}
    for first, last, endpoint, count in entries:
        if ranges and ranges[-1][1] == first - 1 and ranges[-1][2] == endpoint:
            first, _, _ = ranges.pop()  # some servers list neighbouring ranges apart, others as one
        ranges.append((first, last, endpoint))
        replicas[endpoint] = count
    return Topology(tuple(ranges), replicas)


def _entry(entry: Sequence[Any], queried: Endpoint) -> tuple[int, int, Endpoint, int]:
    first, last, primary, *replicas = entry
    return int(first), int(last), _endpoint(primary, queried), len(replicas)


def _endpoint(node: Sequence[Any], queried: Endpoint) -> Endpoint:
    host = node[0].decode() if isinstance(node[0], bytes) else node[0]
    return (queried[0] if host in (None, "", "?") else str(host)), int(node[1])
