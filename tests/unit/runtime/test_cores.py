"""`workers: auto` does not start more workers than the process may use cores."""

import os
from pathlib import Path

import pytest

from gateway.runtime.cores import usable_cores

CORES = len(os.sched_getaffinity(0))


def tree(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "membership").write_text(membership)
    return folder / "cgroup", folder / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, CORES),
        (
            "0::/a.slice/b.service\n",
            {"a.slice/b.service/cpu.max": "max 100000\n", "a.slice/cpu.max": "80000 100000\n"},
            1,
        ),
        (
            "4:memory:/x\n3:cpu,cpuacct:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "90000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, CORES),
        ("3:cpu:/docker/abc\n", {"cpu/cpu.cfs_quota_us": "10000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ("", {}, CORES),
    ],
)
def test_the_quota_of_the_cgroup_and_of_those_above_it_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: int
) -> None:
    assert usable_cores(*tree(tmp_path, membership, files)) == expected


def test_a_quota_of_a_core_and_a_half_is_two_workers_where_there_are_two_cores(tmp_path: Path) -> None:
    assert usable_cores(*tree(tmp_path, "0::/\n", {"cpu.max": "150000 100000\n"})) == min(2, CORES)


def test_the_affinity_mask_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(*tree(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})) == 1
    finally:
        os.sched_setaffinity(0, before)
