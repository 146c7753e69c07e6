"""Ray: a cluster to be connected to, or one of this host alone to be begun, and which share of it a worker gets."""

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sentiment_batch import stop
from sentiment_batch.config import RAY_HERE
from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import EnvironmentFailure, Stopped, UsageError
from sentiment_batch.logs import one_line
from sentiment_batch.worker import variables_kept

_PATIENCE_SECONDS = 60.0
_END_SECONDS = 10.0
_NICENESS = "RAY_worker_niceness"
_POLL_SECONDS = 0.1
_SHOWN_CHARACTERS = 300
_OBJECT_STORE_BYTES = 80 * 2**20  # about the least that Ray takes: parts do not go through it
_NO_MODULES = "/"  # Ray has workers look for modules in the working folder first, where a stranger's dump may lie


@dataclass(frozen=True)
class Share:
    """What of a cluster each of `count` workers gets; there is room for `places` of them."""

    count: int
    places: int
    cores: int
    gpus: int

    @property
    def resources(self) -> dict[str, int]:
        return {"num_cpus": self.cores, "num_gpus": self.gpus}

    def __str__(self) -> str:
        return "a GPU each" if self.gpus else f"{self.cores} core{'s' if self.cores > 1 else ''} each"


def share_of(nodes: list[dict[str, float]], workers: int | Literal["auto"], may_use_gpus: bool) -> Share:
    """The share of a worker, by the resources of the nodes, in Ray's names.

    With GPUs it is one, and `auto` is all of them. Without, `auto` is as many workers as nodes, and their cores the
    most of which there is room for all of them.
    """
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if may_use_gpus and any(gpus):
        return Share(sum(gpus) if workers == "auto" else workers, sum(gpus), 1, 1)
    cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    count = len(cores) if workers == "auto" else workers
    enough = [each for each in range(1, max(cores) + 1) if _places(cores, each) >= count]
    most = max(enough, default=1)
    return Share(count, _places(cores, most), most, 0)


def _places(cores: list[int], each: int) -> int:
    return sum(there // each for there in cores)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at the address; `local` is begun, and ends with the block.

    A process that is connected already stays as it is. Raises `UsageError` without the extra, and where no retry helps,
    `EnvironmentFailure` if there is no answer within a minute, and `Stopped`.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray: pip install 'sentiment-batch[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    _quiet()
    arguments: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
    with ExitStack() as stack:
        if address == RAY_HERE:
            arguments |= stack.enter_context(_of_this_host())
        stack.enter_context(_living(ray, arguments))
        yield ray


@contextmanager
def _living(ray: Any, arguments: dict[str, Any]) -> Iterator[None]:
    """Ray, in a thread of its own.

    The kernel ends what Ray begins when the thread ends that began it, however this process ends (PR_SET_PDEATHSIG).
    And one can stop waiting for it.
    """
    begun: Future[None] = Future()
    over = threading.Event()
    thread = threading.Thread(target=_live, args=(ray, arguments, begun, over), daemon=True)
    try:
        with chdir(_NO_MODULES), _signals_kept():
            thread.start()
            _wait_for(begun, arguments["address"])
        yield
    except Stopped:
        raise  # this process ends, and Ray's with it; where the signal came for these, too, their end would abort it
    except BaseException:
        _end(thread, begun, over)
        raise
    _end(thread, begun, over)


def _end(thread: threading.Thread, begun: "Future[None]", over: threading.Event) -> None:
    over.set()
    if begun.done():
        thread.join(_END_SECONDS)


def _live(ray: Any, arguments: dict[str, Any], begun: "Future[None]", over: threading.Event) -> None:
    try:
        ray.init(**arguments)
    except BaseException as error:
        begun.set_exception(error)
        return
    begun.set_result(None)
    over.wait()
    ray.shutdown()


def _wait_for(begun: "Future[None]", address: str) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not begun.done():
        stop.check()
        if time.monotonic() > until:
            raise EnvironmentFailure(
                f"--ray {address}: no answer in {_PATIENCE_SECONDS:.0f} seconds; is the cluster up, and this host a "
                "node of it? run again when it is"
            )
        time.sleep(_POLL_SECONDS)
    if (error := begun.exception()) is None:
        return
    why = one_line(" ".join(str(error).split())[:_SHOWN_CHARACTERS]).rstrip(".")
    if isinstance(error, ValueError) or "mismatch" in why or "Authentication" in type(error).__name__:
        raise UsageError(f"--ray {address}: {why}") from error
    raise EnvironmentFailure(f"--ray {address}: {why}; run again when the cluster is up") from error


@contextmanager
def _of_this_host() -> Iterator[dict[str, Any]]:
    """How to begin Ray on this host alone: nobody else can get in, nobody is told of it, and nothing of it is left."""
    folder = tempfile.mkdtemp(prefix="sentiment-batch-ray-", dir="/tmp")  # the path of a socket may have 107 bytes
    ours = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if _NICENESS not in os.environ:
        ours[_NICENESS] = "0"  # as of any worker; by itself it is 15, and all that runs on the host comes first
    try:
        with variables_kept(*ours, "RAY_AUTH_MODE"):  # which Ray may set
            os.environ.update(ours)
            yield {
                "num_cpus": usable_cores(),
                "object_store_memory": _OBJECT_STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": folder,
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """What Ray installs below Python, which prints a traceback for a SIGTERM, is replaced by what was there before."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _quiet() -> None:
    """Have Ray say nothing that is no error: what becomes of a worker is said by who is to act on it."""
    from ray._private import worker

    logger = logging.getLogger("ray")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.ERROR)
    worker.print_to_stdstream = lambda *_, **__: None  # on standard output, whatever Ray is told: that is ours
