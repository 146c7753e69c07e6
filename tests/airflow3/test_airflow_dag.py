"""jobs/airflow_dag.py on a real Airflow: retried, timed out, backfilled and cleared as a team would do it."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from airflow3.engine import DAG, GUIDE, PROGRAM, ROOT, Airflow, has_slices, until

pytestmark = pytest.mark.timeout(1800)  # on a busy machine

PARSE = """
import sys, time
import airflow.sdk
from importlib.util import module_from_spec, spec_from_file_location
from airflow.sdk import DAG, Asset, BaseOperator, CronDataIntervalTimetable, Param
begin = time.perf_counter()
spec = spec_from_file_location("airflow_dag", sys.argv[1])
spec.loader.exec_module(module_from_spec(spec))
print(time.perf_counter() - begin)
packages = {name.partition(".")[0] for name in sys.modules}
print(*sorted(packages & {"sentiment_batch", "torch", "transformers", "pyarrow"}))
"""

ROWS = 3_000  # six parts of 500


def versions(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file as the file system knows it: written again, it would be another."""
    found = {path: path.stat() for path in sorted(folder.rglob("*"))}
    return {
        str(path.relative_to(folder)): (each.st_ino, each.st_mtime_ns, each.st_size) for path, each in found.items()
    }


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}


def undisturbed(airflow: Airflow, reviews: Path, day: str) -> dict[str, bytes]:
    """The parts of the same job, which nothing happened to."""
    output = reviews / "undisturbed" / day
    command = [PROGRAM, "score", reviews / "dumps" / f"{day}.parquet", "--model", reviews / "models" / "1"]
    subprocess.run([*command, "--output", output], env=airflow.env, check=True, capture_output=True)
    return parts(output)


@contextmanager
def held(work: Path) -> Iterator[int]:
    """The process that labels there, when it has sealed a part; it does not go on before the end of the block."""
    until(lambda: (work / "part-00000.parquet").exists(), "the first part", pause=0.01)
    process = int(re.findall(r"process (\d+)", (work / ".lock").read_text())[0])
    os.kill(process, signal.SIGSTOP)
    try:
        assert work.exists(), "it had finished"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def test_it_is_parsed_in_no_time_and_without_the_program(tmp_path: Path) -> None:
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", PARSE, DAG], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    seconds, imported = ended.stdout.splitlines()
    print(f"parsed in {float(seconds):.3f} s")
    assert float(seconds) < 1
    assert not imported


def test_a_night_from_nothing(airflow: Airflow, reviews: Path, nightly: tuple[str, str]) -> None:
    assert airflow.states(*nightly) == dict.fromkeys(("train", "evaluate", "score", "verify"), "success")
    assert [airflow.exits(*nightly, task) for task in ("train", "evaluate", "score", "verify")] == [[0]] * 4
    labels = reviews / "labelled" / "2026-01-31"
    assert {"part-00000.parquet", "part-00001.parquet", "_SUCCESS", "_metrics.json"} <= set(versions(labels))
    told = airflow.xcom(*nightly, "score")
    assert (told["status"], told["rows_in"], told["output"]) == ("done", 1_000, str(labels))
    assert Path(told["metrics"]) == reviews / "metrics" / "2026-01-31" / "score.json"
    assert Path(told["metrics"]).exists()
    assert {"ACC", "F1", "REC", "PRE"} <= set(airflow.xcom(*nightly, "evaluate"))
    log = airflow.log(*nightly, "score")
    assert any("1,000 in = 1,000 out + 0 rejected" in line for line in log)


def test_the_labels_are_an_asset(airflow: Airflow, reviews: Path, nightly: tuple[str, str]) -> None:
    events = airflow.ask("/api/v2/assets/events")["asset_events"]
    found = next(each for each in events if each["source_run_id"] == nightly[1] and each["source_dag_id"] == nightly[0])
    assert (found["name"], found["source_task_id"]) == ("labelled_reviews", "verify")
    assert found["extra"]["output"] == str(reviews / "labelled" / "2026-01-31")


def test_the_same_by_hand_once_more(airflow: Airflow, nights: list[tuple[str, str]]) -> None:
    for task in ("train", "evaluate", "score"):
        assert any("done already" in line for line in airflow.log(*nights[1], task)), task


def test_a_night_that_is_done_is_left_alone(airflow: Airflow, reviews: Path, nightly: tuple[str, str]) -> None:
    folders = [reviews / "labelled" / "2026-01-31", reviews / "models" / "1", reviews / "models" / "1-evaluation"]
    before = [versions(folder) for folder in folders]
    airflow.clear(*nightly)
    assert airflow.ended(*nightly) == "success"
    for task in ("train", "evaluate", "score"):
        assert airflow.exits(*nightly, task) == [0, 0]
        assert any("done already" in line for line in airflow.log(*nightly, task, 1)), task
        assert airflow.xcom(*nightly, task)["already_done"] is True
    assert [versions(folder) for folder in folders] == before


