"""Programs that are measured: each in a process of its own, with what it took of the machine."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
# What would give a way other cores than the rest have.
_NOT_INHERITED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")


class Failed(Exception):
    """A program ended with an error; the message has the last line that it said."""


class Usage(NamedTuple):
    """What a process took, from the moment that it was asked for until it was gone."""

    spawned: float  # time.time()
    seconds: float
    cpu_seconds: float
    peak_bytes: int  # never below what this process had itself when it began the other


def run(arguments: list[Any], log: Path) -> Usage:
    """Run `python -m` with the arguments; `log` gets what it prints. Raises `Failed`."""
    paths = [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}
    environment |= {"TRANSFORMERS_VERBOSITY": "error", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", *map(str, arguments)]
    spawned, started = time.time(), time.perf_counter()
    with open(log, "w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise Failed(f"{arguments[0]}: exit {process.returncode}: {last}")
    return Usage(spawned, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
