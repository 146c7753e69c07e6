"""What the system does to the process: signals, limits, closed streams, missing rights; and errors at every row.

Rows 6 to 10, 12, 13, 17, 20, 22, 45, 46 of the matrix, and M11 and N12 (README.md). Runs are forked from a process of
this file's own, in which each gets its fault by one of the functions under "In the forked run".
"""

import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from faults import zygote as forks
from faults.jobs import OPTIONS, arguments, check_finished, data_files, finish, is_published, write_dump
from faults.zygote import Zygote

ROWS = 110  # four shards
NOBODY = 65534
HERE = Path(__file__)
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path])}
Tier = Callable[[int, int], int]


class Forks(Zygote):
    """`run(..., prepare="fails_at", row=3)` calls that function of this file in the run before the program begins."""

    module = "faults.test_process"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    server = Forks(tmp_path_factory.mktemp("forks"))
    yield server
    server.close()


class Job:
    """A dump and what becomes of it when nothing happens."""

    def __init__(self, run: Forks, folder: Path, dump: Path, *more: object):
        self.run, self.folder, self.dump, self.more = run, folder, dump, more
        self.cases = 0
        out = self.fresh()
        self.seconds = finish(run, *self.command(out)).seconds
        self.expected = data_files(out)

    def fresh(self) -> Path:
        """An output that is not there yet, in a folder of its own."""
        self.cases += 1
        place = self.folder / f"case-{self.cases}"
        place.mkdir()
        return place / "out"

    def command(self, out: Path, *more: object) -> tuple[object, ...]:
        return arguments(self.dump, out, *self.more, *more)

    def check_nothing_half_done(self, out: Path) -> list[str]:
        """Not published, and what has a part's name is a part of the run that nothing happened to."""
        assert not is_published(out)
        parts = sorted((out.parent / ".out.wip").glob("part-*")) if out.parent.is_dir() else []
        found = {part.name: data_files(part.parent)[part.name] for part in parts}
        assert found.items() <= self.expected.items()
        return list(found)

    def check_goes_on(self, out: Path) -> None:
        """The same command without the fault ends the job."""
        finish(self.run, *self.command(out))
        check_finished(self.run, out, self.expected)


