"""ray_worker.py in this process, without Ray: what a worker tells, and what it asks of its node."""

import logging
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import stub
from faults.jobs import write_dump

from sentiment_batch import __version__, ray_worker, score
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import EnvironmentFailure, ModelRefused, OutputConflict, UsageError
from sentiment_batch.job import Job, kept_columns, required_columns
from sentiment_batch.ray_worker import Loaded, RayWorker, Sealed, Told, packed
from sentiment_batch.read.plan import open_inputs
from sentiment_batch.shards import planned_shards
from sentiment_batch.write.commit import Work, claim
from sentiment_batch.write.manifest import MADE, MARKER

ROWS = 100


@pytest.fixture(autouse=True)
def _logs_and_folder_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker's process is its own: what it says goes to its driver, and it stands where its driver stands."""
    monkeypatch.setattr(ray_worker, "pass_on", lambda *_: None)
    folder = os.getcwd()
    yield
    os.chdir(folder)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Job, Work]]:
    stub.install_for(monkeypatch)
    (tmp_path / "stub").mkdir()
    dump, out = write_dump(tmp_path / "dump.tsv", ROWS), str(tmp_path / "out")
    options = ScoreOptions(input=(str(dump),), model=str(tmp_path / "stub"), output=out, shard_rows=30, chunk_rows=10)
    labeller = score.open_labeller(options, "text")
    inputs = open_inputs(options.input, "auto", (), required_columns(options))
    found = Job(options, labeller, inputs, kept_columns(options, inputs.schema))
    work = claim(out, found.identity(), MARKER, False, MADE)
    assert not isinstance(work, dict)
    yield found, work
    work.release()


def worker(job: tuple[Job, Work], number: int = 0, version: str = __version__, **more: Any) -> RayWorker:
    return RayWorker(number, more.get("cores", 1), version, packed(*job))


def last(told: Iterator[Told]) -> Told:
    *_, found = told
    return found


def raised(told: Told) -> BaseException:
    assert told.result is None
    assert told.failed
    return told.failed[0]


def test_a_shard_is_labelled_and_sealed(job: tuple[Job, Work]) -> None:
    found = worker(job)
    loaded = last(found.load())
    assert isinstance(loaded.result, Loaded)
    assert loaded.result.in_seals["engine"] == "torch"
    for planned in planned_shards(*job):
        *before, told = found.label(planned, None)
        assert isinstance(told.result, Sealed)
        assert told.result.part.seal["shard"] == planned.index
        assert sum(each.rows for each in (*before, told)) == planned.shard.rows
        assert pickle.loads(pickle.dumps(told)) == told
    assert [path.name for path in job[1].scratch.iterdir()] == [], "nothing of it is left"
    assert found.work.lock is None, "that is the driver's"


def test_it_tells_of_its_rows_meanwhile(job: tuple[Job, Work], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "_TELL_SECONDS", 0.01)
    job[0].labeller.hook = slow  # type: ignore[attr-defined]
    found = worker(job)
    last(found.load())
    told = list(found.label(planned_shards(*job)[0], None))
    assert len([each for each in told if each.rows]) >= 2
    assert [bool(each.result) for each in told] == [False] * (len(told) - 1) + [True]


def slow() -> None:
    time.sleep(0.05)


def test_its_lines_are_told(job: tuple[Job, Work], monkeypatch: pytest.MonkeyPatch) -> None:
    passed: dict[str, Any] = {}
    monkeypatch.setattr(ray_worker, "pass_on", lambda tell, level: passed.update(tell=tell, level=level))
    for number, level in ((0, logging.INFO), (1, logging.WARNING)):
        found = worker(job, number)
        last(found.load())
        assert passed["level"] == level
        line = logging.LogRecord("name", logging.WARNING, "file", 1, "a line", (), None)
        passed["tell"](line)
        assert last(found.label(planned_shards(*job)[0], None)).lines == [line]


def test_an_error_is_told_and_not_raised(job: tuple[Job, Work]) -> None:
    job[0].labeller.hook = refuse  # type: ignore[attr-defined]
    found = worker(job)
    last(found.load())
    told = last(found.label(planned_shards(*job)[0], None))
    assert type(raised(told)) is ModelRefused
    assert told.failed
    assert "in refuse" in told.failed[1]


def refuse() -> None:
    raise ModelRefused("it has changed")


def test_its_share_of_the_cores(job: tuple[Job, Work], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "usable_cores", lambda: 8)
    monkeypatch.setattr("sentiment_batch.model.compute.usable_cores", lambda: 8)
    for cores, streams in ((1, 1), (3, 4), (4, 4), (8, 8), (16, 8)):
        assert last(worker(job, cores=cores).load()).result.compute.streams == streams


def test_another_version(job: tuple[Job, Work]) -> None:
    error = raised(last(worker(job, version="0.0.1").load()))
    assert type(error) is UsageError
    assert f"has sentiment-batch {__version__}, and the driver 0.0.1: install one on all nodes" in str(error)


@pytest.mark.parametrize("what", ["model", "input", "output"])
def test_what_a_node_does_not_see(what: str, job: tuple[Job, Work], tmp_path: Path) -> None:
    given = packed(*job)
    where = {"model": tmp_path / "stub", "input": tmp_path / "dump.tsv", "output": job[1].scratch}[what]
    where.rename(tmp_path / "elsewhere")
    error = raised(last(RayWorker(0, 1, __version__, given).load()))
    (tmp_path / "elsewhere").rename(where)
    assert type(error) is EnvironmentFailure
    assert str(error).startswith(f"{where} is not there on ")


def test_inputs_may_be_named_from_the_drivers_folder(
    job: tuple[Job, Work], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = open_inputs(("dump.tsv",), "auto", (), ("text",))
    given = packed(Job(job[0].options, job[0].labeller, inputs, job[0].columns), job[1])
    monkeypatch.chdir("/")
    found = RayWorker(0, 1, __version__, given)
    assert isinstance(last(found.load()).result, Loaded)
    assert isinstance(last(found.label(planned_shards(*job)[0], None)).result, Sealed)


def test_variables_of_the_driver_that_a_node_has_not_set(
    job: tuple[Job, Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-driver")
    given = packed(*job)
    assert b"secret-of-the-driver" not in given
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    last(RayWorker(0, 1, __version__, given).load())
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["HF_HUB_OFFLINE"] == "0"


def test_an_output_that_was_taken_over(job: tuple[Job, Work]) -> None:
    """There is no lock to tell it: the claim does."""
    found = worker(job)
    last(found.load())
    (job[1].folder / ".claim.json").write_text('{"job_id": "another"}')
    assert type(raised(last(found.label(planned_shards(*job)[0], None)))) is OutputConflict
    assert not list(job[1].folder.glob("part-*"))


def test_a_scratch_folder_that_a_newer_run_removed(job: tuple[Job, Work]) -> None:
    """As of a worker whose driver was killed, when the next one begins: nothing of it comes into the output."""
    found = worker(job)
    last(found.load())
    planned = planned_shards(*job)[0]
    job[1].scratch.rename(job[1].scratch.with_name("elsewhere"))
    assert type(raised(last(found.label(planned, None)))) is FileNotFoundError
    assert not list(job[1].folder.glob("part-*"))
