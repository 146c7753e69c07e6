"""cores.py: as many as the process may use, and not what the host has."""

import os
from pathlib import Path

import pytest

from sentiment_batch.cores import usable_cores


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_those_that_it_may_run_on(root: Path) -> None:
    assert usable_cores(root) == 64
    assert usable_cores() <= 64


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 64), ("400000 100000", 4), ("150000 100000", 2), ("5000 100000", 1), ("9900000 100000", 64)],
)
def test_a_quota_of_a_cgroup(root: Path, limit: str, cores: int) -> None:
    write(root / "proc/self/cgroup", "0::/jobs/nightly.service\n")
    write(root / "sys/fs/cgroup/jobs/nightly.service/cpu.max", f"{limit}\n")
    assert usable_cores(root) == cores


def test_the_tightest_quota_on_the_way_up_counts(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/jobs/nightly.service\n")
    write(root / "sys/fs/cgroup/jobs/nightly.service/cpu.max", "800000 100000\n")
    write(root / "sys/fs/cgroup/jobs/cpu.max", "300000 100000\n")
    assert usable_cores(root) == 3


def test_a_container_sees_its_own_group_as_the_top(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/\n")
    write(root / "sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert usable_cores(root) == 2


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", 64)])
def test_cgroups_of_version_1(root: Path, quota: str, cores: int) -> None:
    write(root / "proc/self/cgroup", "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n")
    write(root / "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", f"{quota}\n")
    write(root / "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n")
    assert usable_cores(root) == cores


def test_a_system_that_says_something_else_is_no_failure(root: Path) -> None:
    write(root / "proc/self/cgroup", "nonsense\n")
    write(root / "sys/fs/cgroup/cpu.max", "\n")
    assert usable_cores(root) == 64
