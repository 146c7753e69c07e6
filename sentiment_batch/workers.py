"""Who labels the shards of a job: this process, or several that it begins, one for each GPU of this host.

A worker is a process that has the model. It gets a shard, labels and seals it as a job without workers does
(`sealed_part`), and gets the next one. All else is its parent's: the claim, the plan, the limit on rejects, the commit.
Between them there is a pipe: shards go one way; rows, log lines, parts and errors come the other.

A worker is ended by SIGKILL, whatever it does at that moment, which is as safe as it is for a whole job. When its
parent has died it ends by itself. Until it has, it holds the output's lock, so that no other run begins beside it;
where there are no locks it is like a second run of the job that comes late (write/commit.py).
"""

import _thread
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

from sentiment_batch import stop
from sentiment_batch.ahead import beforehand
from sentiment_batch.errors import EnvironmentFailure
from sentiment_batch.job import Job
from sentiment_batch.labelling import compute_of
from sentiment_batch.logs import Elsewhere, pass_on, say_again
from sentiment_batch.measure.metrics import peak_rss_bytes
from sentiment_batch.measure.progress import Tally
from sentiment_batch.model.compute import Compute, worker_computes
from sentiment_batch.read.plan import PlannedShard
from sentiment_batch.shards import sealed_part
from sentiment_batch.worker import Rows, check_same, sendable, variables_kept
from sentiment_batch.write.commit import Work
from sentiment_batch.write.part import Part

if TYPE_CHECKING:
    from sentiment_batch.ray_workers import RayCrew

_POLL_SECONDS = 0.1
_SAFE_PATH = "PYTHONSAFEPATH"
_SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
_LINE, _ROWS, _LOADED, _SEALED, _FAILED = "line", "rows", "loaded", "sealed", "failed"

Tell = Callable[[str, Any], None]
# The job as its parts are to be made, by what they are made with, as seals say it: None if none is to be made.
Agree = Callable[[dict[str, Any] | None], Job]
HasTime = Callable[[int], bool]  # whether so many rows may still be begun

log = logging.getLogger(__name__)


def always(rows: int) -> bool:
    """There is time for however many rows."""
    return True


@dataclass
class _Worker:
    """A process, as its parent sees it."""

    name: str
    process: SpawnProcess
    connection: Connection
    peak_rss_bytes: int = 0
    loaded: bool = False


@dataclass
class Crew:
    """What labels a job's shards; no workers is this process."""

    job: Job
    work: Work
    workers: list[_Worker] = field(default_factory=list)
    load_seconds: float = 0.0  # of the one that took longest

    @property
    def peak_rss_bytes(self) -> int:
        """Of all workers together."""
        return sum(worker.peak_rss_bytes for worker in self.workers)

    @property
    def at_once(self) -> int:
        """How many shards are labelled at the same time."""
        return len(self.workers) or 1

    @property
    def compute(self) -> dict[str, Any]:
        """What the parts are made with, as seals say it."""
        return compute_of(self.job.labeller)

    def again(self, planned: PlannedShard, progress: Tally) -> Part:
        """A part that was lost when all were sealed."""
        return sealed_part(self.job, self.work, planned, progress)

    def sealed(self, shards: Iterable[PlannedShard], progress: Tally, has_time: HasTime = always) -> Iterator[Part]:
        """The parts of the shards, which are begun in their order, each when it is sealed; then the workers end.

        When one can be begun, but `has_time` says that there is none for its rows, no more are. What a worker raises is
        raised here. A worker that dies is an `EnvironmentFailure`.
        """
        shards = takewhile(lambda planned: has_time(planned.shard.rows), shards)
        if not self.workers:
            yield from (sealed_part(self.job, self.work, planned, progress) for planned in shards)
            return
        waiting = iter(shards)
        begun = sum(_hand(worker, next(waiting, None)) for worker in self.workers)
        heard = _heard(self.workers, _SEALED, progress)
        while begun:
            worker, told = next(heard)
            part, effort, worker.peak_rss_bytes = told
            begun += _hand(worker, next(waiting, None)) - 1
            self.job.labeller.effort.add(effort)
            yield part
        _end(self.workers)


def open_crew(
    job: Job, work: Work, shards: int, agree: Agree, meanwhile: Callable[[], object]
) -> AbstractContextManager["Crew | RayCrew"]:
    """What labels so many shards, on this host or on Ray, when it has agreed on what they are made with.

    None is needed for none. `meanwhile` is called in a thread that nobody waits for, while models are loaded.
    """
    if job.options.ray is None or not shards:
        return local_crew(job, work, shards, agree, meanwhile)
    from sentiment_batch.ray_workers import ray_crew

    beforehand(meanwhile)
    return ray_crew(job, work, shards, agree)


