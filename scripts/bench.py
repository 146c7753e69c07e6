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
    roofline           share of what the largest matrix product in its dtype reached beside the run; `performed` leaves
                       out what our engines need not compute: all but the first token of the last layer, and texts seen
                       before
    idle               share of the cores' time in which the process waited; in the second table the engine alone

and of each stage alone, as a share of the labelling time of `score`, in which they overlap: read, tokenise, engine,
label (making the rows) and write; `engine waits` is the time in which the engine has nothing to do. More is in --json.
Int8 is there only where `optimize` kept it: a model for which it is slower or worse has none.

`bench.py scale` measures whether a row costs the same however many there are: `score` with an engine that computes
nothing, on 100,000 and on 1,000,000 rows. `bench.py start` times whole commands on few rows, which is mostly their
start, beside a script that does the same with pipeline, and one that only loads PyTorch and the weights.
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from bench_ways.child import Failed
from bench_ways.compare import add_medians, compare, lengths_of
from bench_ways.dumps import read_texts, with_duplicates, write_dump
from bench_ways.models import models_of
from bench_ways.scale import measure_scale, scale_table
from bench_ways.start import measure_start, start_table
from bench_ways.table import roofs_line, stages_table, ways_table
from bench_ways.ways import WAYS, Place, found_roofs, why_not
from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import SentimentBatchError
from sentiment_batch.model.folder import read_model_folder

Figures = dict[str, Any]

_PACKAGES = (
    *("sentiment-batch", "torch", "transformers", "tokenizers", "pyarrow", "openvino", "nncf"),
    *("onnxruntime", "sentence-transformers"),
)
_BUSY_SHARE = 0.2  # of the cores that others use: from there on, figures say little

log = logging.getLogger("bench")


def machine() -> Figures:
    """What the figures are of."""
    cpu = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n")
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    cores, load = usable_cores(), os.getloadavg()[0]
    if load > _BUSY_SHARE * cores:
        log.warning("this machine is busy (load %.1f): figures will say little; run when nothing else does", load)
    return {"cpu": cpu, "cores": cores, "python": platform.python_version(), "packages": versions, "load_before": load}


def speed(options: argparse.Namespace, texts: list[str]) -> int:
    """Compare the ways, on each model and each dump; how many could not be run, of those that are there."""
    known = machine()
    absent = {way.name: why for way in WAYS if way.name in options.ways and (why := why_not(way))}
    ways = [way for way in WAYS if way.name in options.ways and way.name not in absent]
    for name, why in absent.items():
        log.warning("%s is left out: %s", name, why)
    models = list(models_of(options, ways))
    roofs: dict[str, list[Figures]] = {}
    if options.roofline_seconds:
        log.info("looking for the largest matrix products ...")
        roofs = found_roofs(options.work, known["cores"], options.roofline_seconds)
    result: Figures = {"machine": known, "roofline": roofs, "absent": absent, "compared": []}
    show(f"{known['cores']} cores, {known['cpu']}; medians of {options.rounds} rounds, in turn", roofs_line(roofs))
    dumps = {"distinct texts": texts}
    if options.duplicates:
        dumps[f"{options.duplicates:.0%} duplicates"] = with_duplicates(texts, options.duplicates)
    for model in models:
        for dump, its_texts in dumps.items():
            lengths = lengths_of(its_texts, model)
            what = f"{model.name}, {dump}: {len(lengths):,} rows of {lengths.mean():.1f} tokens"
            log.info("%s", what)
            path = options.work / "dump.parquet"
            write_dump(its_texts, path)
            place = Place(model.folder, model.onnx_folder, path, options.work, known["cores"], model.max_length)
            found, failed = compare(ways, place, options.rounds, options.roofline_seconds)
            add_medians(ways, found, model, lengths)
            head = {"model": model.name, "dump": dump, "rows": len(lengths), "tokens": int(lengths.sum())}
            result["compared"].append({**head, "ways": found, "failed": failed})
            keep(options, result)
            shown = {name: each["median"] for name, each in found.items()}
            notes = [f"{name}: not there ({why})" for name, why in {**absent, **failed}.items()]
            show(what, ways_table(shown), stages_table(shown), "\n".join(notes))
    return sum(len(each["failed"]) for each in result["compared"])


def scale(options: argparse.Namespace, texts: list[str]) -> int:
    known = machine()
    sizes = [int(size) for size in options.sizes]
    found = measure_scale(texts, options.model[0].resolve(), sizes, options.rounds, options.work)
    keep(options, {"machine": known, "scale": found})
    show(scale_table(found))
    return 0


def start(options: argparse.Namespace, texts: list[str]) -> int:
    known, model = machine(), options.model[0].resolve()
    found = measure_start(texts, model, read_model_folder(str(model)).max_length, options.rounds, options.work)
    keep(options, {"machine": known, "start": found})
    show(start_table(found))
    return 0


def show(*paragraphs: str) -> None:
    for paragraph in filter(None, paragraphs):
        print(paragraph, end="\n\n", flush=True)


def keep(options: argparse.Namespace, result: Figures) -> None:
    """Write what is known so far where --json says: a comparison takes hours, and may be stopped."""
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    names = [way.name for way in WAYS]
    add("what", nargs="?", choices=("speed", "scale", "start"), default="speed", help="what to measure; default: speed")
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
    add(
        "--roofline-seconds",
        type=float,
        default=0.3,
        help="for each matrix product, and twenty times as long beside each run; 0 leaves the roofline out",
    )
    add("--work", type=Path, help="folder to keep models and dumps in; default: a temporary one")
    add("--json", type=Path, metavar="FILE", help="write every figure of every run there")
    options = parser.parse_args(arguments)
    options.ways, options.sizes = options.ways.split(","), options.sizes.split(",")
    if unknown := sorted(set(options.ways) - set(names)):
        parser.error(f"--ways: no way {unknown[0]!r}; there are: {', '.join(names)}")
    if options.rows < 1 or options.rounds < 1 or not 0 <= options.duplicates < 1:
        parser.error("--rows and --rounds are 1 or more, --duplicates is from 0 to below 1")
    if wrong := [shape for shape in options.random if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", shape)]:
        parser.error(f"--random {wrong[0]}: give layers x hidden size, as 12x768")
    if not all(re.fullmatch(r"[1-9]\d*", size) for size in options.sizes):
        parser.error("--sizes: give numbers of rows between commas, as 100000,1000000")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    with contextlib.ExitStack() as stack:
        if options.work is None:
            options.work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options.work = options.work.resolve()
        options.work.mkdir(parents=True, exist_ok=True)
        try:
            columns = tuple(options.columns.split(",")) if options.columns else ()
            texts = read_texts(options.texts, columns, options.text_column)
            if options.what != "speed":
                return {"scale": scale, "start": start}[options.what](options, texts)
            if len(texts) < options.rows:
                log.warning("%s has %d distinct texts, and all are taken", options.texts, len(texts))
            return int(speed(options, texts[: options.rows]) > 0)
        except (Failed, SentimentBatchError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
