"""Several servers that answer as one: a Sentinel set, whose primary changes, or a cluster, whose keys are spread and wander.

A `RoutedClient` takes the commands that a client of one server takes, as long as each names one key, sends each to the primary that
holds it, and follows it when it moved. Pipelines are split by server: no order holds between different keys. What is written is
answered only after the replicas that are in touch have it too (WAIT), so whoever of them is promoted knows of it. A write that none
of them confirms in time was taken by a primary that may be cut off: it goes to whoever is primary now, or fails.

Not redis-py's own cluster client: that sends ASKING down another connection than the command it is meant for, and closes
connections under those who read them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.config.redis_url import Endpoint
from gateway.redis_client.command_keys import Command, key_of, writes
from gateway.redis_client.connection_factory import ConnectionFactory
from gateway.redis_client.topology import Topology, slot_of

_log = logging.getLogger("doorward.sessions")

_PAUSES: Final = (0.0, 0.02, 0.1, 0.3)  # before each attempt at a command, in seconds
_CONFIRM_MILLISECONDS: Final = 500
_ANEW: Final = (MovedError, TryAgainError, ClusterDownError, ReadOnlyError, BusyLoadingError, RedisConnectionError)


class Unconfirmed(RedisConnectionError):
    """A primary took a write, and no replica of those that were in touch has it."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__("no replica confirmed the write")
        self.endpoint = endpoint


class Discovery(Protocol):
    async def discover(self, known: Topology | None) -> Topology: ...
    async def aclose(self) -> None: ...


