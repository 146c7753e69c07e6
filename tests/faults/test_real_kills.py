"""The real program with a real model on real reviews, killed at random: the bytes of a run that was never killed."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conftest import SMSA, needs_smsa

from faults.jobs import data_files
from faults.zygote import Zygote

ROWS = 12_760  # of the three files


def start(model: Path, out: Path) -> subprocess.Popen[bytes]:
    files = [str(path) for path in sorted(SMSA.glob("*.tsv"))]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sentiment_batch", "score", *files, "--model", str(model), "--output", str(out)),
            *("--columns", "text,label", "--shard-rows", "400", "--progress", "none"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@needs_smsa
def test_killed_at_random_on_smsa(
    zygote: Zygote, tiny_model: Path, tmp_path: Path, tier: Callable[[int, int], int]
) -> None:
    began = time.monotonic()
    assert start(tiny_model, tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - began
    chance = random.Random(3)
    out, work = tmp_path / "out", tmp_path / ".out.wip"
    kills = seen = 0
    while kills < tier(1, 10) and not out.exists():
        process = start(tiny_model, out)
        while process.poll() is None and len(list(work.glob("part-*"))) <= seen:
            time.sleep(0.01)  # past the imports, so that each turn has a part more than the last
        time.sleep(chance.random() * seconds / 30)
        process.kill()
        kills += process.wait() == -9
        seen = len(list(work.glob("part-*")))
    assert kills == tier(1, 10), "the job is long enough for so many kills"
    assert start(tiny_model, out).wait() == 0
    assert data_files(out) == data_files(tmp_path / "whole")
    verified = zygote.run("verify", out)
    assert verified.code == 0
    assert f"{ROWS:,} in" in verified.err
