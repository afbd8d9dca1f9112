"""One client for several servers: a Sentinel set, whose primary changes, or a cluster, whose keys are spread over primaries and migrate.

A `RoutedClient` takes the commands that a client of one server takes, as long as each names one key. It sends each to the primary that
holds the key, and follows redirections. Pipelines are split by server: no order holds between different keys. A write is answered only
after the replicas that are in touch have it too (WAIT), so a replica that is promoted has it. A write that no replica confirms in time was
taken by a primary that may be cut off: it is sent again to the primary of the new topology, or fails.

Not redis-py's own cluster client: it sends ASKING on another connection than the command it belongs to, and closes connections that
other tasks read.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
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
from gateway.redis_client.connection_factory import ConnectionFactory, TimedClient
from gateway.redis_client.topology import Topology, slot_of

_log = logging.getLogger("doorward.sessions")

_PAUSES: Final = (0.0, 0.02, 0.1, 0.3)  # before each attempt at a command, in seconds
_CONFIRM_MILLISECONDS: Final = 500
_TRY_AGAIN: Final = (MovedError, TryAgainError, ClusterDownError, ReadOnlyError, BusyLoadingError, RedisConnectionError)


class Unconfirmed(RedisConnectionError):
    """A primary took a write, and no replica of those that were in touch has it."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__("no replica confirmed the write")
        self.endpoint = endpoint


@dataclass(slots=True)
class _Batch:
    """Commands for one server, by their place in the whole."""

    endpoint: Endpoint
    commands: dict[int, Command] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        return any(writes(args) for args, _ in self.commands.values())

    def mark_unconfirmed(self, replies: list[Any]) -> None:
        """Replace the reply to each write that succeeded."""
        for place, (args, _) in self.commands.items():
            if writes(args) and not isinstance(replies[place], Exception):
                replies[place] = Unconfirmed(self.endpoint)


class Discovery(Protocol):
    async def discover(self, known: Topology | None) -> Topology:
        """The primaries; `known` is the last topology. Raises RedisError."""

    async def aclose(self) -> None: ...