@pytest.fixture(scope="module")
def job(run: Forks, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    return Job(run, folder, write_dump(folder / "dump.tsv", ROWS))


# Signals


def test_a_signal_at_any_time(run: Forks, job: Job, tier: Tier) -> None:
    chance = random.Random(6)
    whole = run.run(*job.command(job.fresh()), prepare="slowly").seconds
    codes: list[int] = []
    cases = tier(15, 150)
    for case in range(cases):
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[case % 3]
        out = job.fresh()
        pid = run.start(*job.command(out), prepare="slowly")
        time.sleep(whole * (case + chance.random()) / cases)
        os.kill(pid, number)
        sent = time.monotonic()
        ended = run.wait(pid)
        assert time.monotonic() - sent < 2
        codes.append(ended.code)
        if ended.code != 0:
            assert ended.code in (128 + number, -number), ended.err
            assert ended.code < 0 or ended.err.endswith("run the same command to go on\n"), ended.err
            job.check_nothing_half_done(out)
        job.check_goes_on(out)
    assert sum(code > 128 for code in codes) > cases // 2, "most of them hit it at work"


def test_signals_again_and_then_kill(run: Forks, job: Job, tier: Tier) -> None:
    chance = random.Random(7)
    codes = set()
    for case in range(tier(6, 60)):
        out = job.fresh()
        pid = run.start(*job.command(out), prepare="slowly", never_looks=True)
        time.sleep(0.1 + chance.random() * 0.2)
        pauses = [chance.choice([0, 0.01, 0.05]) for _ in range(3)] if case else [0.1, 2, 0]  # two at once count as one
        for number, pause in zip((signal.SIGTERM, signal.SIGTERM, signal.SIGKILL), pauses, strict=True):
            os.kill(pid, number)
            time.sleep(pause)
        codes.add(run.wait(pid).code)
        job.check_nothing_half_done(out)
        job.check_goes_on(out)
    assert codes <= {-signal.SIGTERM, -signal.SIGKILL}
    assert -signal.SIGTERM in codes, "a second signal ends it without waiting for the third"


def test_a_job_that_does_not_look_is_ended(run: Forks, job: Job) -> None:
    """One very large batch, or a disk that does not answer."""
    out = job.fresh()
    pid = run.start(*job.command(out), prepare="slowly", seconds=60, never_looks=True, patience=0.5)
    until_work_has(out, ".plan.json")
    sent = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    ended = run.wait(pid)
    assert time.monotonic() - sent < 2
    assert ended.code == 143
    assert ended.err.count("error: stopped by signal 15") == 1
    job.check_nothing_half_done(out)
    job.check_goes_on(out)


@pytest.mark.parametrize(
    "place",
    [
        "write.part.PartWriter.__exit__",
        "write.beside.Beside.release",
        "measure.progress.Progress.__exit__",
    ],
)
def test_an_error_while_it_stops(run: Forks, job: Job, place: str) -> None:
    out = job.fresh()
    pid = run.start(*job.command(out), prepare="fails_while_it_stops", place=place)
    until_work_has(out, "part-00000.parquet")
    os.kill(pid, signal.SIGTERM)
    ended = run.wait(pid)
    assert ended.code == 1
    assert ended.err.endswith("\nerror: unexpected: RuntimeError: in the middle of stopping\n")
    job.check_nothing_half_done(out)
    job.check_goes_on(out)


def until_work_has(out: Path, name: str) -> None:
    deadline = time.monotonic() + 20
    while not (out.parent / ".out.wip" / name).exists():
        assert time.monotonic() < deadline, f"no {name}"
        time.sleep(0.002)


# Errors at every row

SHARD_ROWS = 8
PLACES = ("labeller.Labeller.prepare", "labeller.Labeller.label_and_count", "write.part.PartWriter.write")


@pytest.fixture(scope="module")
def small(run: Forks, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two shards of eight rows, and each row is a chunk."""
    folder = tmp_path_factory.mktemp("small")
    dump = folder / "dump.tsv"
    dump.write_text("id\ttext\n" + "".join(f"{row}\treview {row}\n" for row in range(2 * SHARD_ROWS)))
    return Job(run, folder, dump, "--shard-rows", SHARD_ROWS, "--chunk-rows", 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("error", "code"), [("RuntimeError", 1), ("MemoryError", 7), ("ArrowMemoryError", 7)])
def test_an_error_at_each_row(run: Forks, small: Job, place: str, error: str, code: int, tier: Tier) -> None:
    every = range(1, 2 * SHARD_ROWS + 1)
    rows = every if code == 1 else sorted(random.Random(place + error).sample(every, tier(2, len(every))))
    for row in rows:
        out = small.fresh()
        ended = run.run(*small.command(out), prepare="fails_at", place=place, row=row, error=error)
        assert ended.code == code, ended.err
        assert ("Traceback" in ended.err) == (code == 1)
        assert not re.search(r"review \d", ended.err), "the error's message has the row's text"
        parts = small.check_nothing_half_done(out)
        assert len(parts) == (row - 1) // SHARD_ROWS, "the shards before it, and nothing of its own"
        small.check_goes_on(out)


# Limits


def test_a_file_that_may_not_grow(run: Forks, job: Job) -> None:
    codes = []
    for limit in (600, 1_000, 2_000, 4_000, 100_000):
        out = job.fresh()
        ended = run.run(*job.command(out), prepare="limited", what="FSIZE", value=limit)
        codes.append(ended.code)
        if ended.code:
            assert "File too large" in ended.err
            assert "raise the limit on the size of a file (ulimit -f) and run again" in ended.err
            job.check_nothing_half_done(out)
        job.check_goes_on(out)
    assert codes == [7, 7, 7, 7, 0]


def test_ulimit_f_does_not_kill(job: Job) -> None:
    """The signal of a file too large is ignored from the start: the shell's limit, and a process of its own."""
    out = job.fresh()
    ended = shell(f"ulimit -f 2; exec {program(*job.command(out))}")
    assert ended.returncode == 7
    assert "File too large" in ended.stderr
    job.check_nothing_half_done(out)
    job.check_goes_on(out)


def test_less_and_less_memory(run: Forks, job: Job, tier: Tier) -> None:
    """Exit 7 or dead (127 is how glibc gives up), but never a published part of it. Counted from what the process has
    when it begins.

    Python waits for ever for a thread that had no memory to begin. Such a run is killed here, as a scheduler would.
    """
    kilobytes = range(0, 60_000, 250)
    codes = []
    hung = 0
    for limit in sorted([0, 60_000, *random.Random(8).sample(kilobytes, tier(12, len(kilobytes)))]):
        out = job.fresh()
        ended = run.run(*job.command(out), prepare="limited", what="AS", value=limit * 1024, limit=5)
        codes.append(ended.code)
        hung += ended.hung
        assert ended.code in (0, 7, 127) or ended.code < 0, ended.err
        if ended.code:
            job.check_nothing_half_done(out)
        else:
            assert is_published(out)
        job.check_goes_on(out)
    assert codes[0] != 0
    assert codes[-1] == 0
    assert hung < len(codes) / 3
    print(f"{len(codes)} limits, {hung} runs that waited for a thread")


def test_ulimit_v_never_publishes_a_part_of_it(job: Job, tier: Tier) -> None:
    """From before the first import on."""
    codes = []
    for megabytes in (100, 200, 300, 500) if tier(1, 0) else range(20, 1_000, 20):
        out = job.fresh()
        ended = shell(f"ulimit -v {megabytes * 1024}; exec {program(*job.command(out))}")
        codes.append(ended.returncode)
        if ended.returncode:
            job.check_nothing_half_done(out)
        else:
            check_finished(job.run, out, job.expected)
    assert any(codes)


def test_64_descriptors_are_enough(run: Forks, job: Job, tmp_path: Path) -> None:
    """For a hundred inputs too: no file is kept open."""
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for number in range(100):
        write_dump(dumps / f"{number:03}.tsv", 20)
    for given in (job.dump, dumps):
        out = job.fresh()
        ended = run.run(*arguments(given, out), prepare="limited", what="NOFILE", value=64)
        assert ended.code == 0, ended.err
        most = int(ended.err.rpartition("most descriptors: ")[2])
        assert 3 < most < 32
        assert run.run("verify", out).code == 0


def test_too_few_descriptors(run: Forks, job: Job) -> None:
    codes = []
    for limit in range(4, 24):
        out = job.fresh()
        ended = run.run(*job.command(out), prepare="limited", what="NOFILE", value=limit)
        codes.append(ended.code)
        if ended.code:
            assert "Too many open files" in ended.err
            job.check_nothing_half_done(out)
    job.check_goes_on(out)
    assert set(codes) == {0, 7}
    assert codes == sorted(codes, reverse=True)


# Rights


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A folder that every user may enter; root, whom no right stops, gives up being root in these tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("place", ["out", "new/folder/out", "full/out"])
def test_a_folder_that_may_not_be_written(run: Forks, for_all: Path, place: str) -> None:
    write_dump(for_all / "dump.tsv", ROWS)
    (for_all / "full" / ".out.wip").mkdir(parents=True)
    for folder in (for_all / "full" / ".out.wip", for_all / "full", for_all):
        folder.chmod(0o555)
    ended = run.run(*arguments(for_all / "dump.tsv", for_all / place), prepare="as_nobody")
    assert ended.code == 7
    assert "Permission denied" in ended.err
    assert str(for_all) in ended.err
    assert "the model is loaded" not in ended.err
    assert sorted(os.listdir(for_all)) == ["dump.tsv", "full"]


def test_an_input_that_may_not_be_read(run: Forks, for_all: Path) -> None:
    write_dump(for_all / "dump.tsv", ROWS).chmod(0)
    for_all.chmod(0o777 | stat.S_ISVTX)
    ended = run.run(*arguments(for_all / "dump.tsv", for_all / "out"), prepare="as_nobody")
    assert ended.code in (3, 7)
    assert "Permission denied" in ended.err
    assert os.listdir(for_all) == ["dump.tsv"]


def test_a_folder_that_everybody_may_write(run: Forks, for_all: Path) -> None:
    dump = write_dump(for_all / "dump.tsv", ROWS)
    for_all.chmod(0o777)
    ended = run.run(*arguments(dump, for_all / "out"), prepare="as_nobody")
    assert ended.code == 2
    assert "chmod o-w" in ended.err
    assert "the model is loaded" not in ended.err
    for_all.chmod(0o777 | stat.S_ISVTX)
    ended = run.run(*arguments(dump, for_all / "out"), prepare="as_nobody")
    assert ended.code == 0
    assert "the model is loaded" in ended.err


UNSHARED = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not UNSHARED, reason="this system lets nobody mount in a namespace of their own")
def test_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump.tsv", ROWS)
    (tmp_path / "disk").mkdir()
    run_it = program(*arguments(dump, tmp_path / "disk" / "out"))
    script = f"mount -t tmpfs none disk && mount -o remount,ro disk && exec {run_it}"
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 7
    assert "Read-only file system" in ended.stderr


# Standard streams

STREAMS = {
    "standard error is read to its first line": "{} 2>&1 | head -1",
    "nobody reads standard output": "{} | true",
    "standard output is closed": "{} >&-",
    "standard error is closed": "{} 2>&-",
    "all are closed": "{} <&- >&- 2>&-",
    "both are full": "{} > /dev/full 2> /dev/full",
}


@pytest.mark.parametrize("name", STREAMS)
def test_nobody_listens(job: Job, name: str, tier: Tier) -> None:
    for how in [("--progress", "bar"), ("--log-format", "json")][: tier(1, 2)]:
        check_nobody_listens(job, name, how)


def check_nobody_listens(job: Job, name: str, how: tuple[str, ...]) -> None:
    out = job.fresh()
    loud = program(*job.command(out, *how), start=f"from {Forks.module} import loud; loud()")
    ended = shell("set -o pipefail; " + STREAMS[name].format(loud))
    assert ended.returncode == 0, ended.stderr
    check_finished(job.run, out, job.expected)


# Metrics


def test_a_full_disk_for_the_metrics(zygote: Zygote, job: Job, tmp_path: Path) -> None:
    """The job is done, and says so; the same command writes the metrics alone."""
    out, metrics = job.fresh(), tmp_path / "metrics" / "metrics.json"
    command = job.command(out, "--metrics", metrics)
    fault = {"place": str(metrics.parent), "of": "write", "at": 1, "on": True, "fault": "ENOSPC"}
    ended = zygote.run(*command, **fault)
    assert ended.code == 7
    assert "error: all is done but --metrics" in ended.err
    assert os.listdir(metrics.parent) == []
    check_finished(job.run, out, job.expected)
    assert finish(zygote, *command).code == 0
    assert json.loads(metrics.read_text())["rows"]["in"] == ROWS


def test_a_full_disk_for_the_metrics_of_a_failure(zygote: Zygote, job: Job, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics" / "metrics.json"
    command = arguments(tmp_path / "no.tsv", tmp_path / "out", "--metrics", metrics)
    fault = {"place": str(metrics.parent), "of": "write", "at": 1, "on": True, "fault": "ENOSPC"}
    ended = zygote.run(*command, **fault)
    assert ended.code == 3, "the first failure counts"
    assert "the metrics file could not be written: " in ended.err
    assert ended.err.splitlines()[-1].startswith("error: no such file")


def test_an_error_in_writing_the_metrics(run: Forks, job: Job, tmp_path: Path) -> None:
    out = job.fresh()
    command = job.command(out, "--metrics", tmp_path / "metrics.json")
    ended = run.run(*command, prepare="fails_at", place="write.store.write_metrics_copy", row=1, error="RuntimeError")
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("error: all is done but --metrics, which could not be written: ")
    check_finished(job.run, out, job.expected)


# What is imported, and from where

HOSTILE = ("json", "torch", "pyarrow", "tqdm", "sentiment_batch", "sitecustomize", "obstore")


@pytest.fixture
def strangers(tiny_model: Path, tmp_path: Path) -> Path:
    """A folder to work in and one of inputs; in each are modules named as others, that leave a mark."""
    (tmp_path / "work").mkdir()
    (tmp_path / "dumps").mkdir()
    write_dump(tmp_path / "dumps" / "dump.tsv", 20)
    shutil.copytree(tiny_model, tmp_path / "model")
    for name in HOSTILE:
        for folder in ("work", "dumps"):
            (tmp_path / folder / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r})\n")
    return tmp_path


def test_no_module_of_a_stranger_is_imported(strangers: Path) -> None:
    """As the crontab starts it, and as a module, for which the working folder would come first."""
    crontab = (HERE.parents[2] / "jobs" / "crontab").read_text()
    (line,) = [line for line in crontab.splitlines() if line.startswith("0 2,5 ")]
    assert "&& PYTHONSAFEPATH=1 .venv/bin/sentiment-batch run " in line
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: object, **more: str) -> int:
        ended = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=strangers / "work",
            env={**environment, **more},
            capture_output=True,
            check=False,
        )
        return ended.returncode

    out = strangers / "out"
    job = ("score", strangers / "dumps/dump.tsv", "--model", strangers / "model", "--output", out, *OPTIONS)
    script = Path(sys.executable).with_name("sentiment-batch")
    assert run("-m", "sentiment_batch", *job, PYTHONSAFEPATH="1") == 0
    assert run(script, "verify", out) == 0
    assert run(script, *job, PYTHONSAFEPATH="1") == 0
    assert not (strangers / "mark").exists()
    run("-m", "sentiment_batch", "--version")
    assert (strangers / "mark").exists(), "the variable is needed"


