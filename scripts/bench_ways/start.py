"""How long a command takes until it labels: whole commands on few rows, beside what cannot be done in less."""

import logging
import shutil
import statistics
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from bench_ways.child import run
from bench_ways.dumps import write_dump
from bench_ways.table import number, table
from sentiment_batch.cores import usable_cores

_FEW, _MORE = 32, 1_000

log = logging.getLogger(__name__)


class Command(NamedTuple):
    """What is timed as a whole, from the start of the process to its end."""

    name: str
    arguments: Callable[[Path, Path], list[Any]]  # from the model and the folder
    beside: str = ""  # the command that it is a ratio to


def measure_start(texts: list[str], model: Path, max_length: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of each command: medians of interleaved rounds, and the ratio to the one that it is held against."""
    for rows in (_FEW, _MORE):
        write_dump(texts[:rows], folder / f"start-{rows}.parquet")
    commands = _commands(max_length)
    seconds: dict[str, list[float]] = {command.name: [] for command in commands}
    for turn in range(rounds):
        for command in commands:
            shutil.rmtree(folder / "start", ignore_errors=True)
            taken = run(command.arguments(model, folder), folder / "start.log").seconds
            log.info("round %d of %d: %s, %.2f s", turn + 1, rounds, command.name, taken)
            seconds[command.name].append(taken)
    found: dict[str, dict[str, Any]] = {
        name: {"runs": runs, "seconds": statistics.median(runs)} for name, runs in seconds.items()
    }
    for command in commands:
        if command.beside:
            found[command.name]["ratio"] = found[command.name]["seconds"] / found[command.beside]["seconds"]
    return found


def start_table(found: dict[str, Any]) -> str:
    rows = [[name, number(2)(each["seconds"]), number(2)(each.get("ratio"))] for name, each in found.items()]
    return table(["whole command", "seconds", "x the one above"], rows)


def _commands(max_length: int) -> list[Command]:
    """In pairs, a command and then what is held against it."""
    script, weights = f"pipeline, {_MORE:,} rows", "import PyTorch and transformers, load the weights"

    def peer(model: Path, folder: Path) -> list[Any]:
        place = ["--input", folder / f"start-{_MORE}.parquet", "--output", folder / "start-peer.parquet"]
        settings = ["--setting", "batch_size=1", "--max-length", max_length, "--cores", usable_cores()]
        return ["bench_ways.peer", "pipeline", "--model", model, *settings, *place, "--report", folder / "start.json"]

    def ours(rows: int, engine: str) -> Callable[[Path, Path], list[Any]]:
        def arguments(model: Path, folder: Path) -> list[Any]:
            job = ["--model", model, "--output", folder / "start", "--engine", engine, "--progress", "none"]
            return ["sentiment_batch", "score", folder / f"start-{rows}.parquet", *job]

        return arguments

    openvino = find_spec("openvino") is not None
    return [
        Command("--help", lambda model, folder: ["sentiment_batch", "score", "--help"]),
        *([Command(f"openvino, {_FEW} rows", ours(_FEW, "openvino"))] if openvino else []),
        Command(weights, lambda model, folder: ["bench_ways.weights", model]),
        Command(f"torch, {_FEW} rows", ours(_FEW, "torch"), weights),
        Command(script, peer),
        Command(f"auto, {_MORE:,} rows", ours(_MORE, "auto"), script),
    ]
