"""Asking who is primary: the sentinels of a set, or the nodes of a cluster.

Several are asked at once, and the one with the newest view counts: whoever was cut off from the others may still believe
in a primary that was replaced. A question that is under way is not asked again, and whoever does not answer is not waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.config.redis_url import Endpoint
from gateway.redis_client.connection_factory import ConnectionFactory
from gateway.redis_client.topology import Topology, one_primary, parse_cluster_slots

_OTHERS_SECONDS: Final = 0.2  # how long the first answer waits for a newer one
_AT_MOST: Final = 7
_FORGET_SECONDS: Final = 30.0

View = tuple[int, Topology]  # the epoch of the configuration, and what it says


class Sentinels:
    """Asks a set's sentinels for its primary."""

    def __init__(self, links: ConnectionFactory) -> None:
        self._name = links.url.name
        self._hosts = links.url.hosts
        self._panel = Panel(links.asking)
        self._newest = Newest()

    async def discover(self, known: Topology | None) -> Topology:
        """Raises RedisError when no sentinel knows."""
        return self._newest.among(await self._panel.ask(self._view, self._hosts), known)

    async def aclose(self) -> None:
        await self._panel.aclose()

    async def _view(self, sentinel: Redis, _: Endpoint) -> View:
        master: Any = await sentinel.sentinel_master(self._name)
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
    """Asks a cluster's nodes who holds which slots."""

    def __init__(self, links: ConnectionFactory) -> None:
        self._seeds = links.url.hosts
        self._panel = Panel(links.asking)
        self._newest = Newest()

    async def discover(self, known: Topology | None) -> Topology:
        """Raises RedisError when no node is in a working cluster."""
        primaries = known.primaries if known is not None else ()
        nodes = dict.fromkeys((*self._seeds[:_AT_MOST], *primaries[:_AT_MOST], *self._seeds))
        return self._newest.among(await self._panel.ask(self._view, tuple(nodes)[: 2 * _AT_MOST]), known)

    async def aclose(self) -> None:
        await self._panel.aclose()

    async def _view(self, node: Redis, asked: Endpoint) -> View:
        pipe = node.pipeline(transaction=False)
        pipe.execute_command("CLUSTER", "INFO")
        pipe.execute_command("CLUSTER", "SLOTS")
        info, slots = await pipe.execute()
        state, epoch = parse_cluster_info(info)
        if state != "ok":
            raise ClusterDownError("the cluster does not work")
        return epoch, parse_cluster_slots(slots, asked)


def parse_cluster_info(text: bytes) -> tuple[str, int]:
    """(state, current epoch) from CLUSTER INFO. Raises ValueError."""
    facts = dict(line.partition(":")[::2] for line in text.decode().splitlines())
    if "cluster_state" not in facts:
        raise ValueError("not a reply to CLUSTER INFO")
    return facts["cluster_state"], int(facts.get("cluster_current_epoch", "0"))


class Newest:
    """The newest view that was ever heard: a late sentinel, or a node that was cut off, does not bring an older one back.

    An older one counts after `_FORGET_SECONDS` without a newer one: the set was made anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoch = -1
        self._heard_at = float("-inf")

    def among(self, answers: Iterable[View | Exception], known: Topology | None) -> Topology:
        """The view of the highest epoch. Raises what those who were asked had to say when nobody has a view."""
        answers, now = list(answers), self._clock()
        views = [answer for answer in answers if not isinstance(answer, Exception)]
        if not views:
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
            raise RedisConnectionError("nobody says who is primary")
        epoch, topology = max(views, key=lambda view: view[0])
        if epoch < self._epoch and known is not None and now < self._heard_at + _FORGET_SECONDS:
            return known
        self._epoch, self._heard_at = epoch, now
        return topology


class Panel:
    """A client for each of those who may be asked."""

    def __init__(self, open_client: Callable[[Endpoint], Redis]) -> None:
        self._open = open_client
        self._clients: dict[Endpoint, Redis] = {}
        self._asking: dict[Endpoint, asyncio.Task[View | Exception]] = {}

    async def ask(
        self, question: Callable[[Redis, Endpoint], Awaitable[View]], endpoints: Iterable[Endpoint]
    ) -> list[View | Exception]:
        """What was answered, until a little after the first answer that is none of failure."""
        waiting: set[asyncio.Task[View | Exception]] = set()
        for endpoint in endpoints:
            if endpoint not in self._asking:
                self._asking[endpoint] = asyncio.create_task(self._one(question, endpoint))
            waiting.add(self._asking[endpoint])
        answers: list[View | Exception] = []
        while waiting:
            known = any(not isinstance(answer, Exception) for answer in answers)
            done, waiting = await asyncio.wait(
                waiting,
                timeout=_OTHERS_SECONDS if known else None,
                return_when=asyncio.ALL_COMPLETED if known else asyncio.FIRST_COMPLETED,
            )
            answers += [task.result() for task in done]
            if known:
                break
        return answers

    async def _one(
        self, question: Callable[[Redis, Endpoint], Awaitable[View]], endpoint: Endpoint
    ) -> View | Exception:
        client = self._clients.get(endpoint)
        if client is None:
            client = self._clients[endpoint] = self._open(endpoint)
        try:
            return await question(client, endpoint)
        except Exception as error:
            return error
        finally:
            self._asking.pop(endpoint, None)

    async def aclose(self) -> None:
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
