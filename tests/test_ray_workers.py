"""ray_workers.py with a Ray in its place that loses workers when it is told to; on a real one: tests/cluster."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults import stub
from faults.jobs import data_files, write_dump

from sentiment_batch import ray_worker, ray_workers, shards, workers
from sentiment_batch import score as score_job
from sentiment_batch.config import ScoreOptions
from sentiment_batch.deadline import Deadline
from sentiment_batch.errors import DeadlineReached, EnvironmentFailure, ModelRefused, TooManyRejects, UsageError
from sentiment_batch.measure.progress import Progress
from sentiment_batch.ray_worker import Told
from sentiment_batch.score import score

ROWS, SHARDS = 200, 7


class RayError(Exception):
    pass


class Ray:
    """Actors are objects of this process, and a call does its work when it is asked what it tells.

    `lose(worker, method, told)` says whether the worker is lost before it tells that.
    """

    def __init__(self, nodes: list[dict[str, float]], lose: Callable[..., bool]):
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.resources, self.lose = nodes, lose
        self.begun: list[Any] = []
        self.killed: list[Any] = []
        self.asked: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": each} for each in self.resources] + [
            {"Alive": False, "Resources": {"CPU": 9}}
        ]

    def put(self, value: Any) -> Any:
        return value

    def get(self, value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    def wait(self, calls: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return calls[:1], calls[1:]

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def remote(self, kind: Any) -> Any:
        def begin(*given: Any) -> Any:
            worker = kind(*given)
            self.begun.append(worker)
            call = lambda name: SimpleNamespace(  # noqa: E731
                options=lambda num_returns: SimpleNamespace(remote=lambda *of: self.told(worker, name, *of))
            )
            return SimpleNamespace(load=call("load"), label=call("label"), worker=worker)

        def options(**asked: Any) -> Any:
            self.asked = asked
            return SimpleNamespace(remote=begin)

        return SimpleNamespace(options=options)

    def told(self, worker: Any, name: str, *given: Any) -> Iterator[Any]:
        for told in getattr(worker, name)(*given):
            if self.lose(worker, name, told):
                yield RayError("the node is gone")
                return
            yield told


def never(*_: Any) -> bool:
    return False


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`run(lose, ...)`: a job on such a Ray, which is `run.ray` then."""
    stub.install_for(monkeypatch)
    monkeypatch.setattr(ray_worker, "pass_on", lambda *_: None)
    monkeypatch.setattr(ray_worker, "_TELL_SECONDS", 0.001)
    (tmp_path / "stub").mkdir()
    dump = write_dump(tmp_path / "dump.tsv", ROWS)

    def begin(lose: Callable[..., bool] = never, nodes: Any = ({"CPU": 2.0},), out: str = "out", **more: Any) -> Any:
        begin.ray = Ray(list(nodes), lose)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ray", begin.ray)  # type: ignore[attr-defined]
        given = {"input": (str(dump),), "model": str(tmp_path / "stub"), "output": str(tmp_path / out), "ray": "auto"}
        given |= {"workers": 2, "shard_rows": 30, "chunk_rows": 10, "max_reject_rate": 0.5, "progress": "none"}
        return score(ScoreOptions(**given | more))

    yield begin
    for actor in begin.ray.begun:  # type: ignore[attr-defined]
        actor.thread.shutdown()


@pytest.fixture
def expected(run: Run, tmp_path: Path) -> dict[str, str]:
    run(out="alone", ray=None, workers=1)
    return data_files(tmp_path / "alone")


