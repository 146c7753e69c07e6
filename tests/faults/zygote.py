"""A process that has imported the program and forks a fresh run of it for each case: 50 ms in place of a second.

The forked run is a real process with the real command line; it has the stub in the place of the model, and can be
given a fault (shim.py). Nothing of a case is left in the next one.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, or minus the signal that killed it, which `hung` says was ours."""

    code: int
    err: str
    seconds: float
    hung: bool = False


class Zygote:
    """The parent's end. `run` waits; `start` and `wait` are for runs side by side.

    `module`: what forks them, run as a script; a test file that has them do more ends in a call of `serve`.
    """

    module = "faults.zygote"

    def __init__(self, folder: Path, **environment: str):
        self.folder = folder
        self.cases = 0
        path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **environment},
            text=True,
        )

    def start(
        self,
        *arguments: object,
        kill_after: float | None = None,
        stub: bool = True,
        recorder: dict[str, str] | None = None,
        **fault: Any,
    ) -> int:
        """The number of a run that has begun; after `kill_after` seconds it gets SIGKILL."""
        self.cases += 1
        request = {
            "arguments": [str(each) for each in arguments],
            "err": str(self.folder / f"err-{os.getpid()}-{self.cases}"),
            "fault": fault,
            "kill_after": kill_after,
            "stub": stub,
            "recorder": recorder,
        }
        return int(self._ask({"start": request}))

    def wait(self, pid: int, limit: float = 600) -> Ended:
        """A run that goes on for longer than `limit` seconds is killed."""
        return Ended(**self._ask({"wait": pid, "limit": limit}))

    def run(self, *arguments: object, limit: float = 600, **how: Any) -> Ended:
        return self.wait(self.start(*arguments, **how), limit)

    def _ask(self, request: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


_IMPORTED = (
    "faults.power",
    "faults.shim",
    "faults.stub",
    "multiprocessing.synchronize",
    "obstore",
    "pandas",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
    "sentiment_batch.cli",
    "sentiment_batch.verify",
    "tqdm",
)


def _child(request: Any) -> None:
    """Never returns."""
    err = os.open(request["err"], os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(err, 2)
    os.dup2(err, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 70
    try:
        from faults import power, shim, stub
        from sentiment_batch import cli

        if request["stub"]:
            stub.install()
        if request["fault"]:
            shim.Shim(**request["fault"]).install()
        if request["recorder"]:
            power.Recorder(**request["recorder"]).install()
        sys.argv = ["sentiment-batch", *request["arguments"]]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 71
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # a collection in a run would write to, and so copy, every page that it shares with this process

    runs: dict[int, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            start = request["start"]
            began = time.perf_counter()
            pid = os.fork()
            if not pid:
                _child(start)
            runs[pid] = (start, began)
            print(pid, flush=True)
            if start["kill_after"] is not None:
                time.sleep(start["kill_after"])
                os.kill(pid, signal.SIGKILL)
        else:
            pid = request["wait"]
            hung = threading.Event()
            start, began = runs.pop(pid)
            signal.signal(signal.SIGALRM, partial(_kill, pid, hung))
            signal.setitimer(signal.ITIMER_REAL, request["limit"])
            _, status = os.waitpid(pid, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            err = Path(start["err"])
            text = err.read_text(errors="backslashreplace") if err.exists() else ""
            err.unlink(missing_ok=True)
            seconds = time.perf_counter() - began
            code = os.waitstatus_to_exitcode(status)
            print(json.dumps({"code": code, "err": text, "seconds": seconds, "hung": hung.is_set()}), flush=True)


def _kill(pid: int, hung: threading.Event, *_: object) -> None:
    hung.set()
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
