"""What the system tells of processes, for tests that kill and stop them."""

from collections.abc import Iterator
from pathlib import Path


def stat(pid: int) -> list[str] | None:
    """State, parent, group, session and what else proc_pid_stat(5) has behind the name; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def processes() -> Iterator[tuple[int, list[str]]]:
    """All that there are, with their `stat`."""
    for path in Path("/proc").glob("[0-9]*"):
        if fields := stat(int(path.name)):
            yield int(path.name), fields


def is_alive(pid: int) -> bool:
    """Whether it has not ended; one that nobody has waited for yet has."""
    fields = stat(pid)
    return fields is not None and fields[0] != "Z"