def test_a_gate_that_does_not_hold_ends_the_night_at_once(
    airflow: Airflow, reviews: Path, nightly: tuple[str, str]
) -> None:
    run = airflow.trigger("strict", "2026-01-31")
    assert airflow.ended("strict", run) == "failed"
    states = airflow.states("strict", run)
    assert (states["train"], states["evaluate"]) == ("success", "failed")
    assert {states[task] for task in ("score", "verify")} == {"upstream_failed"}
    assert airflow.exits("strict", run, "evaluate") == [9], "and not again"
    log = airflow.log("strict", run, "evaluate")
    assert any(line.startswith("error: the model is not good enough: macro_f1>=0.99") for line in log)
    told = airflow.xcom("strict", run, "evaluate")
    assert (told["exit_code"], told["status"]) == (9, "gate_failed")
    assert told["F1"] < 0.99


def test_a_backfill_of_three_days_gives_three_outputs(
    airflow: Airflow, reviews: Path, make_dump: Callable[..., Path], nightly: tuple[str, str]
) -> None:
    days = ["2026-03-01", "2026-03-02", "2026-03-03"]
    for seed, day in enumerate(days):
        make_dump(day, 600, 10 + seed)
    airflow.guide("backfill create")
    runs = [run for run in airflow.runs("label_reviews") if run["run_type"] == "backfill"]
    assert [run["data_interval_start"][:10] for run in runs] == days
    assert [airflow.ended("label_reviews", run["dag_run_id"]) for run in runs] == ["success"] * 3
    for run, day in zip(runs, days, strict=True):
        told = airflow.xcom("label_reviews", run["dag_run_id"], "score")
        assert (told["output"], told["rows_in"]) == (str(reviews / "labelled" / day), 600)
        assert (reviews / "labelled" / day / "_SUCCESS").exists()
    tasks = [each for run in runs for each in airflow.instances("label_reviews", run["dag_run_id"])]
    spans = sorted((each["start_date"], each["end_date"]) for each in tasks if each["task_id"] == "score")
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), "one at a time"


def test_a_scoring_that_is_killed_is_finished_by_its_retry(
    airflow: Airflow, reviews: Path, make_dump: Callable[..., Path], nightly: tuple[str, str]
) -> None:
    make_dump("2026-05-01", ROWS, 30)
    run = airflow.trigger("label_reviews", "2026-05-01")
    with held(reviews / "labelled" / ".2026-05-01.wip") as process:
        os.kill(process, signal.SIGKILL)
    assert airflow.ended("label_reviews", run) == "success"
    assert airflow.exits("label_reviews", run, "score") == [-9, 0]
    assert any(re.search(r"going on: \d of 6 parts", line) for line in airflow.log("label_reviews", run, "score", 1))
    made = parts(reviews / "labelled" / "2026-05-01")
    assert len(made) == 6
    assert made == undisturbed(airflow, reviews, "2026-05-01")


def test_a_scoring_that_takes_too_long_stops_and_is_finished_by_its_retry(
    airflow: Airflow, reviews: Path, make_dump: Callable[..., Path], nightly: tuple[str, str]
) -> None:
    make_dump("2026-06-01", ROWS, 40)
    run = airflow.trigger("short", "2026-06-01")
    with held(reviews / "labelled" / ".2026-06-01.wip") as process:
        until(lambda: pending(process, signal.SIGTERM), "the SIGTERM of the timeout")
    assert airflow.ended("short", run) == "success"
    *stopped, last = airflow.exits("short", run, "score")
    assert set(stopped) == {143}
    assert last == 0
    logs = airflow.logs("short", run, "score")
    assert any(line.startswith("error: stopped by signal 15") for line in logs[0])
    assert any("going on:" in line for line in logs[-1])
    assert parts(reviews / "labelled" / "2026-06-01") == undisturbed(airflow, reviews, "2026-06-01")


def pending(process: int, number: int) -> bool:
    """Whether the signal waits for a process that is held."""
    status = Path(f"/proc/{process}/status").read_text()
    return bool(int(re.findall(r"ShdPnd:\s*(\w+)", status)[0], 16) >> (number - 1) & 1)


