"""All lines of a set-up. Parts are asked side by side; a part that fails hides no other."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gateway.config.console import UNUSED_UPSTREAM, with_console
from gateway.config.schema import Config
from gateway.operations.doctor.bypass import bypass_lines, own_addresses
from gateway.operations.doctor.dependencies import configuration_lines, dependency_lines
from gateway.operations.doctor.directory import directory_lines
from gateway.operations.doctor.doors import door_lines
from gateway.operations.doctor.front import FrontAddress, front_lines
from gateway.operations.doctor.line import Line
from gateway.operations.doctor.machine import Room, gateway_lines, machine_lines, room_at
from gateway.operations.doctor.provider import address_lines, clock_lines
from gateway.operations.doctor.store import store_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What lies outside the configuration: the moment, how to reach the public addresses, this machine's disk and addresses."""

    now: datetime
    front: FrontAddress = field(default_factory=FrontAddress)
    room: Callable[[Path], Room] = room_at
    own_addresses: Callable[[], Sequence[str]] = own_addresses


async def examine_set_up(config: Config, around: Surroundings) -> list[Line]:
    """Every line, part by part. Raises ValueError for a `front` that cannot be used."""
    with_hosts = with_console(config, UNUSED_UPSTREAM)
    found: list[list[Line]] = await asyncio.gather(
        dependency_lines(config),
        clock_lines(config),
        store_lines(config, around.now),
        directory_lines(config),
        bypass_lines(config, around.own_addresses),
        front_lines(with_hosts, around.front, around.now),
        gateway_lines(config),
    )
    lines = [line for lines in found for line in lines]
    lines += await door_lines(config, around.front)  # by itself: it sends many requests
    return [
        *lines,
        *machine_lines(config, around.now, around.room),
        *configuration_lines(config),
        *address_lines(with_hosts),
    ]
