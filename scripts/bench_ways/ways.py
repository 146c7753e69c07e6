"""The ways to label a dump that are compared, and how each is run and measured."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pyarrow.parquet as pq

from bench_ways.child import Failed, Usage, run
from sentiment_batch.config import LabelOptions

Figures = dict[str, Any]


class Way(NamedTuple):
    """A way to label: a peer with its settings, or one of our engines in a dtype."""

    name: str
    dtype: str
    peer: str = ""  # a module of this package
    settings: tuple[str, ...] = ()
    needs: str = ""  # a package
    engine: str = ""


class Place(NamedTuple):
    """Where a way finds what it needs, and what it may use."""

    model: Path
    onnx_model: Path
    dump: Path
    folder: Path  # for what it writes
    cores: int
    max_length: int


WAYS = (
    Way("pipeline-1", "float32", "pipeline", ("batch_size=1",)),
    Way("pipeline-32", "float32", "pipeline", ("batch_size=32",)),
    Way("indonlu-32", "float32", "indonlu", ("batch_size=32",)),
    Way("cross-encoder", "float32", "cross_encoder", ("batch_size=32",), "sentence_transformers"),
    Way("onnxruntime-int8", "int8", "onnx_runtime", ("batch_tokens=2048", "streams=1"), "onnxruntime"),
    Way("onnxruntime-int8-streams", "int8", "onnx_runtime", ("batch_tokens=1024", "streams={cores}"), "onnxruntime"),
    Way("torch-float32", "float32", engine="torch"),
    Way("torch-bfloat16", "bfloat16", engine="torch"),
    Way("openvino-bfloat16", "bfloat16", engine="openvino", needs="openvino"),
    Way("openvino-int8", "int8", engine="openvino", needs="openvino"),
)
REFERENCE = "pipeline-1"  # whose labels are those of float32
BASELINES = ("pipeline-1", "pipeline-32")


def why_not(way: Way) -> str | None:
    """Why the way cannot be measured here, if it cannot."""
    if way.engine:
        hints = get_type_hints(LabelOptions)
        for option, value in (("engine", way.engine), ("dtype", way.dtype)):
            if value not in get_args(hints[option]):
                return f"the program has no --{option} {value}"
    if way.needs and find_spec(way.needs) is None:
        return f"{way.needs} is not installed; see scripts/setup bench"
    return None


def measured(way: Way, place: Place) -> tuple[Figures, list[str | None]]:
    """Run the way from Parquet to Parquet: its figures, and its labels. Raises `Failed`.

    `start_seconds` are all that is not labelling: the interpreter, imports, loading the model, the way out;
    `label_seconds` go from opening the input to the finished output.
    """
    output, report, log = (place.folder / f"{way.name}.{end}" for end in ("parquet", "json", "log"))
    if way.engine:
        arguments = ["sentiment_batch", "score", place.dump, "--model", place.model, "--output", output]
        arguments += ["--engine", way.engine, "--dtype", way.dtype, "--metrics", report, "--progress", "none"]
        shutil.rmtree(output, ignore_errors=True)  # a job that is done already is not done again
    else:
        settings = [each.format(cores=place.cores) for each in way.settings]
        arguments = ["bench_ways.peer", way.peer, *(word for each in settings for word in ("--setting", each))]
        arguments += ["--model", place.onnx_model if way.needs == "onnxruntime" else place.model]
        arguments += ["--max-length", place.max_length, "--cores", place.cores]
        arguments += ["--input", place.dump, "--output", output, "--report", report]
    report.unlink(missing_ok=True)
    usage = run(arguments, log)
    told = json.loads(report.read_text())
    figures = _of_score(told, usage) if way.engine else _of_peer(told, usage)
    figures["start_seconds"] = usage.seconds - figures["label_seconds"]
    figures |= {"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds, "peak_bytes": usage.peak_bytes}
    figures["idle_share"] = idle_share(figures, place.cores)
    labels = pq.read_table(output, columns=["predicted_label"]).column(0).to_pylist()
    if len(labels) != (rows := pq.read_metadata(place.dump).num_rows):
        raise Failed(f"{len(labels)} labels for {rows} rows")
    return figures, labels


def _of_score(metrics: Figures, usage: Usage) -> Figures:
    """Loading takes in the import of the engine's library, which is not imported before."""
    load = metrics["performance"]["load_seconds"]
    return {
        "import_seconds": usage.seconds - metrics["run"]["seconds"],
        "load_seconds": load,
        "label_seconds": metrics["run"]["seconds"] - load,
        "padding_share": metrics["performance"]["padding_share"],
    }


def _of_peer(told: Figures, usage: Usage) -> Figures:
    return {
        "import_seconds": told["imported"] - usage.spawned,
        "load_seconds": told["loaded"] - told["imported"],
        "label_seconds": told["label_seconds"],
        "padding_share": 1 - told["tokens"] / told["padded_tokens"],
    }


def measured_stages(way: Way, place: Place) -> Figures:
    """The stages of one of our engines, each alone with its share of idle cores. Raises `Failed`."""
    report = place.folder / f"{way.name}-stages.json"
    arguments = ["bench_ways.stages", "--model", place.model, "--input", place.dump, "--report", report]
    run([*arguments, "--engine", way.engine, "--dtype", way.dtype], report.with_suffix(".log"))
    told: Figures = json.loads(report.read_text())
    for stage in told["stages"].values():
        stage["idle_share"] = idle_share(stage, place.cores)
    return told


def idle_share(figures: Figures, cores: int) -> float:
    """The share of the cores' time in which the process waited, or others had the cores."""
    busy: float = figures["cpu_seconds"] / figures["seconds"] / cores
    return max(0.0, 1 - busy)


_ROOFS = "roofline.json"
_AS_LONG = 20  # so many times as long as each try of the search are the products beside a run


def found_roofs(folder: Path, cores: int, seconds: float) -> dict[str, list[Figures]]:
    """The largest matrix products of each dtype, kept in the folder for `measured_roof`. Raises `Failed`."""
    report = folder / _ROOFS
    run(["bench_ways.roofline", "--cores", cores, "--seconds", seconds, "--report", report], folder / "roofline.log")
    told: dict[str, list[Figures]] = json.loads(report.read_text())
    return told


def measured_roof(dtype: str, place: Place, seconds: float) -> float:
    """What the largest matrix product of the dtype reaches now, in operations a second. Raises `Failed`.

    `seconds` are those that `found_roofs` took for each try.
    """
    report = place.folder / "roof.json"
    arguments = ["--again", place.folder / _ROOFS, "--dtype", dtype, "--report", report]
    arguments += ["--cores", place.cores, "--seconds", _AS_LONG * seconds]
    run(["bench_ways.roofline", *arguments], report.with_suffix(".log"))
    told: float = json.loads(report.read_text())
    return told