@contextmanager
def local_crew(job: Job, work: Work, shards: int, agree: Agree, meanwhile: Callable[[], object]) -> Iterator[Crew]:
    """What labels so many shards, with its model loaded; none is needed for none.

    Raises `UsageError` for more workers than GPUs, and what a worker raises. None of them is left behind the block.
    """
    job = agree(compute_of(job.labeller) if shards else None)
    crew = Crew(job, work)
    computes = worker_computes(job.labeller.compute, job.options.workers, shards) if shards else []
    if len(computes) <= 1:
        crew.load_seconds = job.labeller.load(meanwhile) if shards else 0.0
        yield crew
        return
    beforehand(meanwhile)
    log.info("%d workers on %s", len(computes), _in_words(computes))
    try:
        for number, compute in enumerate(computes):
            crew.workers.append(_begun(work, number, compute))
        for worker, compute in zip(crew.workers, computes, strict=True):  # by now all of them are on their way
            with suppress(OSError):  # it has died: who listens to it will say so
                worker.connection.send((job, compute))
        for worker, seconds in _heard(crew.workers, _LOADED):
            worker.loaded, crew.load_seconds = True, max(crew.load_seconds, seconds)
            if all(each.loaded for each in crew.workers):
                break
        yield crew
    finally:
        _end(crew.workers)


def _in_words(computes: list[Compute]) -> str:
    if computes[0].device_kind == "cpu":
        return f"the CPU, {computes[0].streams} of its cores each"
    return ", ".join(compute.device for compute in computes)


def _begun(work: Work, number: int, compute: Compute) -> _Worker:
    """A worker that has a scratch folder of its own in this run's."""
    scratch = work.scratch / f"worker-{number}"
    scratch.mkdir()
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_work, args=(theirs, replace(work, scratch=scratch), number))
    with _safe_path():
        resource_tracker.ensure_running()  # beginning it lets signals through again
        with stop.kept_from_children():
            process.start()
    theirs.close()  # so that the worker alone has it, and its end is heard
    return _Worker(f"worker {number} ({compute.device})", process, ours)


@contextmanager
def _safe_path() -> Iterator[None]:
    """A Python that is begun in the block finds no module in the working folder: a stranger's dump may lie there."""
    with variables_kept(_SAFE_PATH):
        os.environ[_SAFE_PATH] = "1"
        yield


def _hand(worker: _Worker, planned: PlannedShard | None) -> int:
    """How many shards it got to do: one, if there is one."""
    if planned:
        with suppress(OSError):  # it has died: who listens to it will say so
            worker.connection.send(planned)
    return int(planned is not None)


def _heard(workers: list[_Worker], kind: str, progress: Tally | None = None) -> Iterator[tuple[_Worker, Any]]:
    """What the workers tell of that kind; rows and log lines are passed on. Raises as `Crew.sealed`, and `Stopped`."""
    by_connection: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
    while True:
        stop.check()
        for connection in wait(list(by_connection), _POLL_SECONDS):
            worker = by_connection[connection]
            try:
                told, value = worker.connection.recv()
            except (EOFError, OSError):
                raise _death_of(worker) from None
            if told == kind:
                yield worker, value
            elif told == _LINE:
                say_again(value)
            elif told == _ROWS and progress:
                progress.add(value)
            elif told == _FAILED:
                error, at = value
                raise error from Elsewhere(f"In {worker.name}:\n{at}")


def _death_of(worker: _Worker) -> EnvironmentFailure:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"ended with exit code {code}"
    if code < 0:
        names = {int(each): each.name for each in signal.Signals}
        how = f"was killed by {names.get(-code, f'signal {-code}')}"
        how += ", as the system does where memory is short" if -code == signal.SIGKILL else ""
    elif not worker.loaded:
        how += ' before it had a model (a script that calls `score` needs: if __name__ == "__main__")'
    return EnvironmentFailure(f"{worker.name} {how}; what is finished is kept: run again")


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.connection.close()


# In the worker


def _work(connection: Connection, work: Work, number: int) -> None:
    """A worker from its begin to its end."""
    _thread.start_new_thread(_end_with_parent, ())
    turn = threading.RLock()  # what is said while something is told comes in between

    def tell(kind: str, value: Any) -> None:
        with turn:
            connection.send((kind, value))

    pass_on(partial(tell, _LINE), logging.WARNING if number else logging.INFO)  # all of them would say the same
    try:
        job, compute = connection.recv()
        check_same(job, work)
        job.labeller.compute = compute
        tell(_LOADED, job.labeller.load())
        rows = Rows(partial(tell, _ROWS))
        while planned := connection.recv():
            part = sealed_part(job, work, planned, rows)
            tell(_SEALED, (part, job.labeller.effort.taken(), peak_rss_bytes()))
    except BaseException as error:
        with suppress(OSError):  # the parent is gone
            _tell_of(error, tell)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "a worker has one"
    wait([parent.sentinel])
    os._exit(1)


def _tell_of(error: BaseException, tell: Tell) -> None:
    """Have the parent raise it."""
    tell(_FAILED, sendable(error))