class RoutedClient(TimedClient):
    """`discovery` finds the primaries. `pool_size` bounds the connections to each server."""

    def __init__(self, factory: ConnectionFactory, discovery: Discovery, pool_size: int) -> None:
        self.connection = None  # the library's destructor looks for one
        self.factory = factory
        self.unconfirmed = 0  # writes that not all replicas in touch confirmed in time
        self._discovery = discovery
        self._pool_size = pool_size
        self._topology: Topology | None = None
        self._stale = False
        self._importing: dict[Endpoint, None] = {}  # nodes that import keys (ASK) and hold no slot yet
        self._nodes: dict[Endpoint, Redis] = {}
        self._refreshing: asyncio.Task[Topology] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._on_change: list[Callable[[], None]] = []

    def watch_servers(self, on_change: Callable[[], None]) -> None:
        """Call `on_change()` when another server than before may hold a key, before any command is sent to it."""
        self._on_change.append(on_change)

    def servers(self) -> tuple[Endpoint, ...]:
        """The servers that hold keys at the moment."""
        primaries = self._topology.primaries if self._topology is not None else ()
        return tuple(dict.fromkeys((*primaries, *self._importing)))

    def owner(self, key: bytes) -> Endpoint | None:
        """The server that holds a key, as far as is known."""
        return None if self._topology is None else self._topology.owner(slot_of(key))

    async def topology(self) -> Topology:
        """The topology as it was read last, read anew when it may be stale. Raises RedisError."""
        return await self.refresh_topology() if self._topology is None or self._stale else self._topology

    async def refresh_topology(self) -> Topology:
        """Read the topology anew; callers at the same time share one discovery. Raises RedisError."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._read_topology())
            self._refreshing.add_done_callback(self._refreshed)
        return await asyncio.shield(self._refreshing)

    async def disconnect_all(self) -> None:
        """Close all connections; the next command reads the topology anew. Raises RedisError."""
        for client in self._nodes.values():
            await client.connection_pool.disconnect()
        self._stale = True

    async def nodes(self) -> list[Redis]:
        """A client of each primary, for commands to all of them, as SCAN. Raises RedisError."""
        return [self._node(endpoint) for endpoint in (await self.topology()).primaries]

    # --- the interface of a client of one server ----------------------------------------------------------------------

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Raises RedisError."""
        (reply,) = await self.run([(args, options)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "RoutedPipeline":
        if transaction:
            raise ValueError("the keys are on different servers: there is no transaction over them")
        return RoutedPipeline(self)

    async def ping(self, **_: Any) -> bool:
        """PING to every primary. Raises RedisError."""
        try:
            for node in await self.nodes():
                await node.ping()
        except RedisError:
            self._stale = True
            raise
        return True

    async def scan_iter(  # type: ignore[override]
        self, match: Any = None, count: int | None = None, _type: str | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """The keys of all primaries; one that migrates meanwhile may come twice. Raises RedisError."""
        for node in await self.nodes():
            async for key in node.scan_iter(match=match, count=count, _type=_type, **options):
                yield key

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self._discovery.aclose()
        for client in self._nodes.values():
            await client.aclose()
        self._nodes.clear()
        await asyncio.gather(*self._closing)

    # --- routing ------------------------------------------------------------------------------------------------------

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in the order of the commands, an exception for each that failed. Raises ValueError for a command without a key."""
        slots = [slot_of(key_of(args)) for args, _ in commands]
        replies: list[Any] = [RedisConnectionError("not sent")] * len(commands)
        pending = list(range(len(commands)))
        for pause in _PAUSES:
            if pause:
                await asyncio.sleep(pause)
            try:
                topology = await self.topology()
            except RedisError as error:
                for place in pending:
                    replies[place] = error
                break
            batches: dict[Endpoint, _Batch] = {}
            for place in pending:
                owner = topology.owner(slots[place])
                unconfirmed = replies[place]
                if owner is None:
                    replies[place] = ClusterDownError("no primary holds the slot of the key")
                elif not isinstance(unconfirmed, Unconfirmed) or unconfirmed.endpoint != owner:
                    batches.setdefault(owner, _Batch(owner)).commands[place] = commands[place]
            await asyncio.gather(*(self._send(batch, replies) for batch in batches.values()))
            await self._follow(commands, pending, replies)
            pending = [place for place in pending if _is_retried(replies[place])]
            if not pending:
                break
            self._stale = True
        return replies

    async def _follow(self, commands: Sequence[Command], pending: Sequence[int], replies: list[Any]) -> None:
        """Send commands on migrating keys (ASK) to the importing node, one node after the other."""
        batches: dict[Endpoint, _Batch] = {}
        for place in pending:
            reply = replies[place]
            if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                target = reply.host, int(reply.port)
                batches.setdefault(target, _Batch(target)).commands[place] = commands[place]
        for target, batch in batches.items():
            if target not in self.servers():
                self._importing[target] = None
                self._announce_change()
            await self._send(batch, replies, asking=True)

    async def _send(self, batch: "_Batch", replies: list[Any], *, asking: bool = False) -> None:
        """Send the commands of one batch, in their order on one connection, and put their replies in place."""
        pipe = self._node(batch.endpoint).pipeline(transaction=False)
        for args, options in batch.commands.values():
            if asking:
                pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
        replicas = self._topology.replicas.get(batch.endpoint, 0) if self._topology is not None else 0
        confirmed = replicas > 0 and batch.writes
        if confirmed:
            # SECURITY: WAIT counts the writes of its own connection: a sign-out that no replica has would be undone by a failover (C-44).
            pipe.execute_command("WAIT", replicas, _CONFIRM_MILLISECONDS)
        try:
            results = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            if isinstance(error, RedisTimeoutError):
                self._stale = True  # not tried again: a request waits; the next command reads the topology
            for place in batch.commands:
                replies[place] = error
            return
        reached = results.pop() if confirmed else 0
        for place, result in zip(batch.commands, results[1::2] if asking else results, strict=True):
            replies[place] = result
        if confirmed and not self._confirmed(reached, replicas):
            batch.mark_unconfirmed(replies)

    def _confirmed(self, reached: Any, wanted: int) -> bool:
        count = reached if isinstance(reached, int) else 0
        if count < wanted:
            self.unconfirmed += 1
            _log.warning("a write reached %d of %d replicas in time", count, wanted)
        return count > 0

    def _node(self, endpoint: Endpoint) -> Redis:
        client = self._nodes.get(endpoint)
        if client is None:
            client = self._nodes[endpoint] = self.factory.client(endpoint, self._pool_size)
        return client

    # --- topology -----------------------------------------------------------------------------------------------------

    async def _read_topology(self) -> Topology:
        topology = await self._discovery.discover(self._topology)
        self._stale = False
        previous, self._topology = self._topology, topology
        if topology == previous:
            return topology
        self._importing.clear()
        # SECURITY: the new primary is not tracked yet; nothing that is read from it may be cached (C-44).
        self._announce_change()
        for endpoint in self._nodes.keys() - set(topology.primaries):
            # SECURITY: connections to a server that is primary no more must not be read (C-43).
            closing = asyncio.create_task(self._nodes.pop(endpoint).aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return topology

    def _announce_change(self) -> None:
        for on_change in self._on_change:
            on_change()

    def _refreshed(self, task: asyncio.Task[Topology]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # retrieved, also when no caller waits for it any more


class RoutedPipeline(Pipeline):
    """Commands that are sent together; each has its own reply."""

    def __init__(self, client: RoutedClient) -> None:
        self._client = client
        self.command_stack: list[Command] = []

    def execute_command(self, *args: Any, **options: Any) -> "RoutedPipeline":  # type: ignore[override]
        self.command_stack.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Raises RedisError."""
        commands, self.command_stack = self.command_stack, []
        replies = await self._client.run(commands) if commands else []
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies


def _is_retried(reply: object) -> bool:
    return isinstance(reply, _TRY_AGAIN) and not isinstance(reply, AuthenticationError)
