"""How many cores this process may keep busy."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Those that the process may run on, or fewer if a cgroup gives it the time of fewer: the host's are others' too.

    Of a quota a fraction of a core counts as one. `root` is where the system's files are looked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The quota in cores of the process's cgroup and of each above it (cpu.max of version 2, cfs quotas of 1)."""
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if controllers:
                limit = [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
            else:
                limit = _words(folder / "cpu.max")
            if len(limit) == 2 and limit[0].isdigit() and limit[1].isdigit() and int(limit[1]):
                yield int(limit[0]) / int(limit[1])
            if folder == mount:
                break


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split(separator)
    except OSError:
        return []
