"""The model folders that are compared, with what some ways need of them made once, before anything is timed."""

import argparse
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench_ways.child import run
from bench_ways.ways import Way
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.optimize import GRAPH_FORMAT

log = logging.getLogger(__name__)


class Model(NamedTuple):
    name: str
    folder: Path
    onnx_folder: Path  # the same for ONNX Runtime, in int8
    max_length: int
    trained: bool  # the labels of random weights hang on rounding, so that agreement means nothing


def models_of(options: argparse.Namespace, ways: list[Way]) -> Iterator[Model]:
    """The models of --model and of --random; those of the latter like the first model in all but shape and weights.

    What is made lies in --work, and is not made again. Raises `Failed`.
    """
    given = [(folder.resolve(), True) for folder in options.model]
    folders = given + [(random_model(shape, given[0][0], options.work), False) for shape in options.random]
    for folder, trained in folders:
        read = read_model_folder(str(folder))
        made = options.work / f"{folder.name}-{read.digest[:8]}-{GRAPH_FORMAT}"
        onnx_folder = made.with_name(f"{made.name}-onnx")
        if any(way.needs == "onnxruntime" for way in ways) and not onnx_folder.exists():
            log.info("%s: making the model for ONNX Runtime ...", folder.name)
            _make(["bench_ways.onnx_model", folder], onnx_folder)
        name = folder.name
        if options.calibration and any(way.engine == "openvino" for way in ways):
            folder = optimised(folder, made, options)
        yield Model(name, folder, onnx_folder, read.max_length, trained)


def random_model(shape: str, like: Path, work: Path) -> Path:
    folder = work / f"random-{shape}"
    if not folder.exists():
        log.info("making a model of %s with random weights ...", shape)
        _make(["bench_ways.random_model", shape, like], folder)
    return folder


def optimised(model: Path, copy: Path, options: argparse.Namespace) -> Path:
    """A copy of the model folder with graphs for OpenVINO in it."""
    if not copy.exists():
        log.info("%s: making the graphs for OpenVINO ...", model.name)
        growing = copy.with_suffix(".tmp")
        shutil.copytree(model, growing, dirs_exist_ok=True)
        arguments = ["sentiment_batch", "optimize", "--model", growing, "--calibration", options.calibration]
        arguments += ["--valid", options.valid or options.calibration]
        for name in ("columns", "text_column"):
            arguments += [f"--{name.replace('_', '-')}", value] if (value := getattr(options, name)) else []
        run(arguments, copy.with_suffix(".log"))
        growing.rename(copy)
    return copy


def _make(arguments: list[str | Path], folder: Path) -> None:
    """Run what makes the folder, under another name until it is whole."""
    growing = folder.with_suffix(".tmp")
    run([*arguments, growing], folder.with_suffix(".log"))
    growing.rename(folder)
