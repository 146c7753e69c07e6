"""Row 3 of the matrix: killed at any time whatever, again and again, and in the end the bytes of a run never killed."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import zygote as forks
from faults.jobs import OPTIONS, SHARD_ROWS, check_finished, data_files, finish, is_published, write_dump
from faults.processes import is_alive, processes
from faults.zygote import Zygote

ROWS = 10 * SHARD_ROWS
Tier = Callable[[int, int], int]


class WithTorch(Zygote):
    """Its runs have PyTorch at once, so that they are killed in the job and not in its imports."""

    module = "faults.test_random_kills"


@pytest.fixture
def torch_zygote(tmp_path: Path) -> Iterator[Zygote]:
    server = WithTorch(tmp_path)
    yield server
    server.close()


def soak(zygote: Zygote, folder: Path, kills: int, *model: object, stub: bool) -> None:
    """Runs with a life of random length, each going on with what the last one left; a finished output makes room."""
    dump = write_dump(folder / "dump.tsv", ROWS)
    (folder / "alone").mkdir()
    alone = ("score", dump, "--model", *model, *OPTIONS, "--output", folder / "alone" / "out")
    ended = zygote.run(*alone, stub=stub)
    assert ended.code == 0, ended.err
    expected = data_files(folder / "alone" / "out")
    chance = random.Random(kills)
    killed = finished = 0
    out = folder / "runs" / "out"
    out.parent.mkdir()
    command = ("score", dump, "--model", *model, *OPTIONS, "--output", out)
    while killed < kills:
        run = zygote.run(*command, stub=stub, kill_after=ended.seconds * chance.random())
        assert run.code in (0, -9), run.err
        killed += run.code == -9
        if is_published(out):  # perhaps by a run that was killed right behind it
            finish(zygote, *command, stub=stub)
            check_finished(zygote, out, expected)
            shutil.rmtree(out)
            finished += 1
    finish(zygote, *command, stub=stub)
    check_finished(zygote, out, expected)
    print(f"{killed} kills, {finished + 1} outputs, each of {ROWS} rows, all the same bytes")


def test_a_stub(zygote: Zygote, tmp_path: Path, tier: Tier) -> None:
    soak(zygote, tmp_path, tier(30, 1_000), "stub", stub=True)


def test_a_real_model(torch_zygote: Zygote, tmp_path: Path, tiny_model: Path, tier: Tier) -> None:
    soak(torch_zygote, tmp_path, tier(5, 100), tiny_model, stub=False)


def test_any_process_of_a_job_with_workers(zygote: Zygote, tmp_path: Path, tier: Tier) -> None:
    """Of the job's own a kill is -9, of a worker's 7; whichever it was, soon none of them is left."""
    dump = write_dump(tmp_path / "dump.tsv", ROWS)
    command = ("score", dump, "--model", "stub", *OPTIONS, "--output")
    finish(zygote, *command, alone := tmp_path / "alone" / "out")
    finish(zygote, *command, tmp_path / "two" / "out", "--workers", 2)
    seconds = finish(zygote, *command, tmp_path / "again" / "out", "--workers", 2).seconds
    out = tmp_path / "runs" / "out"
    chance = random.Random(11)
    codes = []
    for _ in range(tier(8, 200)):
        pid = zygote.start(*command, out, "--workers", 2)
        time.sleep(seconds * chance.uniform(0.3, 0.9))
        begun = [each for each, (_, parent, *_) in processes() if int(parent) == pid]
        kill(chance.choice([pid, *begun]))
        codes.append(zygote.wait(pid).code)
        ended = time.monotonic()
        while any(map(is_alive, begun)):
            assert time.monotonic() - ended < 2
            time.sleep(0.01)
        if codes[-1] == 0:
            check_finished(zygote, out, data_files(alone))
            shutil.rmtree(out)
    finish(zygote, *command, out, "--workers", 2)
    check_finished(zygote, out, data_files(alone))
    assert set(codes) <= {0, 7, -9}
    assert {7, -9} <= set(codes)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    import torch
    from transformers import BertConfig, BertForSequenceClassification  # noqa: F401

    from sentiment_batch.model import torch_engine  # noqa: F401

    torch.set_num_threads(1)
    forks.serve()
