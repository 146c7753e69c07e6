"""Who labels the shards of a job on Ray: actors (ray_worker.py) on the nodes of a cluster, a shard at a time each.

Where they run, what they may use there, and whether they live is Ray's. Here is what it cannot know: which shard is
next, that the shard of a worker that was lost is anybody's, and when to give up.

A worker that was lost is replaced by a new one, not begun again (`max_restarts`): as long as Ray does not know that its
node is gone, each call of an actor that is to be begun again fails, as if it had died of that call.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sentiment_batch import __version__, stop
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import EnvironmentFailure, UsageError
from sentiment_batch.job import Job
from sentiment_batch.logs import Elsewhere, say_again
from sentiment_batch.measure.progress import Tally
from sentiment_batch.ray_cluster import Share, connected, share_of
from sentiment_batch.ray_losses import loss_in_words
from sentiment_batch.ray_worker import Loaded, RayWorker, Sealed, Told, packed
from sentiment_batch.read.plan import PlannedShard
from sentiment_batch.worker import Rows
from sentiment_batch.workers import Agree, HasTime, always
from sentiment_batch.write.commit import Work
from sentiment_batch.write.part import Part

_POLL_SECONDS = 0.1
_TIDY_SECONDS = 5.0
_PLACE_SECONDS = 600.0  # in which an autoscaler brings a node
_LOSSES = 3  # in one shard, or of one worker that loads, in a row: then it is not by chance

log = logging.getLogger(__name__)


@dataclass
class _Worker:
    """An actor, as the driver sees it."""

    number: int
    actor: Any
    host: str = ""
    peak_rss_bytes: int = 0

    def __str__(self) -> str:
        return f"worker {self.number}{self.host and f' on {self.host}'}"


@dataclass
class _Errand:
    """What a worker is doing: loading, if it is no shard."""

    worker: _Worker
    planned: PlannedShard | None
    rows: int = 0  # that were told


@dataclass
class RayCrew:
    """What labels a job's shards."""

    job: Job
    work: Work
    ray: Any
    share: Share
    workers: list[_Worker] = field(default_factory=list)
    load_seconds: float = 0.0  # of the one that took longest
    idle: list[_Worker] = field(default_factory=list)
    errands: dict[Any, _Errand] = field(default_factory=dict)  # by what Ray gives for a call
    left: deque[PlannedShard] = field(default_factory=deque)  # to do, first those of workers that were lost
    losses: Counter[str] = field(default_factory=Counter)  # by what the worker did
    in_seals: dict[str, Any] | None = None  # what all of them compute on, as seals say it
    waits_since: float | None = None
    since: Any = None  # what Ray gives for what the job keeps of an earlier output

    def __post_init__(self) -> None:
        self.sent = self.ray.put(packed(self.job, self.work))

    def agree_by(self, agree: Agree) -> None:
        """Have the job as its parts are to be made, now that a worker is ready and tells what they are made with."""
        self.job = agree(self.compute)
        self.since = self.ray.put(self.job.since)

    @property
    def peak_rss_bytes(self) -> int:
        """Of all workers together."""
        return sum(worker.peak_rss_bytes for worker in self.workers)

    @property
    def at_once(self) -> int:
        """How many shards are labelled at the same time."""
        return max(1, min(len(self.workers), self.share.places))

    @property
    def compute(self) -> dict[str, Any]:
        """What the parts are made with, as seals say it."""
        assert self.in_seals, "a worker is ready"
        return self.in_seals

    def again(self, planned: PlannedShard, progress: Tally) -> Part:
        """A part that was lost when all were sealed."""
        return next(self.sealed([planned], progress))

    def sealed(self, shards: Iterable[PlannedShard], progress: Tally, has_time: HasTime = always) -> Iterator[Part]:
        """As `Crew.sealed`, but that a worker that is lost costs its open shard only, which another one gets."""
        self.left.extend(shards)
        while True:
            while self.idle and self.left and has_time(self.left[0].shard.rows):
                planned = self.left.popleft()
                worker = self.idle.pop()
                self._begin(worker, worker.actor.label, planned, self.since)
            if not self._labels() and (self.idle or not self.errands):
                return
            yield from self._heard(progress)

    def begin(self, count: int) -> None:
        """Begin so many workers, and wait until the first of them is ready."""
        for number in range(count):
            worker = _Worker(number, None)
            self.workers.append(worker)
            self._employ(worker)
        while self.errands and not self.idle:
            for _ in self._heard(Rows(lambda _: None)):
                raise AssertionError("nothing was to be labelled")

    def end(self) -> None:
        """End all workers, whatever they are doing."""
        if self.job.since and self.idle:
            with suppress(Exception):  # theirs is no more than to tidy
                closing = [worker.actor.close.remote() for worker in self.idle]
                self.ray.wait(closing, num_returns=len(closing), timeout=_TIDY_SECONDS)
        for worker in self.workers:
            self._dismiss(worker)

    def _employ(self, worker: _Worker) -> None:
        actor = self.ray.remote(RayWorker).options(**self.share.resources, scheduling_strategy="SPREAD")
        worker.actor, worker.host = actor.remote(worker.number, self.share.cores, __version__, self.sent), ""
        self._begin(worker, worker.actor.load)

    def _begin(self, worker: _Worker, method: Any, *given: Any) -> None:
        call = method.options(num_returns="streaming").remote(*given)
        self.errands[call] = _Errand(worker, given[0] if given else None)

    def _labels(self) -> bool:
        return any(errand.planned for errand in self.errands.values())

    def _dismiss(self, worker: _Worker) -> None:
        with suppress(Exception):  # it may have ended, and its cluster, too
            self.ray.kill(worker.actor)

    def _heard(self, progress: Tally) -> Iterator[Part]:
        """One look at what the workers tell; parts come out of it. Raises what a worker raises, and `Stopped`."""
        stop.check()
        self._check_place()
        for call in self.ray.wait(list(self.errands), timeout=_POLL_SECONDS)[0]:
            errand = self.errands[call]
            try:
                told = self.ray.get(next(call))
            except (StopIteration, self.ray.exceptions.RayError) as error:
                stop.check()  # the signal may have come for Ray's processes, too
                del self.errands[call]
                self._lost(errand, error, progress)
                continue
            yield from self._taken(call, errand, told, progress)

    def _taken(self, call: Any, errand: _Errand, told: Told, progress: Tally) -> Iterator[Part]:
        for line in told.lines:
            say_again(line)
        if told.failed:
            error, at = told.failed
            raise error from Elsewhere(f"In {errand.worker}:\n{at}")
        progress.add(told.rows)
        errand.rows += told.rows
        if told.result is None:
            return
        del self.errands[call]
        self.idle.append(errand.worker)
        if isinstance(told.result, Loaded):
            self._loaded(errand.worker, told.result)
        elif isinstance(told.result, Sealed):
            self.job.labeller.effort.add(told.result.effort)
            errand.worker.peak_rss_bytes = max(errand.worker.peak_rss_bytes, told.result.peak_rss_bytes)
            yield told.result.part

    def _loaded(self, worker: _Worker, loaded: Loaded) -> None:
        worker.host, self.load_seconds = loaded.host, max(self.load_seconds, loaded.seconds)
        del self.losses[_doing(worker)]
        if self.in_seals is None:
            self.in_seals = loaded.in_seals
            self.job.labeller.compute = loaded.compute  # the driver's own host has perhaps no GPU
            if self.share.gpus and loaded.compute.device_kind == "cpu":
                log.warning("%s has a GPU that PyTorch does not see there: it labels on the CPU, slowly", worker)
        elif loaded.in_seals != self.in_seals:
            theirs, ours = (" ".join(map(str, each.values())) for each in (loaded.in_seals, self.in_seals))
            raise UsageError(
                f"{worker} would label with {theirs}, another one with {ours}, and an output has one: take nodes of "
                "one kind, or say which it is to be, with --engine, --dtype and --device"
            )

    def _lost(self, errand: _Errand, error: Exception, progress: Tally) -> None:
        """Have its shard done by another worker, and another worker in its place.

        Raises `EnvironmentFailure` for a shard that loses too many, and if no worker is left.
        """
        worker, planned = errand.worker, errand.planned
        why, doing = loss_in_words(error), _doing(worker)
        if planned:
            doing = f"labelled shard {planned.index}, of {self.job.inputs.files[planned.file].path}"
            progress.add(-errand.rows)
            self.left.appendleft(planned)
        self._dismiss(worker)
        self.losses[doing] += 1
        if self.losses[doing] < _LOSSES:
            log.warning("%s was lost as it %s, and is replaced (%s)", worker, doing, why)
            self._employ(worker)
        elif planned or len(self.workers) == 1:
            raise EnvironmentFailure(f"{_LOSSES} workers were lost as they {doing}; what is finished is kept ({why})")
        else:
            log.warning("%s was lost as it %s, and is not replaced again (%s)", worker, doing, why)
            self.workers.remove(worker)

    def _check_place(self) -> None:
        """Raise if nobody has had a place for too long."""
        if self.idle or self._labels():
            self.waits_since = None
        elif self.waits_since is None:
            self.waits_since = time.monotonic()
        elif time.monotonic() > self.waits_since + _PLACE_SECONDS:
            raise EnvironmentFailure(
                f"--ray {self.job.options.ray}: for {_PLACE_SECONDS / 60:.0f} minutes no node had room for a worker "
                f"({self.share}); what is finished is kept; run again when one has"
            )


def _doing(worker: _Worker) -> str:
    return f"loaded the model as worker {worker.number}"


@contextmanager
def ray_crew(job: Job, work: Work, shards: int, agree: Agree) -> Iterator[RayCrew]:
    """What labels so many shards on Ray. None of its workers is left behind the block."""
    assert job.options.ray
    with connected(job.options.ray) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = share_of(nodes, job.options.workers, _may_use_gpus(job.options))
        found = RayCrew(job, work, ray, share)
        try:
            found.begin(min(share.count, shards))
            found.agree_by(agree)
            there = f", and room for {share.places}" if share.places < len(found.workers) else ""
            log.info("workers on Ray: %d, %s%s", len(found.workers), share, there)
            yield found
        finally:
            found.end()


def _may_use_gpus(options: ScoreOptions) -> bool:
    return options.device != "cpu" and options.engine != "openvino" and options.dtype != "int8"
