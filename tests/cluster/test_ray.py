"""score --ray on a real cluster: the same bytes, and what becomes of a job of which a part is lost."""

import json
import os
import re
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from faults.jobs import data_files, objects
from faults.processes import is_alive, processes

from cluster.conftest import CHUNKS, ROWS, SHARDS, TESTS, Start, actors, add_node, is_worker, wait_until

SHARD_CHUNKS = 3
SLOW = 0.15


@pytest.fixture
def expected(start: Start, tmp_path: Path) -> dict[str, str]:
    """The files of a job without Ray, by one process."""
    run = start("", "--ray", None, "--workers", 1, out="alone")
    assert run.ended() == 0, run.err.read_text()
    files = data_files(tmp_path / "alone")
    assert len([name for name in files if name.endswith(".parquet")]) == SHARDS
    return files


def chunks(tmp_path: Path) -> int:
    """How many were begun, by all workers."""
    return sum(len(path.read_text()) for path in (tmp_path / "chunks").iterdir())


def slow(tmp_path: Path, seconds: float = SLOW) -> str:
    return f"count,{tmp_path / 'chunks'},{seconds}"


def test_the_same_bytes_as_without_ray(start: Start, expected: dict[str, str], tmp_path: Path) -> None:
    run = start(f"together,{tmp_path / 'chunks'},2")
    assert run.ended() == 0, run.err.read_text()
    assert data_files(tmp_path / "out") == expected
    assert len(list((tmp_path / "chunks").iterdir())) == 2, "both nodes had work"
    assert chunks(tmp_path) == CHUNKS
    lines = run.err.read_text()
    assert "workers on Ray: 2, 1 core each" in lines
    assert not {"ray::", "(raylet)", "rpc"} & set(lines.split()), "Ray's own words are not for our log"
    assert not list(tmp_path.glob(".out*"))
    again = start("", "--ray", None, "--workers", 1)
    assert again.ended() == 0
    assert "done already" in again.err.read_text(), "it is the same job"


def test_in_a_bucket(start: Start, nodes: Any, bucket: str, tmp_path: Path) -> None:
    assert start("", "--ray", None, "--workers", 1, out=f"{bucket}/alone").ended() == 0
    run = start(slow(tmp_path, 0), out=f"{bucket}/two", ray="auto", RAY_ADDRESS=nodes.address)
    assert run.ended() == 0, run.err.read_text()
    assert objects(f"{bucket}/two") == objects(f"{bucket}/alone")
    assert len([name for name in objects(f"{bucket}/two") if name.endswith(".parquet")]) == SHARDS


def test_bytes_of_a_real_model(start: Start, optimized_model: Path, tmp_path: Path) -> None:
    cut = ("--model", optimized_model, "--engine", "openvino", "--batch-tokens", 200, "--shard-rows", 40)
    alone = start("real", *cut, "--ray", None, "--workers", 1, out="alone")
    assert alone.ended() == 0, alone.err.read_text()
    two = start("real", *cut, out="two")
    assert two.ended() == 0, two.err.read_text()
    assert data_files(tmp_path / "two") == data_files(tmp_path / "alone")
    ours, theirs = (json.loads((tmp_path / out / "_metrics.json").read_text()) for out in ("two", "alone"))
    for section in ("rows", "predictions", "model"):
        assert ours[section] == theirs[section]
    assert ours["performance"]["peak_rss_bytes"] > theirs["performance"]["peak_rss_bytes"]
    assert ours["performance"]["load_seconds"] > 0
    assert ours["performance"]["padding_share"] == theirs["performance"]["padding_share"] > 0
    assert ours["performance"]["tokens_per_second"] > 0
    assert two.err.read_text().count("the model runs on") == 1, "said by the first, in the driver's log"


# A part of the job is lost


def test_a_node_that_is_lost_costs_its_open_shard(
    start: Start, nodes: Any, expected: dict[str, str], tmp_path: Path
) -> None:
    run = start(slow(tmp_path, 0.3))
    run.wait_for(lambda: len(run.sealed()) >= 2)
    lost = next(iter(nodes.worker_nodes))
    before = run.sealed()
    thread = threading.Thread(target=nodes.remove_node, args=(lost,), kwargs={"allow_graceful": False})
    thread.start()
    try:
        assert run.ended() == 0, run.err.read_text()
    finally:
        thread.join()
        add_node(nodes)
    assert data_files(tmp_path / "out") == expected
    assert before.items() <= run.sealed().items()
    assert CHUNKS <= chunks(tmp_path) <= CHUNKS + SHARD_CHUNKS
    assert "was lost as it labelled shard " in run.err.read_text()


def test_a_worker_that_is_killed_costs_its_open_shard(start: Start, expected: dict[str, str], tmp_path: Path) -> None:
    run = start(slow(tmp_path))
    run.wait_for(lambda: len(run.sealed()) >= 2)
    before = run.sealed()
    os.kill(actors()[0], signal.SIGKILL)
    assert run.ended() == 0, run.err.read_text()
    assert data_files(tmp_path / "out") == expected
    assert before.items() <= run.sealed().items()
    assert CHUNKS <= chunks(tmp_path) <= CHUNKS + SHARD_CHUNKS
    metrics = json.loads((tmp_path / "metrics1.json").read_text())
    assert metrics["rows"]["in"] == ROWS


def test_a_shard_that_kills_its_workers(start: Start, dump: Path, tmp_path: Path) -> None:
    run = start(f"kill,{tmp_path / 'chunks'},0")
    assert run.ended() == 7
    assert "3 workers were lost as they labelled shard " in run.last_line()
    assert f"of {dump}; what is finished is kept" in run.last_line()


