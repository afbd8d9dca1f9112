"""The running gateway as its admin listener shows it, the file descriptors that it may open, the disk, and the certificates' files."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from gateway.config.schema import Config
from gateway.errors.network import network_reason
from gateway.operations.admin_listener import AdminListener, AdminListenerFailed
from gateway.operations.certificates import certificate_ends
from gateway.operations.doctor.front import certificate_line
from gateway.operations.doctor.line import Line, broken, ok, unknown, warning

_GATEWAY: Final = "gateway"
_FILES: Final = "file descriptors"
_DISK: Final = "disk of redis.data_dir"
_OTHERS: Final = 200  # descriptors of a worker beside connections: Redis, the provider, the log
_MEBIBYTE: Final = 1024 * 1024
_LOW, _FULL = 1024 * _MEBIBYTE, 100 * _MEBIBYTE
_FEW_FILES: Final = 1000


async def gateway_lines(config: Config) -> list[Line]:
    """The running gateway, and the file descriptors of its workers."""
    try:
        async with AdminListener(config) as admin:
            state, metrics = await admin.ready(), await admin.metrics()
            process = {each.name: each.value for each in _samples(metrics) if each.labels == {"process": "worker"}}
            return [_gateway(state), _files(config, process)]
    except AdminListenerFailed as error:
        means = str(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        means = "what answers at admin_listen is another release"
    action = "start it, or run this where it runs"
    return [unknown(_GATEWAY, means, action), unknown(_FILES, "only the running gateway knows its limit", action)]


def _samples(metrics: str) -> Iterator[Any]:
    return (sample for family in text_string_to_metric_families(metrics) for sample in family.samples)


def _gateway(state: dict[str, Any]) -> Line:
    failing = [
        f"{name} is {each['state']}" + (f" ({each['last_error_detail']})" if each.get("last_error_detail") else "")
        for name, each in state["dependencies"].items()
        if each["state"] not in ("ok", "unknown")
    ]
    problem = state["process"].get("problem")
    if state["status"] not in ("ready", "degraded"):
        return broken(_GATEWAY, f"it is {state['status']}: {'; '.join(failing) or 'too few workers'}", "see its log")
    if problem is not None:
        return broken(
            _GATEWAY,
            f"its last reload failed, and the old configuration stays: {problem}",
            "mend the file, then doorward reload",
        )
    if failing:
        return warning(_GATEWAY, f"it serves, but {'; '.join(failing)}", "see the lines of these parts")
    return ok(_GATEWAY, f"process {state['process']['pid']} serves, and all that it depends on is well")


def _files(config: Config, process: dict[str, float]) -> Line:
    most, open_now = int(process.get("process_max_fds", 0)), int(process.get("process_open_fds", 0))
    if not most:
        return unknown(_FILES, "this system does not say how many a process may open")
    wanted = 2 * config.limits.connections + _OTHERS
    means = f"a worker may open {most} and has {open_now}; limits.connections needs up to {wanted}: one for each client, one for each upstream"
    if open_now > 0.9 * most:
        return broken(
            _FILES,
            f"{means}: connections are refused soon",
            "raise the limit: LimitNOFILE= of the systemd unit, ulimit -Hn, --ulimit nofile",
        )
    if most < wanted:
        return warning(_FILES, means, "raise the limit (LimitNOFILE= of the systemd unit), or lower limits.connections")
    return ok(_FILES, means)


# --- this machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is free for an ordinary user: bytes, and files (0: the file system has no such limit)."""

    free: int
    files: int


def room_at(folder: Path) -> Room:
    """Raises OSError."""
    found = os.statvfs(folder)
    return Room(free=found.f_bavail * found.f_frsize, files=found.f_favail if found.f_files else 0)


def machine_lines(config: Config, now: datetime, room: Callable[[Path], Room]) -> Iterator[Line]:
    """The disk of `data_dir`, and the certificates that the file names."""
    if config.redis.data_dir is not None:
        yield _disk(config.redis.data_dir, room)
    for key, ends in certificate_ends(config).items():
        yield certificate_line(key, datetime.fromtimestamp(ends, UTC), now)


def _disk(data_dir: Path, room: Callable[[Path], Room]) -> Line:
    try:
        folder = next(each for each in (data_dir.absolute(), *data_dir.absolute().parents) if each.exists())
        found = room(folder)
    except OSError as error:
        return unknown(_DISK, f"{data_dir}: {network_reason(error)}", "run this as the user that the gateway runs as")
    means = f"{found.free // _MEBIBYTE} MiB are free at {folder}" + (
        f", and {found.files} files" if found.files else ""
    )
    action = "make room, or give redis.data_dir a disk of its own"
    few = 0 < found.files < _FEW_FILES
    if found.free < _FULL or few:
        return broken(_DISK, f"{means}: when it is full, no session can be written and no person can sign in", action)
    return warning(_DISK, means, action) if found.free < _LOW else ok(_DISK, means)