def test_a_task_that_is_set_to_failed_takes_the_program_with_it(
    airflow: Airflow, reviews: Path, make_dump: Callable[..., Path], nightly: tuple[str, str]
) -> None:
    make_dump("2026-07-01", ROWS, 50)
    run = airflow.trigger("label_reviews", "2026-07-01")
    with held(reviews / "labelled" / ".2026-07-01.wip") as process:
        assert os.getsid(process) == process, "else it gets the SIGTERM of the task's group and that of on_kill"
        airflow.ask(f"/api/v2/dags/label_reviews/dagRuns/{run}/taskInstances/score", "PATCH", new_state="failed")
        until(lambda: pending(process, signal.SIGTERM), "the SIGTERM of the supervisor")
    until(lambda: not Path(f"/proc/{process}").exists(), "the end of the program", pause=0.05)
    told = json.loads((reviews / "metrics" / "2026-07-01" / "score.json").read_text())
    assert told["exit_code"] == 143
    assert airflow.ended("label_reviews", run) == "failed"
    assert not (reviews / "labelled" / "2026-07-01").exists()
    airflow.clear("label_reviews", run, failed_only=True)
    assert airflow.ended("label_reviews", run) == "success"
    assert airflow.exits("label_reviews", run, "score")[-1] == 0
    assert any("going on:" in line for line in airflow.logs("label_reviews", run, "score")[-1])


def test_what_is_tried_again_and_what_is_not(
    airflow: Airflow, reviews: Path, make_dump: Callable[..., Path], nightly: tuple[str, str]
) -> None:
    """A dump that is late, an output that is busy, a dump that was mended."""
    day = "2026-08-01"
    assert_failed_at_once(airflow, airflow.trigger("label_reviews", day), 3)
    make_dump(day, 300, 60)
    work = reviews / "labelled" / f".{day}.wip"
    work.mkdir(parents=True)
    with open(work / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = airflow.trigger("label_reviews", day)
        until(lambda: airflow.exits("label_reviews", run, "score"), "the first try")
    assert airflow.ended("label_reviews", run) == "success"
    *busy, last = airflow.exits("label_reviews", run, "score")
    assert set(busy) == {5}
    assert last == 0
    make_dump(day, 200, 61)
    assert_failed_at_once(airflow, airflow.trigger("label_reviews", day), 4)
    run = airflow.trigger("label_reviews", day, overwrite=True)
    assert airflow.ended("label_reviews", run) == "success"
    assert airflow.xcom("label_reviews", run, "score")["rows_in"] == 200


def assert_failed_at_once(airflow: Airflow, run: str, code: int) -> None:
    assert airflow.ended("label_reviews", run) == "failed"
    assert airflow.exits("label_reviews", run, "score") == [code], "and not again"
    assert airflow.xcom("label_reviews", run, "score")["exit_code"] == code


def test_the_day_is_that_of_the_time_zone(airflow: Airflow, reviews: Path, nightly: tuple[str, str]) -> None:
    airflow.cli("backfill", "create", "--dag-id", "jakarta", "--from-date", "2026-03-02", "--to-date", "2026-03-03")
    until(lambda: airflow.runs("jakarta"), "the run")
    run = airflow.runs("jakarta")[0]
    assert run["data_interval_start"] == "2026-03-02T19:00:00Z"
    assert airflow.ended("jakarta", run["dag_run_id"]) == "success"
    assert airflow.xcom("jakarta", run["dag_run_id"], "score")["output"].endswith("labelled/2026-03-03")


@pytest.mark.skipif(not has_slices(), reason="the program has no slices")
def test_slices_of_a_dump_are_mapped_tasks(
    airflow: Airflow, reviews: Path, make_dump: Callable[..., Path], nightly: tuple[str, str]
) -> None:
    make_dump("2026-09-01", ROWS, 70)
    run = airflow.trigger("mapped", "2026-09-01")
    assert airflow.ended("mapped", run) == "success", airflow.states("mapped", run)
    slices = [each for each in airflow.instances("mapped", run) if each["task_id"] == "score"]
    assert sorted((each["map_index"], each["state"]) for each in slices) == [(n, "success") for n in range(4)]
    assert {f"score-{n}.json" for n in range(4)} <= set(os.listdir(reviews / "metrics" / "2026-09-01"))
    assert parts(reviews / "labelled" / "2026-09-01") == undisturbed(airflow, reviews, "2026-09-01")


def test_the_other_commands_of_the_guide(airflow: Airflow, tmp_path: Path) -> None:
    assert "No data found" in airflow.guide("dags list-import-errors")[0]
    assert len(airflow.guide("dags unpause")) == 1
    (copy,) = re.findall(r"(?m)^    (cp .*)$", GUIDE.read_text(encoding="utf-8"))
    (tmp_path / "dags").mkdir()
    subprocess.run(["sh", "-c", copy], cwd=ROOT, env={**os.environ, "AIRFLOW_HOME": str(tmp_path)}, check=True)
    assert (tmp_path / "dags" / "airflow_dag.py").read_bytes() == DAG.read_bytes()


def test_another_dag_runs_on_the_labels(airflow: Airflow, reviews: Path, nightly: tuple[str, str]) -> None:
    airflow.schedule_by_itself("use_labels")
    (run, *_) = until(lambda: airflow.runs("use_labels"), "the DAG that comes after")
    assert airflow.ended("use_labels", run["dag_run_id"]) == "success"
    assert str(reviews / "labelled" / "2026-01-31") in airflow.xcom("use_labels", run["dag_run_id"], "use")
