"""Discovery of the primaries: the sentinels of a set, or the nodes of a cluster, report them.

Several are queried at once, and the view with the highest epoch counts: a server that was cut off from the others may still
report a primary that was replaced. A query that is under way is shared, and a server that does not reply delays no other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ClusterDownError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.config.redis_url import Endpoint
from gateway.redis_client.connection_factory import ConnectionFactory
from gateway.redis_client.topology import Topology, one_primary, parse_cluster_slots

_LATER_REPLIES_SECONDS: Final = 0.2  # how long the first view waits for a newer one
_MOST_NODES: Final = 7
_FORGET_SECONDS: Final = 30.0

View = tuple[int, Topology]  # the epoch of the configuration, and the primaries in it


class UnknownSet(ResponseError):
    """A sentinel does not report the set."""


class Sentinels:
    """Reads the primary from a set's sentinels."""

    def __init__(self, factory: ConnectionFactory) -> None:
        self._name = factory.url.name
        self._hosts = factory.url.hosts
        self._clients = QueryClients(factory.discovery_client)
        self._newest = NewestView()

    async def discover(self, known: Topology | None) -> Topology:
        """Raises RedisError when no sentinel reports one."""
        return self._newest.choose(await self._clients.query(self._view, self._hosts), known)

    async def aclose(self) -> None:
        await self._clients.aclose()

    async def _view(self, sentinel: Redis, _: Endpoint) -> View:
        try:
            master: Any = await sentinel.sentinel_master(self._name)
        except ResponseError as error:
            raise UnknownSet(f"it knows no set called {self._name}, or refuses to say") from error
        replicas: Any = await sentinel.sentinel_slaves(self._name)
        in_touch = [
            replica
            for replica in replicas
            if not {"s_down", "o_down", "disconnected"} & set(replica["flags"])
            and replica.get("master-link-status") == "ok"
        ]
        endpoint = (str(master["ip"]), int(master["port"]))
        return int(master["config-epoch"]), one_primary(endpoint, len(in_touch))


class ClusterNodes:
    """Reads from a cluster's nodes which primary holds which slots."""

    def __init__(self, factory: ConnectionFactory) -> None:
        self._seeds = factory.url.hosts
        self._clients = QueryClients(factory.discovery_client)
        self._newest = NewestView()

    async def discover(self, known: Topology | None) -> Topology:
        """Raises RedisError when no node is in a working cluster."""
        primaries = known.primaries if known is not None else ()
        nodes = dict.fromkeys((*self._seeds[:_MOST_NODES], *primaries[:_MOST_NODES], *self._seeds))
        return self._newest.choose(await self._clients.query(self._view, tuple(nodes)[: 2 * _MOST_NODES]), known)

    async def aclose(self) -> None:
        await self._clients.aclose()

    async def _view(self, node: Redis, queried: Endpoint) -> View:
        pipe = node.pipeline(transaction=False)
        pipe.execute_command("CLUSTER", "INFO")
        pipe.execute_command("CLUSTER", "SLOTS")
        info, slots = await pipe.execute()
        state, epoch = parse_cluster_info(info)
        if state != "ok":
            raise ClusterDownError("the cluster does not work")
        return epoch, parse_cluster_slots(slots, queried)


def parse_cluster_info(text: bytes) -> tuple[str, int]:
    """(state, current epoch) from CLUSTER INFO. Raises ValueError."""
    fields = dict(line.partition(":")[::2] for line in text.decode().splitlines())
    if "cluster_state" not in fields:
        raise ValueError("not a reply to CLUSTER INFO")
    return fields["cluster_state"], int(fields.get("cluster_current_epoch", "0"))


class NewestView:
    """The view with the highest epoch so far: a late sentinel, or a node that was cut off, does not bring an older one back.

    An older one counts after `_FORGET_SECONDS` without a newer one: the set was set up anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoch = -1
        self._read_at = float("-inf")

    def choose(self, results: Iterable[View | Exception], known: Topology | None) -> Topology:
        """The topology of the highest epoch. Raises RedisError when no server has a view: the first error of them."""
        results, now = list(results), self._clock()
        views = [result for result in results if not isinstance(result, Exception)]
        if not views:
            for result in results:
                if isinstance(result, RedisError):
                    raise result
            raise RedisConnectionError("no server reports a primary")
        epoch, topology = max(views, key=lambda view: view[0])
        if epoch < self._epoch and known is not None and now < self._read_at + _FORGET_SECONDS:
            return known
        self._epoch, self._read_at = epoch, now
        return topology


class QueryClients:
    """A client for each server that is queried."""

    def __init__(self, open_client: Callable[[Endpoint], Redis]) -> None:
        self._open = open_client
        self._clients: dict[Endpoint, Redis] = {}
        self._running: dict[Endpoint, asyncio.Task[View | Exception]] = {}

    async def query(
        self, read: Callable[[Redis, Endpoint], Awaitable[View]], endpoints: Iterable[Endpoint]
    ) -> list[View | Exception]:
        """A view or an error of each server that replied, until a little after the first view."""
        waiting: set[asyncio.Task[View | Exception]] = set()
        for endpoint in endpoints:
            if endpoint not in self._running:
                self._running[endpoint] = asyncio.create_task(self._query_one(read, endpoint))
            waiting.add(self._running[endpoint])
        results: list[View | Exception] = []
        while waiting:
            found = any(not isinstance(result, Exception) for result in results)
            done, waiting = await asyncio.wait(
                waiting,
                timeout=_LATER_REPLIES_SECONDS if found else None,
                return_when=asyncio.ALL_COMPLETED if found else asyncio.FIRST_COMPLETED,
            )
            results += [task.result() for task in done]
            if found:
                break
        return results

    async def _query_one(
        self, read: Callable[[Redis, Endpoint], Awaitable[View]], endpoint: Endpoint
    ) -> View | Exception:
        client = self._clients.get(endpoint)
        if client is None:
            client = self._clients[endpoint] = self._open(endpoint)
        try:
            return await read(client, endpoint)
        except Exception as error:
            return error
        finally:
            self._running.pop(endpoint, None)

    async def aclose(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
