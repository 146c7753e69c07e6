"""deadline.py, and `score --deadline`: stopped between two parts, and finished with the same bytes by the next run."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import Program, random_texts
from faults import stub

from sentiment_batch import deadline as module
from sentiment_batch.deadline import Deadline, deadline_of, seconds_until
from sentiment_batch.errors import UsageError

NOW = datetime(2026, 11, 26, 2, 0, 30)


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        ("05:30", 3.5 * 3600 - 30),
        ("2:01", 30),
        ("02:00", 24 * 3600 - 30),
        ("00:00", 22 * 3600 - 30),
        ("90m", 5_400),
        ("2h30m", 9_000),
        ("45s", 45),
        ("1h1m1s", 3_661),
    ],
)
def test_clocks_and_durations(deadline: str, seconds: float) -> None:
    assert seconds_until(deadline, NOW) == seconds


def test_a_night_in_which_the_clocks_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert seconds_until("05:30", datetime(2026, 3, 29, 1, 30)) == 3 * 3600, "an hour of it is left out"
        zoned = datetime(2026, 10, 25, 1, 30, tzinfo=ZoneInfo("Europe/Berlin"))
        assert seconds_until("05:30", zoned) == 5 * 3600, "an hour of it comes twice"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "deadline", ["24:00", "05:60", "0530", "5", "half past", "-1h", "0m", "1m1h", "99999999h", "5:3"]
)
def test_what_is_no_deadline_is_shown_how_to_write_one(deadline: str) -> None:
    with pytest.raises(UsageError, match="write it as the time of a clock, 05:30, or as a duration, 90m"):
        deadline_of(deadline)


@pytest.mark.parametrize(
    ("rows", "at_once", "begun"), [(300, 1, True), (301, 1, False), (150, 2, True), (151, 2, False)]
)
def test_a_piece_is_begun_if_it_will_be_done_in_time(
    monkeypatch: pytest.MonkeyPatch, rows: int, at_once: int, begun: bool
) -> None:
    """100 rows took 10 s, and the end is in 30 s."""
    times = iter([100.0, 110.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(times))
    deadline = Deadline(40.0, started=100.0)
    assert deadline.has_time(lambda: 100, at_once)(rows) == begun


def test_the_first_piece_is_begun_however_large_it_is_but_not_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 139.0, 141.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(times))
    deadline = Deadline(40.0, started=100.0)
    has_time = deadline.has_time(lambda: 0, 1)
    assert has_time(10**9)
    assert not has_time(1)


def test_once_there_is_no_time_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which a worker that becomes free later hears, too."""
    monkeypatch.setattr(module, "monotonic", lambda: 110.0)
    has_time = Deadline(40.0, started=100.0).has_time(lambda: 0, 1)
    assert has_time(1)
    monkeypatch.setattr(module, "monotonic", lambda: 141.0)
    assert not has_time(1)
    monkeypatch.setattr(module, "monotonic", lambda: 110.0)
    assert not has_time(1)


def test_without_a_deadline_there_is_always_time() -> None:
    assert Deadline(None).has_time(lambda: 1, 1)(10**12)


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the model, which is put back afterwards."""
    stub.install_for(monkeypatch)


@pytest.fixture
def dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "dump.tsv"
    path.write_text("text\n" + "".join(f"{text}\n" for text in random_texts(100)), encoding="utf-8")
    return path


def score(program: Program, dump: Path, out: Path, *others: object) -> Any:
    options = ("--model", "stub", "--output", out, "--shard-rows", 10, "--progress", "none", "--metrics", f"{out}.json")
    return program("score", dump, *options, *others)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_was_stopped_is_finished_with_the_same_bytes(
    dump: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert score(program, dump, whole).code == 0
    times = iter([0.0, 0.0, *(each / 2 for each in range(10_000))])
    with monkeypatch.context() as clock:
        clock.setattr(module, "monotonic", lambda: float(next(times)))
        stopped = score(program, dump, out, "--deadline", "3s", "--workers", workers)
    assert stopped.code == 10
    sealed = len(list((tmp_path / ".out.wip").glob("part-*.parquet")))
    assert 0 < sealed < 10
    assert f"error: stopped for --deadline 3s: {sealed} of 10 parts are in " in stopped.err
    assert "run the same command to go on" in stopped.err
    assert not out.exists()
    told = json.loads((tmp_path / "out.json").read_text())
    assert (told["status"], told["exit_code"]) == ("stopped", 10)
    assert score(program, dump, out).code == 0, "whether it has a deadline is not of the job's identity"
    assert json.loads((tmp_path / "out.json").read_text())["run"]["resumed"]
    for part in whole.glob("part-*.parquet"):
        assert (out / part.name).read_bytes() == part.read_bytes()


def test_a_deadline_that_is_far_away_changes_nothing(dump: Path, tmp_path: Path, program: Program) -> None:
    assert score(program, dump, tmp_path / "out", "--deadline", "10h").code == 0
    assert score(program, dump, tmp_path / "out", "--deadline", "1s").code == 0, "done already"
    assert score(program, dump, tmp_path / "other", "--deadline", "soon").code == 2