def test_only_a_training_goes_to_the_network(tiny_model: Path, tmp_path: Path) -> None:
    """With the real model, and though the environment says that the Hub is wanted."""
    (tmp_path / "a.tsv").write_text("text\tlabel\nbagus\tpositive\nburuk\tnegative\n")
    listening = (
        "import sys\n"
        "def heard(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto'):\n"
        "        sys.stderr.write(f'went to the network: {event}')\n"
        "sys.addaudithook(heard)\n"
        "from sentiment_batch.cli import main\n"
        "main()\n"
        "import huggingface_hub.constants\n"
        "assert huggingface_hub.constants.HF_HUB_OFFLINE\n"
    )
    job = ("score", tmp_path / "a.tsv", "--output", tmp_path / "out", "--model", tiny_model)
    ended = subprocess.run(
        [sys.executable, "-c", listening, *map(str, job)],
        env={**os.environ, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "went to the network" not in ended.stderr


# How they are started


def program(*arguments: object, start: str = "pass") -> str:
    """A shell's word for the program with the stub; it does `start` first."""
    code = f"import sys; from faults import stub; stub.install(); {start}; from sentiment_batch.cli import main; main()"
    return shlex.join([sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)])


def shell(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
    )


# In the forked run


def slowly(seconds: float = 0.02, never_looks: bool = False, patience: float = 8.0) -> None:
    """Each chunk takes so long, and looks for a signal as the real classifier does, or does not."""
    from faults.stub import StubLabeller
    from sentiment_batch import stop

    logits = StubLabeller.logits
    stop.PATIENCE_SECONDS = patience

    def slow(self: Any, tokens: Any, *rest: Any) -> Any:
        for _ in range(10 if len(tokens.lengths) else 0):
            if not never_looks:
                stop.check()
            time.sleep(seconds / 10)
        return logits(self, tokens, *rest)

    StubLabeller.logits = slow  # type: ignore[method-assign]
    if never_looks:
        stop.check = lambda: None


def _owner(place: str) -> tuple[Any, str]:
    """The module or class that has what is called so, and its name there."""
    import importlib

    parts = place.split(".")
    module = next(count for count in range(len(parts), 0, -1) if _is_module(parts[:count]))
    owner: Any = importlib.import_module(".".join(["sentiment_batch", *parts[:module]]))
    for name in parts[module:-1]:
        owner = getattr(owner, name)
    return owner, parts[-1]


def _is_module(parts: list[str]) -> bool:
    return ".".join(["sentiment_batch", *parts]) in sys.modules


def fails_while_it_stops(place: str) -> None:
    slowly()
    owner, name = _owner(place)
    call = getattr(owner, name)

    def fails(*arguments: Any) -> Any:
        result = call(*arguments)
        if sys.exc_info()[0] or any(arguments[1:]):
            raise RuntimeError("in the middle of stopping")
        return result

    setattr(owner, name, fails)


def fails_at(place: str, row: int, error: str) -> None:
    """The call of that number fails, with what a library might say: a text of the data in it."""
    kinds = {"RuntimeError": RuntimeError, "MemoryError": MemoryError, "ArrowMemoryError": pa.ArrowMemoryError}
    owner, name = _owner(place)
    call = getattr(owner, name)
    calls = 0

    def fails(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        batch = getattr(arguments[1], "batch", arguments[1]) if len(arguments) > 1 else None
        calls += 1 if not isinstance(batch, pa.RecordBatch) or batch.num_rows else 0
        if calls == row:
            raise kinds[error](f"cannot convert 'review {batch}'")
        return call(*arguments, **named)

    setattr(owner, name, fails)


def limited(what: str, value: int) -> None:
    """From when the command line begins; memory is counted from what the process has then."""
    from faults.stub import StubLabeller
    from sentiment_batch import cli

    main, logits = cli.main, StubLabeller.logits
    most = 0

    def measured(self: Any, *rest: Any) -> Any:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return logits(self, *rest)

    def begin() -> None:
        limit = value
        if what == "AS":
            limit += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (limit, limit))
        try:
            main()
        finally:
            if what == "NOFILE":
                sys.stderr.write(f"most descriptors: {most}")

    StubLabeller.logits = measured  # type: ignore[method-assign]
    cli.main = begin


def as_nobody() -> None:
    """Without root's rights, and says when the model would be loaded."""
    from faults.stub import StubLabeller
    from sentiment_batch import cli

    main = cli.main

    def begin() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        main()

    def load(_: Any, meanwhile: object) -> float:
        sys.stderr.write("the model is loaded\n")
        return 0.0

    StubLabeller.load = load  # type: ignore[method-assign]
    cli.main = begin


def loud() -> None:
    """A library that writes to the descriptors of the standard streams while parts are being written."""
    from faults.stub import StubLabeller

    logits = StubLabeller.logits

    def noisy(self: Any, *rest: Any) -> Any:
        for descriptor in (1, 2):
            try:
                os.write(descriptor, b"noise\n" * 100)
            except OSError:
                continue
        return logits(self, *rest)

    StubLabeller.logits = noisy  # type: ignore[method-assign]


def _prepared(request: Any) -> None:
    """Never returns."""
    try:
        fault = request.pop("fault")
        if fault:
            globals()[fault.pop("prepare")](**fault)
        _plain({**request, "fault": {}})
    except BaseException:
        traceback.print_exc()
    os._exit(99)


if __name__ == "__main__":
    assert threading.active_count() == 1
    _plain, forks._child = forks._child, _prepared
    forks.serve()