class RoutedClient(Redis):
    """`discovery` says who is primary. `pool_size` bounds the connections to each server."""

    def __init__(self, links: ConnectionFactory, discovery: Discovery, pool_size: int) -> None:
        self.connection = None  # the library's destructor looks for one
        self.links = links
        self.unconfirmed = 0  # writes that not all replicas in touch took in time
        self._discovery = discovery
        self._pool_size = pool_size
        self._topology: Topology | None = None
        self._doubtful = False
        self._guests: dict[Endpoint, None] = {}  # nodes that take keys over and have no slot of their own yet
        self._nodes: dict[Endpoint, Redis] = {}
        self._looking: asyncio.Task[Topology] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._hearers: list[Callable[[], None]] = []

    def on_change(self, hear: Callable[[], None]) -> None:
        """Have `hear()` called when another server than before may answer for a key, before any is asked."""
        self._hearers.append(hear)

    def answering(self) -> tuple[Endpoint, ...]:
        """The servers that answer for keys at the moment."""
        primaries = self._topology.primaries if self._topology is not None else ()
        return tuple(dict.fromkeys((*primaries, *self._guests)))

    def owner(self, key: bytes) -> Endpoint | None:
        """The server that answers for a key, as far as is known."""
        return None if self._topology is None else self._topology.owner(slot_of(key))

    async def topology(self) -> Topology:
        """Who is primary, as far as is known and not in doubt. Raises RedisError."""
        return await self.look() if self._topology is None or self._doubtful else self._topology

    async def look(self) -> Topology:
        """Ask anew who is primary; those who ask at once share one question. Raises RedisError."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        return await asyncio.shield(self._looking)

    async def hang_up(self) -> None:
        """Close all connections and ask anew who is primary. Raises RedisError."""
        for client in self._nodes.values():
            await client.connection_pool.disconnect()
        self._doubtful = True

    async def nodes(self) -> list[Redis]:
        """A client of each primary: for what is asked of all of them, as SCAN. Raises RedisError."""
        return [self._node(endpoint) for endpoint in (await self.topology()).primaries]

    # --- what a client of one server has ------------------------------------------------------------------------------

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Raises RedisError."""
        (reply,) = await self.run([(args, options)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "FleetPipeline":
        if transaction:
            raise ValueError("keys of a fleet are in different places: there is no transaction over them")
        return FleetPipeline(self)

    async def ping(self, **_: Any) -> bool:
        """All primaries answer. Raises RedisError."""
        try:
            for node in await self.nodes():
                await node.ping()
        except RedisError:
            self._doubtful = True
            raise
        return True

    async def scan_iter(  # type: ignore[override]
        self, match: Any = None, count: int | None = None, _type: str | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """All primaries' keys; one that is just moving may come twice. Raises RedisError."""
        for node in await self.nodes():
            async for key in node.scan_iter(match=match, count=count, _type=_type, **options):
                yield key

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._discovery.aclose()
        for client in self._nodes.values():
            await client.aclose()
        self._nodes.clear()
        await asyncio.gather(*self._closing)

    # --- routing ------------------------------------------------------------------------------------------------------

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in the order of the commands; what failed is there as an exception. Raises ValueError for keyless ones."""
        slots = [slot_of(key_of(args)) for args, _ in commands]
        replies: list[Any] = [RedisConnectionError("not asked")] * len(commands)
        left = list(range(len(commands)))
        for pause in _PAUSES:
            if pause:
                await asyncio.sleep(pause)
            try:
                topology = await self.topology()
            except RedisError as error:
                for place in left:
                    replies[place] = error
                break
            asked: dict[Endpoint, list[int]] = {}
            for place in left:
                owner = topology.owner(slots[place])
                unconfirmed = replies[place]
                if owner is None:
                    replies[place] = ClusterDownError("nobody holds the slot of the key")
                elif not isinstance(unconfirmed, Unconfirmed) or unconfirmed.endpoint != owner:
                    asked.setdefault(owner, []).append(place)
            await asyncio.gather(*(self._exchange(owner, commands, places, replies) for owner, places in asked.items()))
            await self._follow(commands, left, replies)
            left = [place for place in left if _is_to_be_repeated(replies[place])]
            if not left:
                break
            self._doubtful = True
        return replies

    async def _follow(self, commands: Sequence[Command], left: Sequence[int], replies: list[Any]) -> None:
        """Keys that are on their way (ASK) are asked for where they go, one after the other."""
        moving: dict[Endpoint, list[int]] = {}
        for place in left:
            reply = replies[place]
            if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                moving.setdefault((reply.host, int(reply.port)), []).append(place)
        for target, places in moving.items():
            if target not in self.answering():
                self._guests[target] = None
                self._tell()
            await self._exchange(target, commands, places, replies, asking=True)

    async def _exchange(
        self,
        endpoint: Endpoint,
        commands: Sequence[Command],
        places: Sequence[int],
        replies: list[Any],
        *,
        asking: bool = False,
    ) -> None:
        """Have one server answer some of the commands, in their order on one connection."""
        pipe = self._node(endpoint).pipeline(transaction=False)
        for place in places:
            args, options = commands[place]
            if asking:
                pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
        replicas = self._topology.replicas.get(endpoint, 0) if self._topology is not None else 0
        confirmed = replicas > 0 and any(writes(commands[place][0]) for place in places)
        if confirmed:
            # SECURITY: WAIT speaks of its own connection: a sign-out that no replica has would be undone by a failover (C-44).
            pipe.execute_command("WAIT", replicas, _CONFIRM_MILLISECONDS)
        try:
            answers = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            answers = None
            if isinstance(error, RedisTimeoutError):
                self._doubtful = True  # nobody waits for another attempt, but the next ones should know better
            for place in places:
                replies[place] = error
        if answers is None:
            return
        reached = answers.pop() if confirmed else 0
        for place, answer in zip(places, answers[1::2] if asking else answers, strict=True):
            replies[place] = answer
        if confirmed and not self._confirmed(reached, replicas):
            for place in places:
                if writes(commands[place][0]) and not isinstance(replies[place], Exception):
                    replies[place] = Unconfirmed(endpoint)

    def _confirmed(self, reached: Any, wanted: int) -> bool:
        count = reached if isinstance(reached, int) else 0
        if count < wanted:
            self.unconfirmed += 1
            _log.warning("a write reached %d of %d replicas in time", count, wanted)
        return count > 0

    def _node(self, endpoint: Endpoint) -> Redis:
        client = self._nodes.get(endpoint)
        if client is None:
            client = self._nodes[endpoint] = self.links.client(endpoint, self._pool_size)
        return client

    # --- who is primary -----------------------------------------------------------------------------------------------

    async def _look(self) -> Topology:
        topology = await self._discovery.discover(self._topology)
        self._doubtful = False
        before, self._topology = self._topology, topology
        if topology == before:
            return topology
        self._guests.clear()
        # SECURITY: whoever listens for changes does not hear this one's yet; nothing read from it may be kept (C-44).
        self._tell()
        for endpoint in self._nodes.keys() - set(topology.primaries):
            # SECURITY: connections to who was primary must not be read any more (C-43).
            closing = asyncio.create_task(self._nodes.pop(endpoint).aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return topology

    def _tell(self) -> None:
        for hear in self._hearers:
            hear()

    def _looked(self, task: asyncio.Task[Topology]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # also when nobody waits for it any more


class FleetPipeline(Pipeline):
    """Commands that are sent together and answered one by one."""

    def __init__(self, fleet: RoutedClient) -> None:
        self._fleet = fleet
        self.command_stack: list[Command] = []

    def execute_command(self, *args: Any, **options: Any) -> "FleetPipeline":  # type: ignore[override]
        self.command_stack.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Raises RedisError."""
        commands, self.command_stack = self.command_stack, []
        replies = await self._fleet.run(commands) if commands else []
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies


def _is_to_be_repeated(reply: object) -> bool:
    return isinstance(reply, _ANEW) and not isinstance(reply, AuthenticationError)