def test_the_same_bytes(run: Any, expected: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        metrics = run()
    assert data_files(tmp_path / "out") == expected
    assert "workers on Ray: 2, 1 core each" in caplog.text
    assert run.ray.asked == {"num_cpus": 1, "num_gpus": 0, "scheduling_strategy": "SPREAD"}
    assert len(run.ray.begun) == len(run.ray.killed) == 2, "none is left behind"
    assert metrics["rows"]["in"] == ROWS
    assert run(ray=None)["already_done"], "it is the same job"


def test_no_more_workers_than_shards_are_left(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(workers=20, nodes=({"CPU": 4.0},), shard_rows=100)
    assert len(run.ray.begun) == 2
    assert "workers on Ray: 2, 1 core each" in caplog.text


def test_there_is_less_room_than_workers(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(workers=3)
    assert "workers on Ray: 3, 1 core each, and room for 2" in caplog.text


def test_gpus(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    run(workers="auto", nodes=({"CPU": 8.0, "GPU": 3.0},))
    assert len(run.ray.begun) == 3
    assert run.ray.asked["num_gpus"] == 1
    assert "has a GPU that PyTorch does not see there" in caplog.text
    for left_to_others in ({"device": "cpu"}, {"engine": "openvino"}, {"dtype": "int8"}):
        run(workers="auto", nodes=({"CPU": 8.0, "GPU": 3.0},), out=str(left_to_others), **left_to_others)
        assert run.ray.asked["num_gpus"] == 0


def test_a_lost_worker_costs_its_open_shard(
    run: Any, expected: dict[str, str], tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows count once; another worker is begun in its place."""
    rows: list[int] = []
    monkeypatch.setattr(Progress, "add", lambda self, count: rows.append(count))
    lost: list[Any] = []

    def lose(worker: Any, name: str, told: Told) -> bool:
        if name == "label" and not lost and told.result and told.result.part.seal["shard"] == 3:
            lost.append(worker)
            return True
        return False

    run(lose)
    assert data_files(tmp_path / "out") == expected
    assert sum(rows) == ROWS
    assert len(run.ray.begun) == 3
    assert "was lost as it labelled shard 3, of " in caplog.text
    assert "and is replaced (RayError: the node is gone)" in caplog.text


def test_a_shard_that_loses_three(run: Any, tmp_path: Path) -> None:
    def lose(worker: Any, name: str, told: Told) -> bool:
        return name == "label" and bool(told.result) and told.result.part.seal["shard"] == 3

    with pytest.raises(
        EnvironmentFailure, match=r"^3 workers were lost as they labelled shard 3, of .*dump\.tsv; what is"
    ):
        run(lose)
    assert {id(actor.worker) for actor in run.ray.killed} == set(map(id, run.ray.begun)), "none is left behind"


@pytest.mark.parametrize("times", [2, 3])
def test_workers_that_are_lost_while_they_load(times: int, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    lost: list[Any] = []

    def lose(worker: Any, name: str, _: Told) -> bool:
        if name == "load" and worker.number == 1 and len(lost) < times:
            lost.append(worker)
            return True
        return False

    assert run(lose)["rows"]["in"] == ROWS, "the other one does it all"
    assert (caplog.text.count("and is replaced"), caplog.text.count("and is not replaced again")) == (2, times - 2)
    with pytest.raises(EnvironmentFailure, match=r"3 workers were lost as they loaded the model as worker [01]"):
        run(lambda worker, name, _: name == "load", out="other")


def test_nodes_of_two_kinds(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them may differ in the last bits of a probability, and an output has one."""
    kinds = iter(["bfloat16", "float32"])
    monkeypatch.setattr(ray_worker, "compute_of", lambda _: {"engine": "torch", "dtype": next(kinds)})
    with pytest.raises(UsageError, match=r"would label with torch \w+, another one with torch \w+, .* one kind"):
        run()
    assert len(run.ray.killed) == 2


def test_an_error_of_a_worker(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "sealed_part", refuse)
    with pytest.raises(ModelRefused, match="it has changed") as raised:
        run()
    assert "In worker " in str(raised.value.__cause__)
    assert "in refuse" in str(raised.value.__cause__)
    assert len(run.ray.killed) == 2


def refuse(*_: Any) -> None:
    raise ModelRefused("it has changed")


def test_too_many_rejects_end_it(run: Any) -> None:
    with pytest.raises(TooManyRejects):
        run(max_reject_rate=0.0)
    assert len(run.ray.killed) == 2


def test_nobody_has_a_place(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "_PLACE_SECONDS", 0.1)
    monkeypatch.setattr(Ray, "wait", lambda self, calls, timeout: ([], calls))
    with pytest.raises(
        EnvironmentFailure, match=r"--ray auto: for 0 minutes no node had room for a worker \(1 core each\)"
    ):
        run()


def test_what_an_earlier_run_left_is_the_rest(
    run: Any, expected: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One shard is left: one worker is enough."""

    def lose(worker: Any, name: str, told: Told) -> bool:
        return name == "label" and bool(told.result) and told.result.part.seal["shard"] == 6

    with pytest.raises(EnvironmentFailure):
        run(lose)
    (tmp_path / ".out.wip" / "part-00006.parquet").unlink()
    with caplog.at_level(logging.INFO):
        metrics = run()
    assert metrics["run"]["resumed"]
    assert data_files(tmp_path / "out") == expected
    assert "workers on Ray: 1, 1 core each" in caplog.text
    assert len(run.ray.begun) == 1


def test_where_all_is_sealed_no_worker_is_begun(run: Any, expected: dict[str, str], tmp_path: Path) -> None:
    """The last shard was sealed each time, before its worker was lost."""

    def lose(worker: Any, name: str, told: Told) -> bool:
        return name == "label" and bool(told.result) and told.result.part.seal["shard"] == 6

    with pytest.raises(EnvironmentFailure):
        run(lose)
    assert run()["run"]["resumed"]
    assert data_files(tmp_path / "out") == expected
    assert not run.ray.begun


@pytest.fixture
def driver_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """One on whose host the model could not be labelled with at all."""

    def refuse(*_: object) -> None:
        raise AssertionError("what the driver would compute on is not asked for")

    for module in (score_job, workers):
        monkeypatch.setattr(module, "compute_of", refuse)


@pytest.mark.usefixtures("driver_of_another_kind")
def test_what_parts_are_made_with_is_the_workers_word(run: Any, tmp_path: Path) -> None:
    """Of a job that goes on, and of an earlier output, of which it keeps what it can."""

    def lose(worker: Any, name: str, told: Told) -> bool:
        return name == "label" and bool(told.result) and told.result.part.seal["shard"] == 3

    with pytest.raises(EnvironmentFailure):
        run(lose, out="first")
    (tmp_path / ".first.wip" / "part-00004.parquet").unlink(missing_ok=True)
    assert run(out="first")["run"]["resumed"]
    metrics = run(out="second", since=str(tmp_path / "first"), key=("id",))
    assert metrics["since"]["rows_kept"] == metrics["rows"]["scored"] > 0
    assert "why_none_kept" not in metrics["since"]


@pytest.mark.usefixtures("driver_of_another_kind")
def test_a_part_that_is_lost_when_all_are_sealed_is_made_by_a_worker(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    whole = shards.missing

    def take_one(*given: Any) -> Any:
        if not taken:
            taken.append((tmp_path / ".out.wip" / "part-00002.parquet").unlink())
        return whole(*given)

    monkeypatch.setattr(shards, "missing", take_one)
    metrics = run()
    assert taken
    assert metrics["rows"]["in"] == ROWS
    assert metrics["performance"]["rows_per_second"] > 0


def test_the_shard_of_a_lost_worker_is_not_begun_behind_the_deadline(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    over: list[bool] = []

    def lose(worker: Any, name: str, told: Told) -> bool:
        over.append(name == "label" and bool(told.result) and told.result.part.seal["shard"] == 1)
        return over[-1]

    monkeypatch.setattr(Deadline, "has_time", lambda *_: lambda rows: not any(over))
    with pytest.raises(DeadlineReached, match=r"^stopped for --deadline 9h: [1-4] of 7 parts"):
        run(lose, deadline="9h")
    assert over.count(True) == 1, "another worker has taken the place of the lost one, and nothing to do"
    assert len(run.ray.begun) == 3


@pytest.mark.parametrize(("address", "indexed"), [("auto", False), ("local", True)])
def test_for_a_bucket_the_driver_of_a_cluster_makes_no_index(
    address: str, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other host would see it: its workers make one where they are."""
    asked: list[bool] = []
    monkeypatch.setattr(score_job, "ready_job", lambda *_, indexed: asked.append(indexed))
    for output in ("s3://bucket/out", "/disk/out"):
        options = SimpleNamespace(ray=address, output=output)
        score_job._agreed(SimpleNamespace(options=options, shard_slice=None), None, [], {})  # type: ignore[arg-type]
    assert asked == [indexed, True]
