#!/usr/bin/env python3
"""How fast `sentiment-batch score` is beside its peers, on the same texts of the same model, on a CPU.

    scripts/setup bench && .venv-bench/bin/python scripts/bench.py --model model --texts reviews.tsv

Each way to label (transformers' pipeline, IndoNLU's loop, sentence-transformers' CrossEncoder, ONNX Runtime in int8 and
each of our engines) reads one Parquet file and writes another, in a process of its own, with all usable cores; the ways
take turns, round by round, and medians count. Behind each of our engines its stages are timed one by one. What is
reported of a way:

    rows/s, tokens/s   while it labels: from opening the input to the finished output
    x pipeline         rows/s as a multiple of pipeline's, the better of its batches of 1 and of 32
    with start, x      the same with the start of the process: imports, loading the model (with few rows that is most)
    padding            of the tokens that the model computes
    agreement          rows with the label that pipeline gives one by one in float32
    roofline           share of the largest matrix product that was seen in its dtype; `performed` leaves out what our
                       engines need not compute: all but the first token of the last layer, and texts seen before
    idle               share of the cores' time in which the process waited

`bench.py scale` measures whether a row costs the same however many there are: `score` with an engine that computes
nothing, on 100,000 and on 1,000,000 rows.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench_ways.child import Failed, run
from bench_ways.dumps import read_texts, with_duplicates, write_dump
from bench_ways.figures import agreement, medians, rates, ratios, roof_shares, stage_shares
from bench_ways.flops import read_shape
from bench_ways.scale import measure_scale, scale_table
from bench_ways.table import roofs_line, stages_table, ways_table
from bench_ways.ways import (
    BASELINES,
    REFERENCE,
    WAYS,
    Place,
    Way,
    measured,
    measured_roofs,
    measured_stages,
    why_not,
)
from sentiment_batch import Labeller
from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import SentimentBatchError

Figures = dict[str, Any]
_PACKAGES = ("sentiment-batch", "torch", "transformers", "tokenizers", "pyarrow", "openvino", "nncf", "onnxruntime")
_BUSY_SHARE = 0.2  # of the cores that others use: from there on, figures say little


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def machine() -> Figures:
    """What the figures are of."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n")
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    versions = {}
    for name in (*_PACKAGES, "sentence-transformers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    load = os.getloadavg()[0]
    if load > _BUSY_SHARE * usable_cores():
        say(f"this machine is busy (load {load:.1f}): the figures will say little; wait until nothing else runs")
    return {
        "cpu": cpu or platform.processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "packages": versions,
        "load_before": round(load, 2),
    }


def models_of(options: argparse.Namespace, ways: list[Way]) -> Iterator[tuple[str, Path, Path]]:
    """(name, folder, folder for ONNX Runtime) of each model; what has to be made first is made."""
    folders = [(model.resolve().name, model.resolve()) for model in options.model]
    for shape in options.random:
        folder = options.work / f"random-{shape}"
        if not folder.exists():
            say(f"making a model of {shape} with random weights ...")
            run(["bench_ways.random_model", shape, folders[0][1], folder], options.work / "random_model.log")
        folders.append((folder.name, folder))
    for name, folder in folders:
        digest = Labeller(str(folder)).folder.digest[:8]
        onnx_model = options.work / f"{name}-{digest}-onnx"
        if any(way.needs == "onnxruntime" for way in ways) and not (onnx_model / "model.int8.onnx").exists():
            say(f"{name}: making the model for ONNX Runtime ...")
            run(["bench_ways.onnx_model", folder, onnx_model], options.work / "onnx_model.log")
        if options.calibration and any(way.engine == "openvino" for way in ways):
            folder = optimised(name, folder, options.work / f"{name}-{digest}", options)
        yield name, folder, onnx_model


def optimised(name: str, model: Path, copy: Path, options: argparse.Namespace) -> Path:
    """A copy of the model folder with graphs for OpenVINO in it."""
    if not copy.exists():
        say(f"{name}: making the graphs for OpenVINO ...")
        shutil.copytree(model, copy.with_suffix(".tmp"), dirs_exist_ok=True)
        arguments = ["sentiment_batch", "optimize", "--model", copy.with_suffix(".tmp")]
        arguments += ["--calibration", options.calibration, "--valid", options.valid or options.calibration]
        arguments += ["--columns", options.columns] if options.columns else []
        run(arguments, options.work / "optimize.log")
        copy.with_suffix(".tmp").rename(copy)
    return copy


def compare(ways: list[Way], place: Place, rounds: int, what: str) -> tuple[dict[str, Figures], dict[str, str]]:
    """Run the ways in turn: for each its runs, the runs of its stages and its labels; and why some could not be run."""
    found: dict[str, Figures] = {way.name: {"runs": [], "stage_runs": []} for way in ways}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        for way in ways:
            if way.name in failed:
                continue
            try:
                figures, labels = measured(way, place)
                found[way.name]["runs"].append(figures)
                found[way.name]["labels"] = labels
                if way.engine:
                    found[way.name]["stage_runs"].append(measured_stages(way, place))
            except Failed as error:
                failed[way.name] = str(error)
                say(f"{way.name} failed: {error}")
                continue
            seconds = figures["label_seconds"]
            say(f"{what}, round {turn + 1} of {rounds}: {way.name} {len(labels) / seconds:,.1f} rows/s")
    return {name: each for name, each in found.items() if name not in failed}, failed


def figures_of(ways: list[Way], found: dict[str, Figures], place: Place, lengths: np.ndarray, roofs: Figures) -> None:
    """Add to what was found the figures that are reported: `median`, with all that follows from it."""
    shape = read_shape(place.model)
    reference = found.get(REFERENCE, {}).get("labels")
    if place.model.name.startswith("random-"):
        reference = None  # labels of random weights hang on rounding
    tokens = int(lengths.sum())
    for way in ways:
        each = found[way.name]
        median = each["median"] = medians(each["runs"])
        median |= rates(median, len(lengths), tokens) | {"agreement": agreement(each.pop("labels"), reference)}
        roof = roofs.get(way.dtype, {}).get("flops")
        median["roofline_share"] = roof_shares(median["label_seconds"], lengths, None, shape, roof)["nominal"]
    ratios({name: each["median"] for name, each in found.items()}, BASELINES)
    for way in ways:
        each, median = found[way.name], found[way.name]["median"]
        if each["stage_runs"]:
            computed = np.array(each["stage_runs"][0]["computed_lengths"])
            for stage_run in each["stage_runs"]:
                del stage_run["computed_lengths"]
            stages = median["stages"] = medians(each["stage_runs"])["stages"]
            seconds = stages["engine"]["seconds"]
            ratio = median["ratio"] and median["ratio"] * median["label_seconds"] / seconds
            shares = roof_shares(seconds, lengths, computed, shape, roofs.get(way.dtype, {}).get("flops"))
            median["engine_alone"] = {"rows_per_second": len(lengths) / seconds, "ratio": ratio, **shares}
            median["stage_shares"] = stage_shares(stages, median["label_seconds"])


def lengths_of(texts: list[str], labeller: Labeller) -> np.ndarray:
    """Tokens of each text, as the model sees it."""
    import pyarrow as pa

    prepared = labeller.prepare(pa.record_batch({"text": pa.array(texts, pa.string())}))
    lengths: np.ndarray = prepared.tokens.lengths[prepared.text_numbers]
    return lengths


def speed(options: argparse.Namespace, texts: list[str]) -> tuple[Figures, list[str]]:
    """(all figures, the tables)."""
    known = machine()
    missing = {way.name: why for way in WAYS if way.name in options.ways and (why := why_not(way))}
    ways = [way for way in WAYS if way.name in options.ways and way.name not in missing]
    for name, why in missing.items():
        say(f"{name} is left out: {why}")
    roofs: Figures = {}
    if options.roofline_seconds:
        say("looking for the largest matrix products ...")
        roofs = measured_roofs(options.work, known["cores"], options.roofline_seconds)
    result: Figures = {"machine": known, "roofline": roofs, "left_out": missing, "compared": []}
    tables = [f"{known['cores']} cores, {known['cpu']}; medians of {options.rounds} rounds, in turn", roofs_line(roofs)]
    dumps = {"distinct texts": texts}
    if options.duplicates:
        dumps[f"{options.duplicates:.0%} duplicates"] = with_duplicates(texts, options.duplicates)
    for name, model, onnx_model in models_of(options, ways):
        labeller = Labeller(str(model))
        for dump, its_texts in dumps.items():
            write_dump(its_texts, options.work / "dump.parquet")
            place = Place(
                model, onnx_model, options.work / "dump.parquet", options.work, known["cores"], labeller.max_length
            )
            lengths = lengths_of(its_texts, labeller)
            found, failed = compare(ways, place, options.rounds, f"{name}, {dump}")
            figures_of([way for way in ways if way.name in found], found, place, lengths, roofs)
            head = {"model": name, "dump": dump, "rows": len(lengths), "tokens": int(lengths.sum())}
            result["compared"].append({**head, "ways": found, "failed": failed})
            tables += tables_of(head, found, {**missing, **failed})
    return result, tables


def tables_of(head: Figures, found: dict[str, Figures], absent: dict[str, str]) -> list[str]:
    shown = {name: each["median"] for name, each in found.items()}
    per_row = head["tokens"] / head["rows"]
    title = f"{head['model']}, {head['dump']}: {head['rows']:,} rows of {per_row:.1f} tokens"
    notes = [f"{name}: not there ({why})" for name, why in absent.items()]
    return [title, ways_table(shown), stages_table(shown), *notes]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    names = [way.name for way in WAYS]
    add("what", nargs="?", choices=("speed", "scale"), default="speed", help="what to measure; default: speed")
    add("--model", type=Path, action="append", required=True, help="a model folder; may be given several times")
    add("--random", action="append", default=[], metavar="LxH", help="also a model of random weights, as 12x768")
    add("--texts", default="sample:train", help="TSV, CSV or Parquet with texts; default: the sample")
    add("--columns", help="names of the columns of a file without a header line, between commas")
    add("--text-column", default="text")
    add("--rows", type=int, default=2_000, help="distinct texts to label, of those that there are; default: 2000")
    add("--duplicates", type=float, default=0.0, metavar="SHARE", help="also a dump with so large a share of repeats")
    add("--rounds", type=int, default=3)
    add("--ways", default=",".join(names), help=f"some of {','.join(names)}")
    add("--calibration", help="texts for sentiment-batch optimize; without it, the model's own graphs are used")
    add("--valid", help="labelled texts for sentiment-batch optimize; default: those of --calibration")
    add("--sizes", default="100000,1000000", help="rows of `scale`; default: 100000,1000000")
    add("--roofline-seconds", type=float, default=0.3, help="for each matrix product; 0 leaves the roofline out")
    add("--work", type=Path, help="folder to keep models and dumps in; default: a temporary one")
    add("--json", type=Path, metavar="FILE", help="write every figure of every run there")
    options = parser.parse_args(arguments)
    options.ways = options.ways.split(",")
    if unknown := sorted(set(options.ways) - set(names)):
        parser.error(f"--ways: no way {unknown[0]!r}; there are: {', '.join(names)}")
    if options.rows < 1 or options.rounds < 1 or not 0 <= options.duplicates < 1:
        parser.error("--rows and --rounds are 1 or more, --duplicates is from 0 to below 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    with contextlib.ExitStack() as stack:
        if options.work is None:
            options.work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options.work = options.work.resolve()
        options.work.mkdir(parents=True, exist_ok=True)
        try:
            columns = tuple(options.columns.split(",")) if options.columns else ()
            texts = read_texts(options.texts, columns, options.text_column)
            if options.what == "scale":
                sizes = [int(size) for size in options.sizes.split(",")]
                result = measure_scale(texts, options.model[0].resolve(), sizes, options.rounds, options.work)
                tables = [scale_table(result)]
            else:
                if len(texts) < options.rows:
                    say(f"{options.texts} has {len(texts):,} distinct texts, not {options.rows:,}: all are taken")
                result, tables = speed(options, texts[: options.rows])
        except (Failed, SentimentBatchError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print("\n\n".join(filter(None, tables)))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return int(any(each["failed"] for each in result.get("compared", [])))


if __name__ == "__main__":
    sys.exit(main())
