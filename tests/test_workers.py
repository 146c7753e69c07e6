"""workers.py: the same bytes by however many processes, and whatever becomes of one of them, or of their parent."""

import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import random_texts
from faults import stub
from faults.jobs import data_files, objects, write_dump
from faults.processes import processes

from sentiment_batch import errors
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import (
    Busy,
    EnvironmentFailure,
    GateFailed,
    InputError,
    ModelRefused,
    Stopped,
    TooManyRejects,
    UsageError,
)
from sentiment_batch.failures import Failure, attempt
from sentiment_batch.measure.progress import Progress
from sentiment_batch.model.classifier import Effort
from sentiment_batch.score import score
from sentiment_batch.workers import _tell_of

ROWS, SHARDS = 200, 7
OPTIONS = {"shard_rows": 30, "chunk_rows": 10, "max_reject_rate": 0.5, "progress": "none"}
TESTS = str(Path(__file__).parent)

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(hook)`: the stub in the place of the model, which calls the hook before each chunk."""
    stub.install_for(monkeypatch)
    return stub.install


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dump(tmp_path_factory.mktemp("dump") / "dump.tsv", ROWS)


def run(dump: Path, out: Path | str, workers: Any = 2, **more: Any) -> dict[str, Any]:
    options = {"input": (str(dump),), "model": "stub", "output": str(out), "workers": workers, **OPTIONS, **more}
    return score(ScoreOptions(**options))


@pytest.fixture
def expected(install: Install, dump: Path, tmp_path: Path) -> dict[str, str]:
    """The files of a job without workers."""
    run(dump, tmp_path / "alone", workers=1)
    return data_files(tmp_path / "alone")


def sealed(out: Path) -> dict[str, str]:
    """The files of unfinished work."""
    files = data_files(out.with_name(f".{out.name}.wip"))
    return {name: sha for name, sha in files.items() if not name.startswith(".")}


# The same bytes


@pytest.mark.parametrize("workers", [2, 3])
def test_bytes_do_not_depend_on_how_many_there_are(
    workers: int, expected: dict[str, str], dump: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        metrics = run(dump, tmp_path / "out", workers)
    assert data_files(tmp_path / "out") == expected
    assert len([name for name in expected if name.endswith(".parquet")]) == SHARDS
    assert f"{workers} workers on the CPU" in caplog.text
    assert metrics["rows"]["in"] == ROWS
    assert run(dump, tmp_path / "out", 1)["already_done"], "it is the same job"


def test_bytes_of_a_real_model(tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also the figures of the work are those of one process, whose cores they share."""
    texts = [*random_texts(120), None, ""]
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "dump.parquet")
    cut = {"model": str(tiny_model), "shard_rows": 25, "cache_rows": 30, "batch_tokens": 200}
    alone = run(tmp_path / "dump.parquet", tmp_path / "alone", 1, **cut)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        two = run(tmp_path / "dump.parquet", tmp_path / "two", 2, **cut)
    assert data_files(tmp_path / "two") == data_files(tmp_path / "alone")
    assert len(data_files(tmp_path / "two")) == 5
    for section in ("rows", "predictions", "model"):
        assert two[section] == alone[section]
    ours, theirs = (each["performance"] for each in (two, alone))
    assert ours["padding_share"] == theirs["padding_share"] > 0
    assert ours["load_seconds"] > 0
    assert ours["peak_rss_bytes"] > theirs["peak_rss_bytes"]
    assert ours["tokens_per_second"] > 0
    assert caplog.text.count("the model runs on") == 1, "said by the first, in the parent's log"


def test_the_progress_is_that_of_all(
    install: Install, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(Progress, "add", lambda self, count: told.append(count))
    run(dump, tmp_path / "out")
    assert sum(told) == ROWS
    assert len(told) >= ROWS // 10


def test_no_more_workers_than_shards(install: Install, dump: Path, tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.INFO):
        run(dump, tmp_path / "out", 8, shard_rows=100)
        run(dump, tmp_path / "one", 8, shard_rows=ROWS)
    assert re.findall(r"\d workers", caplog.text) == ["2 workers"]


def test_a_map_has_the_names_in_it_that_it_had(tmp_path: Path, install: Install) -> None:
    """In the footers of parts of another process, too, by which whoever reads them gets their types."""
    kind = pa.map_(pa.field("a key", pa.string(), nullable=False), pa.field("a value", pa.int64()))
    rows = pa.table({"text": [f"enak {row}" for row in range(90)], "m": pa.array([[("a", 1)]] * 90, kind)})
    pq.write_table(rows, tmp_path / "dump.parquet")
    (tmp_path / "stub").mkdir()
    for workers in (1, 2):
        options = {"input": (str(tmp_path / "dump.parquet"),), "model": str(tmp_path / "stub"), "shard_rows": 30}
        out = str(tmp_path / f"out{workers}")
        score(ScoreOptions(**options, output=out, chunk_rows=10, progress="none", workers=workers))
    assert data_files(tmp_path / "out1") == data_files(tmp_path / "out2")


def test_in_a_bucket(install: Install, dump: Path, bucket: str, tmp_path: Path) -> None:
    run(dump, f"{bucket}/alone", 1)
    run(dump, f"{bucket}/two", 2)
    assert objects(f"{bucket}/two") == objects(f"{bucket}/alone")
    assert len([name for name in objects(f"{bucket}/two") if name.endswith(".parquet")]) == SHARDS


def test_shards_are_begun_in_order_by_whoever_is_free(install: Install, dump: Path, tmp_path: Path) -> None:
    """The first to be asked is slow: the other one does the rest."""
    (tmp_path / "begun").mkdir()
    install(partial(first_is_slow, tmp_path / "begun"))
    run(dump, tmp_path / "out")
    chunks = {path.name: len(path.read_text()) for path in (tmp_path / "begun").iterdir() if path.name != "slow"}
    assert sorted(chunks.values()) == [3, ROWS // 10 - 3]


def first_is_slow(folder: Path) -> None:
    with (folder / str(os.getpid())).open("a") as file:
        file.write(".")
    if not is_second(folder / "slow"):
        time.sleep(1.5)


# What goes wrong in a worker


def test_a_worker_that_is_killed(
    install: Install, expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(partial(after_chunks, 7, partial(signal.raise_signal, signal.SIGKILL)))
    with pytest.raises(EnvironmentFailure, match=r"worker [01] \(cpu\) was killed by SIGKILL.*; what is finished"):
        run(dump, tmp_path / "out")
    kept = sealed(tmp_path / "out")
    assert len(kept) >= 2
    assert kept.items() <= expected.items()
    install()
    assert run(dump, tmp_path / "out", 1)["run"]["resumed"]
    assert data_files(tmp_path / "out") == expected
    assert not list(tmp_path.glob(".out*"))


_chunks = 0


def after_chunks(chunks: int, fault: Callable[[], None]) -> None:
    global _chunks
    _chunks += 1
    if _chunks > chunks:
        fault()


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (partial(signal.raise_signal, signal.SIGSEGV), "was killed by SIGSEGV; what is finished is kept: run again"),
        (partial(os._exit, 3), "ended with exit code 3; what is finished is kept: run again"),
    ],
)
def test_other_ends_of_a_worker(end: Any, told: str, install: Install, dump: Path, tmp_path: Path) -> None:
    install(end)
    with pytest.raises(EnvironmentFailure) as ended:
        run(dump, tmp_path / "out")
    assert str(ended.value).endswith(told)


class Unsendable(Exception):
    def __init__(self, one: str, two: str):
        super().__init__(f"{one} and {two}")


def raises(kind: str) -> None:
    if kind == "panic":
        raise type("PanicException", (BaseException,), {})("index out of bounds")
    if kind == "unsendable":
        raise Unsendable("one", "two")
    raise {
        "usage": UsageError("give another"),
        "refused": ModelRefused("no such tensor"),
        "environment": EnvironmentFailure("the device failed"),
        "stopped": Stopped(signal.SIGHUP),
        "gate": GateFailed("not good enough", {"f1": 0.1}),
        "memory": MemoryError(),
        "disk": OSError(30, "Read-only file system", "/the/file", None, "/the/other"),
        "threads": RuntimeError("can't start new thread"),
        "bug": KeyError("a name"),
        "arrow": pa.ArrowInvalid("not so"),
        "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    }[kind]


UNSENDABLE = ("panic", "unsendable")
SENDABLE = (
    *("usage", "refused", "environment", "stopped", "gate", "memory", "disk", "threads", "bug", "arrow", "unicode"),
)


@pytest.mark.parametrize("kind", [*SENDABLE, *UNSENDABLE])
def test_an_error_that_is_sent_ends_a_job_in_the_same_way(kind: str) -> None:
    ours, theirs = multiprocessing.Pipe()
    here = attempt(lambda: raises(kind))
    assert isinstance(here, Failure)
    _tell_of(here.error, lambda told, value: theirs.send((told, value)))
    told, (error, at) = ours.recv()
    there = attempt(lambda: raised(error))
    assert isinstance(there, Failure)
    assert (told, there.code, there.text) == ("failed", here.code, here.text)
    assert (type(error), error.args) == (type(here.error), here.error.args) or kind in UNSENDABLE
    assert getattr(error, "filename2", None) == getattr(here.error, "filename2", None)
    assert "in raises" in at


def raised(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", ["disk", "bug", "panic"])
def test_an_error_in_a_worker_is_the_jobs(kind: str, install: Install, dump: Path, tmp_path: Path) -> None:
    install(partial(raises, kind))
    here, there = (attempt(lambda w=w: run(dump, tmp_path / f"out{w}", w)) for w in (1, 2))  # type: ignore[misc]
    assert isinstance(here, Failure)
    assert isinstance(there, Failure)
    assert (there.code, there.text) == (here.code, here.text)
    assert re.match(r"In worker [01] \(cpu\):\nTraceback .*", str(there.error.__cause__))
    assert "in raises" in str(there.error.__cause__), "the traceback tells where it happened"


def test_every_error_of_ours_is_the_same_when_it_has_travelled() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(kinds) > 9
    ours, theirs = multiprocessing.Pipe()
    for kind in kinds:
        error = {Stopped: lambda: Stopped(15), GateFailed: lambda: GateFailed("text", {"rows": 1})}.get(
            kind, lambda kind=kind: kind("text")
        )()
        ours.send(error)
        found = theirs.recv()
        assert (type(found), str(found)) == (kind, str(error))
        assert (found.exit_code, found.metrics) == (error.exit_code, error.metrics)


def test_an_input_that_is_edited(install: Install, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump.tsv", ROWS)
    install(partial(after_chunks, 4, partial(append, dump)))
    with pytest.raises(InputError, match=r"dump\.tsv changed during the run; nothing was published"):
        run(dump, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("9\tmore\n")


def test_too_many_rejects_end_it_at_once(install: Install, dump: Path, tmp_path: Path) -> None:
    install(partial(time.sleep, 0.05))
    with pytest.raises(TooManyRejects, match=r"of 200 rows are rejected, more than --max-reject-rate 0 allows"):
        run(dump, tmp_path / "out", max_reject_rate=0.0)
    assert 1 <= len([name for name in sealed(tmp_path / "out") if name.endswith(".parquet")]) < SHARDS - 1


def test_all_of_them_must_load(install: Install, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the second GPU there is no room."""
    monkeypatch.setattr(stub, "_again", partial(no_room, tmp_path / "first"))
    with pytest.raises(EnvironmentFailure, match="no room on cuda:1"):
        run(dump, tmp_path / "out")
    assert sealed(tmp_path / "out") == {}


def no_room(first: Path, *given: Any) -> stub.StubLabeller:
    labeller = stub._again(*given)

    def load() -> float:
        if is_second(first):
            raise EnvironmentFailure("no room on cuda:1")
        return 1.0

    labeller.load = load  # type: ignore[method-assign]
    return labeller


def is_second(first: Path) -> bool:
    try:
        first.touch(exist_ok=False)
    except FileExistsError:
        return True
    return False


def test_rows_are_begun_when_all_have_loaded(
    install: Install, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else their time would be counted as that of the rows."""
    monkeypatch.setattr(stub, "_again", partial(slow_to_load, tmp_path / "first"))
    performance = run(dump, tmp_path / "out")["performance"]
    assert performance["load_seconds"] == 2.5


def slow_to_load(first: Path, *given: Any) -> stub.StubLabeller:
    labeller = stub._again(*given)

    def load() -> float:
        late = is_second(first)
        time.sleep(0.5 * late)
        return 1.5 + late

    labeller.load = load  # type: ignore[method-assign]
    return labeller


def test_a_model_that_changed_meanwhile(tiny_model: Path, dump: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A worker reads the folder anew."""
    monkeypatch.setattr(stub.labeller.Labeller, "digest", "of the model that was there")
    with pytest.raises(ModelRefused, match="changed while it was loaded"):
        run(dump, tmp_path / "out", model=str(tiny_model))


def test_the_work_of_all_is_summed() -> None:
    effort = Effort(10, 20, 1)
    taken = effort.taken()
    assert (effort, taken) == (Effort(), Effort(10, 20, 1))
    effort.add(taken)
    effort.add(Effort(1, 2, 3))
    assert effort == Effort(11, 22, 4)


# The parent is stopped, or killed

SCRIPT = """
import sys, time
from functools import partial
from faults import stub
from sentiment_batch.cli import main

if __name__ == "__main__":
    stub.install(partial(time.sleep, {seconds}))
    sys.argv[0] = "sentiment-batch"
    main()
"""


class Started:
    """The program with a slow stub and two workers, in a session of its own."""

    def __init__(self, dump: Path, out: Path, seconds: float = 0.1, code: str = SCRIPT, folder: Path | None = None):
        script = out.with_name("script.py")
        script.write_text(code.format(seconds=seconds))
        flags = {name: value for name, value in OPTIONS.items() if name != "progress"}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        self.err = out.with_name("err")
        with self.err.open("w") as err:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "ignore", str(script), "score", str(dump), "--model", "stub"),
                    *("--output", str(out), "--workers", "2", *options),
                ],
                stdout=subprocess.DEVNULL,
                stderr=err,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([TESTS, *filter(None, sys.path)])},
                start_new_session=True,
                cwd=folder,
            )

    def members(self) -> list[int]:
        """The living processes of the session."""
        there = ((pid, fields) for pid, fields in processes() if fields[0] != "Z")
        return [pid for pid, (_, _, _, session, *_) in there if int(session) == self.process.pid]

    def workers(self) -> list[int]:
        return [pid for pid in self.members() if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]

    def wait_for(self, what: Callable[[], object], seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, self.err.read_text()
            time.sleep(0.01)

    def close(self) -> None:
        for pid in self.members():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def started(dump: Path, tmp_path: Path) -> Iterator[Started]:
    process = Started(dump, tmp_path / "out")
    yield process
    process.close()


def part(tmp_path: Path) -> bool:
    return any((tmp_path / ".out.wip").glob("part-*"))


@pytest.mark.parametrize("when", ["at once", "at work"])
@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_stop_of_the_parent_stops_all(
    number: signal.Signals,
    to_all: bool,
    when: str,
    started: Started,
    expected: dict[str, str],
    dump: Path,
    tmp_path: Path,
) -> None:
    """A Ctrl-C goes to the workers, too."""
    started.wait_for(lambda: part(tmp_path) if when == "at work" else started.workers())
    os.killpg(started.process.pid, number) if to_all else os.kill(started.process.pid, number)
    assert started.process.wait(timeout=3) == 128 + number
    started.wait_for(lambda: not started.members(), 1)
    lines = [line for line in started.err.read_text().splitlines() if " INFO " not in line]
    assert [line.partition(":")[0] for line in lines] == ["error"], lines
    assert (not sealed(tmp_path / "out")) == (when == "at once")
    assert sealed(tmp_path / "out").items() <= expected.items()
    assert bool(run(dump, tmp_path / "out", 3)["run"]["resumed"]) == (when == "at work")
    assert data_files(tmp_path / "out") == expected
    assert not list(tmp_path.glob(".out*"))


def test_workers_end_when_their_parent_was_killed(
    started: Started, expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    started.wait_for(lambda: part(tmp_path))
    assert len(started.workers()) == 2
    started.process.kill()
    started.process.wait()
    started.wait_for(lambda: not started.members(), 2)
    assert "Traceback" not in started.err.read_text()
    assert sealed(tmp_path / "out").items() <= expected.items()
    assert run(dump, tmp_path / "out")["run"]["resumed"]
    assert data_files(tmp_path / "out") == expected


def test_they_do_so_in_the_middle_of_a_batch(dump: Path, tmp_path: Path) -> None:
    """One that takes a minute, in which nobody tells or asks anything."""
    started = Started(dump, tmp_path / "out", seconds=60)
    try:
        started.wait_for(lambda: len(list((tmp_path / ".out.wip" / ".scratch").glob("*/*/part-*"))) == 2)
        started.process.kill()
        started.process.wait()
        started.wait_for(lambda: not started.members(), 2)
    finally:
        started.close()


def test_no_other_run_begins_while_a_worker_of_a_dead_one_lives(
    started: Started, expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    """They are held up, and may still write: the lock is theirs, too."""
    started.wait_for(lambda: part(tmp_path))
    workers = started.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    started.process.kill()
    started.process.wait()
    with pytest.raises(Busy, match=f"held by another run.*process {started.process.pid} "):
        run(dump, tmp_path / "out")
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    started.wait_for(lambda: not started.members(), 2)
    run(dump, tmp_path / "out")
    assert data_files(tmp_path / "out") == expected


def test_no_module_of_the_working_folder_is_imported(dump: Path, tmp_path: Path) -> None:
    """`python -c`, by which a worker begins, looks there first."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    for name in ("multiprocessing", "pickle", "signal", "socket", "struct", "sentiment_batch"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'canary')!r}, 'w')\n")
    started = Started(dump, tmp_path / "out", seconds=0, folder=folder)
    try:
        assert started.process.wait(timeout=30) == 0, started.err.read_text()
    finally:
        started.close()
    assert not (folder / "canary").exists()


def test_a_script_without_a_guard_is_told(dump: Path, tmp_path: Path) -> None:
    script = SCRIPT.replace('if __name__ == "__main__"', "if True")
    started = Started(dump, tmp_path / "out", code=script)
    try:
        assert started.process.wait(timeout=30) == EnvironmentFailure.exit_code
        assert 'needs: if __name__ == "__main__"' in started.err.read_text().splitlines()[-1]
    finally:
        started.close()
