"""scripts/bench_gpu.py: on a GPU machine there is one chance, so that all of it is run here in small, on the CPU."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_gpu.py"
CHECKS = ("precision", "same_bits", "resumed", "out_of_memory")


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """As on a machine where the project is not installed."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain | environment, cwd="/")


@pytest.mark.slow
def test_all_of_it_runs(tmp_path: Path) -> None:
    ended = run("--smoke", "--json", tmp_path / "figures.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    sections = json.loads((tmp_path / "figures.json").read_text())
    assert not [section["error"] for section in sections.values() if section["error"]]
    assert set(CHECKS) < set(sections)
    figures = [(name, value) for section in sections.values() for name, value in section["figures"].items()]
    assert len(figures) > 80
    for name, value in figures:
        assert isinstance(value, str) or math.isfinite(value), name
        assert name.split(" [")[0] in ended.stdout


def test_without_a_gpu_it_says_so_and_measures_nothing(tmp_path: Path) -> None:
    ended = run("--json", tmp_path / "figures.json", CUDA_VISIBLE_DEVICES="")
    assert ended.returncode == 2
    assert "there is no GPU that PyTorch sees" in ended.stderr
    assert not (tmp_path / "figures.json").exists()


def test_no_section_is_begun_behind_the_time_and_that_is_no_success(tmp_path: Path) -> None:
    ended = run("--smoke", "--seconds", "-1", "--json", tmp_path / "figures.json")
    assert ended.returncode == 1
    sections = json.loads((tmp_path / "figures.json").read_text())
    assert {section["error"] for section in sections.values()} == {"not begun: -1 s are over"}
