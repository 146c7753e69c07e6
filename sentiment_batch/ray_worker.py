"""A worker on Ray: an actor that has the model, and labels and seals one shard at a time, on whatever node it runs.

It sees the output, the inputs and the model where the driver sees them: on a disk that all nodes have at the same path,
or in an object store. It has no lock: that is the driver's. Before each shard and each of its commits it looks whether
the output is still the job's (`check_held`), and a part that is there already is kept, whoever made it.
"""

import logging
import os
import pickle
import socket
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sentiment_batch import __version__
from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import EnvironmentFailure, UsageError
from sentiment_batch.job import Job
from sentiment_batch.labelling import compute_of
from sentiment_batch.logs import pass_on
from sentiment_batch.measure.metrics import peak_rss_bytes
from sentiment_batch.model.classifier import Effort
from sentiment_batch.model.compute import Compute
from sentiment_batch.read.plan import PlannedShard
from sentiment_batch.remote import is_url
from sentiment_batch.shards import sealed_part
from sentiment_batch.since import Since, with_index
from sentiment_batch.worker import Rows, check_same, sendable
from sentiment_batch.write.commit import Work
from sentiment_batch.write.part import Part
from sentiment_batch.write.store import Folder

_TELL_SECONDS = 0.5
_PASSED_ON = ("OMP_WAIT_POLICY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")


class Told(NamedTuple):
    """What a worker tells of a piece of its work, now and then; at last with the result, or why there is none."""

    rows: int
    lines: list[logging.LogRecord]
    result: Any = None
    failed: tuple[BaseException, str] | None = None


class Loaded(NamedTuple):
    host: str
    seconds: float
    compute: Compute
    in_seals: dict[str, Any]  # what seals say of it


class Sealed(NamedTuple):
    part: Part
    effort: Effort
    peak_rss_bytes: int


def packed(job: Job, work: Work) -> bytes:
    """What every worker of the job gets."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    theirs = replace(work, lock=None)
    return pickle.dumps((os.getcwd(), environment, _needed(job, work), pickle.dumps((job, theirs))))


def _needed(job: Job, work: Work) -> list[str]:
    """What of files and folders a node must see: of the inputs one in each folder."""
    one_of = {os.path.dirname(file.path): file.path for file in job.inputs.files if not is_url(file.path)}
    output = [str(work.scratch)] if isinstance(work.store, Folder) else []  # a name that no other disk has
    since = job.options.since
    earlier = [os.path.abspath(since)] if since and not is_url(since) else []
    return [*output, os.path.abspath(job.options.model), *earlier, *one_of.values()]


@dataclass
class RayWorker:
    """The actor. What it does runs in a thread of its own, so that it can tell of it meanwhile."""

    number: int
    cores: int
    version: str
    sent: bytes
    rows: deque[int] = field(default_factory=deque)
    lines: deque[logging.LogRecord] = field(default_factory=deque)
    folder: TemporaryDirectory[str] | None = None
    indexed: Since | None = None
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def load(self) -> Iterator[Told]:
        """Get ready. The result is `Loaded`."""
        yield from self._telling(self._load)

    def label(self, planned: PlannedShard, since: Since | None) -> Iterator[Told]:
        """Label and seal a shard, of a job that may keep what an earlier output says. The result is `Sealed`."""
        yield from self._telling(partial(self._label, planned, since))

    def _telling(self, work: Callable[[], Any]) -> Iterator[Told]:
        future: Future[Any] = self.thread.submit(work)
        while not wait([future], _TELL_SECONDS).done:
            if self.rows or self.lines:
                yield Told(sum(_taken(self.rows)), _taken(self.lines))
        error = future.exception()
        failed, result = (sendable(error), None) if error else (None, future.result())
        yield Told(sum(_taken(self.rows)), _taken(self.lines), result, failed)

    def _load(self) -> Loaded:
        pass_on(self.lines.append, logging.WARNING if self.number else logging.INFO)  # all of them would say the same
        host = socket.gethostname()
        if self.version != __version__:
            raise UsageError(
                f"{host} has sentiment-batch {__version__}, and the driver {self.version}: install one on all nodes"
            )
        folder, environment, needed, job = pickle.loads(self.sent)  # noqa: S301 - by the driver
        with suppress(OSError):
            os.chdir(folder)  # inputs may be named from there
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        for path in needed:
            if not os.path.exists(path):
                raise EnvironmentFailure(
                    f"{path} is not there on {host}, a node of the Ray cluster: output, inputs, model and --since must "
                    "lie on a disk that all nodes have at the same path, or all but the model in an object store"
                )
        self.job, self.work = pickle.loads(job)  # noqa: S301
        check_same(self.job, self.work, f" on {host}, a node of the Ray cluster, is another one than the driver's")
        labeller = self.job.labeller
        if labeller.compute.device_kind == "cpu":
            labeller.compute = replace(labeller.compute, sharers=max(1, usable_cores() // self.cores))
        seconds = labeller.load()
        return Loaded(host, seconds, labeller.compute, compute_of(labeller))

    def _with_index(self, since: Since | None) -> Since | None:
        """The index of an earlier output that the driver made may be out of reach here; then it has one of its own."""
        if since is None or since.has_index():
            return since
        if self.indexed is None:
            self.folder = TemporaryDirectory(prefix="sentiment-batch-", ignore_cleanup_errors=True)
            self.indexed = with_index(since, Path(self.folder.name))
        return self.indexed

    def close(self) -> None:
        """Leave nothing behind on the node."""
        if self.folder:
            self.folder.cleanup()

    def _label(self, planned: PlannedShard, since: Since | None) -> Sealed:
        job = replace(self.job, since=self._with_index(since))
        shared = self.work.scratch if isinstance(self.work.store, Folder) else None
        with TemporaryDirectory(dir=shared, prefix="sentiment-batch-", ignore_cleanup_errors=True) as scratch:
            work = replace(self.work, scratch=Path(scratch))
            part = sealed_part(job, work, planned, Rows(self.rows.append))
        return Sealed(part, self.job.labeller.effort.taken(), peak_rss_bytes())


def _taken(queue: deque[Any]) -> list[Any]:
    return [queue.popleft() for _ in range(len(queue))]