def test_a_driver_that_is_killed_and_run_again(start: Start, expected: dict[str, str], tmp_path: Path) -> None:
    """At once, while workers of the dead one are perhaps still at work."""
    run = start(slow(tmp_path, 0.3))
    run.wait_for(lambda: len(run.sealed()) >= 2)
    theirs = actors()
    run.process.kill()
    run.ended()
    killed, before = time.monotonic(), run.sealed()
    again = start(slow(tmp_path))
    wait_until(lambda: not any(map(is_alive, theirs)))
    print(f"the workers of the killed driver ended in {time.monotonic() - killed:.1f} s")
    assert again.ended() == 0, again.err.read_text()
    assert data_files(tmp_path / "out") == expected
    assert before.items() <= again.sealed().items(), "what was sealed stays"
    assert json.loads((tmp_path / "out" / "_metrics.json").read_text())["run"]["resumed"]
    assert not list(tmp_path.glob(".out*"))


# How a job ends


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("ModelRefused", 8, "error: the worker says so"),
        ("OSError", 7, "error: /a/file: Read-only file system; mend it and run again"),
        ("KeyError", 1, "error: unexpected: KeyError"),
    ],
)
def test_an_error_of_a_worker_is_the_jobs(kind: str, code: int, text: str, start: Start, tmp_path: Path) -> None:
    run = start(f"fail,{kind}")
    assert run.ended() == code
    assert text in run.last_line()
    assert ("In worker" in run.err.read_text()) == (code == 1), "the traceback of a bug tells where it happened"


def test_too_many_rejects(start: Start, tmp_path: Path) -> None:
    run = start(slow(tmp_path), "--max-reject-rate", 0)
    assert run.ended() == 6
    assert not (tmp_path / "out").exists()
    assert chunks(tmp_path) < CHUNKS


def test_a_deadline_and_the_rest(start: Start, expected: dict[str, str], tmp_path: Path) -> None:
    run = start(slow(tmp_path, 2), "--deadline", "15s")
    assert run.ended() == 10
    assert len(run.sealed()) < SHARDS
    again = start("")
    assert again.ended() == 0
    assert data_files(tmp_path / "out") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop(number: signal.Signals, start: Start, expected: dict[str, str], tmp_path: Path) -> None:
    run = start(slow(tmp_path, 1))
    run.wait_for(lambda: run.sealed())
    theirs = actors()
    os.kill(run.process.pid, number)
    assert run.ended() == 128 + number
    wait_until(lambda: not any(map(is_alive, theirs)))
    assert 0 < len(run.sealed()) < SHARDS
    again = start("", "--ray", None)
    assert again.ended() == 0, "it goes on without Ray"
    assert data_files(tmp_path / "out") == expected


# What is not as it should be


def test_no_cluster_is_there(start: Start) -> None:
    run = start("", ray="127.0.0.1:1", SET="ray_cluster._PATIENCE_SECONDS=3")
    assert run.ended() == 7
    assert "error: --ray 127.0.0.1:1: no answer in 3 seconds" in run.last_line()


def test_nodes_without_the_package(start: Start, nodes: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "sentiment_batch.py").write_text("raise ImportError('no such package')")
    node = add_node(nodes, env_vars={"PYTHONPATH": str(tmp_path / "empty")})
    try:
        run = start("", "--workers", 3)
        assert run.ended() == 2, run.err.read_text()
    finally:
        nodes.remove_node(node)
    assert "cannot import sentiment-batch" in run.last_line()
    assert "no such package" in run.last_line()


def test_another_version_on_the_nodes(start: Start) -> None:
    run = start("", SET="ray_workers.__version__='0.0.1'")
    assert run.ended() == 2
    assert "and the driver 0.0.1: install one on all nodes" in run.last_line()


def test_a_disk_that_a_node_does_not_see(start: Start) -> None:
    run = start("", SET="ray_worker._needed=lambda *_: ['/not/there']")
    assert run.ended() == 7
    assert "error: /not/there is not there on " in run.last_line()


def test_every_ray_command_of_the_guide_is_understood() -> None:
    from ray.scripts.scripts import cli

    found = re.findall(r"^    ray (\S+)(.*)$", (TESTS.parent / "docs" / "ray.md").read_text(), re.MULTILINE)
    assert {name for name, _ in found} == {"get-auth-token", "start"}
    for name, arguments in found:
        cli.commands[name].make_context(name, shlex.split(arguments))


# A cluster of this host alone


def rays_of(session: int) -> list[int]:
    """The processes that a program began in its session, or Ray's workers, which have ones of their own."""
    return [pid for pid, fields in processes() if int(fields[3]) == session and fields[0] != "Z"]


def test_local(start: Start, expected: dict[str, str], tmp_path: Path) -> None:
    """Nothing of it is left, and no module of the working folder is imported: a stranger's dump may lie there."""
    for name in ("pickle", "signal", "socket", "tempfile", "colorsys"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
    folders = set(Path("/tmp").glob("sentiment-batch-ray-*"))
    run = start(slow(tmp_path), ray="local", PYTHONSAFEPATH="1")
    assert run.ended() == 0, run.err.read_text()
    assert data_files(tmp_path / "out") == expected
    assert set(Path("/tmp").glob("sentiment-batch-ray-*")) == folders
    assert rays_of(run.process.pid) == []
    assert not (tmp_path / "canary").exists()


def test_local_ends_with_its_driver(start: Start, tmp_path: Path) -> None:
    run = start(slow(tmp_path, 1), ray="local")
    run.wait_for(lambda: run.sealed())
    theirs = [pid for pid in rays_of(run.process.pid) if is_worker(pid)]
    assert len(theirs) == 2
    run.process.kill()
    killed = time.monotonic()
    wait_until(lambda: not any(map(is_alive, theirs)))
    print(f"the workers of the killed driver ended in {time.monotonic() - killed:.1f} s")
