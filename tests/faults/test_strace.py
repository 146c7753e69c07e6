"""What the shim sees is what the kernel sees: every call that changes an output is one of those that the sweeps fail.

Without this a sweep over the shim's calls could miss a way to write that goes around Python's `os`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from faults.jobs import arguments, finish, steps, write_dump
from faults.zygote import Zygote

# Calls that change a file system, as the kernel names them, and the shim's names for them.
NAMES = {
    **{"openat": "open", "open": "open", "creat": "open", "write": "write", "writev": "write", "pwrite64": "pwrite"},
    **{"pwritev": "pwrite", "ftruncate": "ftruncate", "truncate": "ftruncate", "fsync": "fsync", "fdatasync": "fsync"},
    **{"link": "link", "linkat": "link", "rename": "rename", "renameat": "rename", "renameat2": "exchange"},
    **{"unlink": "unlink", "unlinkat": "unlink", "mkdir": "mkdir", "mkdirat": "mkdir", "rmdir": "rmdir"},
    **{"symlink": "symlink", "symlinkat": "symlink", "fallocate": "fallocate", "copy_file_range": "write"},
    **{"sendfile": "write", "mknod": "mknod", "mknodat": "mknod", "utimensat": "utime", "fchmodat": "chmod"},
}


def seen_by_the_kernel(log: str, place: Path) -> Counter[str]:
    """How often each call was made on a path below the place; reading alone is left out, but for folders."""
    calls: Counter[str] = Counter()
    for line in log.splitlines():
        match = re.match(r"(?:\d+ +)?(\w+)\((.*)", line)
        if not match or match[1] not in NAMES or str(place) not in match[2]:
            continue
        name, rest = NAMES[match[1]], match[2]
        if "AT_REMOVEDIR" in rest:
            name = "rmdir"
        if name == "open" and "O_WRONLY" not in rest and "O_RDWR" not in rest:
            continue
        if name == "write" and not rest.split(",")[0].rpartition("<")[2].startswith(str(place)):
            continue  # a message that names the place
        calls[name] += 1
    return calls


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_shim_misses_nothing(zygote: Zygote, tmp_path: Path, overwrite: bool) -> None:
    dump = write_dump(tmp_path / "dump.tsv", 110)
    other = write_dump(tmp_path / "other.tsv", 40, "other ")
    more = ("--overwrite",) if overwrite else ()
    place = tmp_path / "place"
    place.mkdir()
    if overwrite:
        finish(zygote, *arguments(other, place / "out"))
    log = tmp_path / "strace.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    subprocess.run(
        [
            *(
                "strace",
                "-f",
                "-y",
                "-s",
                "300",
                "-o",
                str(log),
                "-e",
                f"trace={','.join(f'?{name}' for name in NAMES)}",
            ),
            *(sys.executable, str(Path(__file__).with_name("stub.py"))),
            *map(str, arguments(dump, place / "out", *more)),
        ],
        env=environment,
        check=True,
        capture_output=True,
    )
    kernel = seen_by_the_kernel(log.read_text(errors="replace"), place)
    shutil.rmtree(place)
    place.mkdir()
    if overwrite:
        finish(zygote, *arguments(other, place / "out"))
    record = tmp_path / "record"
    ended = zygote.run(*arguments(dump, place / "out", *more), place=str(place), record=str(record))
    assert ended.code == 0, ended.err
    shim = Counter("rename" if name == "replace" else name for name, _ in steps(record))
    reads = shim.pop("open") - kernel.pop("open")
    assert reads >= 0, "files are opened for writing that the shim does not know of"
    assert shim == kernel
