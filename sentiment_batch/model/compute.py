"""What runs the model: which engine, on which device, in which precision. PyTorch is loaded only where it is it."""

import importlib.util
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import UsageError
from sentiment_batch.model.classifier import Engine
from sentiment_batch.model.folder import ModelFolder
from sentiment_batch.model.graph_file import read_graph
from sentiment_batch.model.graphs import FLOAT, INT8, RECORD, GraphFiles, Graphs

BATCH_TOKENS = {"cpu": 2_048, "cuda": 65_536}
_GPU_STREAMS = 2
_GPUS = ("nvidia[0-9]*", "dxg", "kfd")  # what Linux, WSL and AMD's driver name them

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compute:
    """What runs the model. Two of them may differ in the last bits of a probability."""

    engine: str  # torch or openvino
    device: str  # cpu, cuda or cuda:N
    dtype: str  # float32, bfloat16, float16 or int8
    graph: GraphFiles | None = None  # of openvino
    sharers: int = 1  # how many processes share the cores, this one among them

    @property
    def device_kind(self) -> str:
        """cpu or cuda."""
        return device_kind(self.device)

    @cached_property
    def float_dtype(self) -> str:
        """What it computes in where it does not compute in whole numbers: `dtype`, but for int8."""
        return _openvino_engine().float_dtype(self.dtype) if self.dtype == INT8 else self.dtype

    @property
    def streams(self) -> int:
        """How many batches are computed at a time.

        On a CPU a core for each batch beats all cores for one: nobody waits for the slowest core, and the bits of a
        result do not depend on how many there are. On a GPU the kernels of one batch run while the other is padded,
        begun and fetched.
        """
        return max(1, usable_cores() // self.sharers) if self.device_kind == "cpu" else _GPU_STREAMS

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch has by default, padding included: on a CPU as many as its cache has room for."""
        return BATCH_TOKENS[self.device_kind]

    def __str__(self) -> str:
        where = f"{self.streams} cores" if self.device_kind == "cpu" else self.device
        return f"{self.engine} in {self.dtype} on {where}"


def device_kind(device: str) -> str:
    """cuda:0 and cuda:1 are one kind of device: which of them a night gets is not part of its job."""
    return device.partition(":")[0]


def resolve_compute(
    folder: ModelFolder, graphs: Graphs, engine: str, device: str, dtype: str, root: Path = Path("/")
) -> Compute:
    """The fastest that there is of what the options allow: a GPU, else OpenVINO, else PyTorch on the CPU.

    OpenVINO takes a folder whose `graphs` `optimize` has made, and a precision that it can compute in. Raises
    `UsageError` for options that contradict each other or what is installed, and `EnvironmentFailure` for a GPU that is
    not there. `root` is where devices are looked for.
    """
    if engine != "torch" and (engine == "openvino" or dtype == INT8):
        asked = f"--engine {engine}" if engine == "openvino" else "--dtype int8"
        return _openvino(folder, graphs, device, dtype, asked)
    if engine == "torch" or device not in ("auto", "cpu") or dtype == "float16":
        return _torch(device, dtype)
    if device == "auto" and any(next((root / "dev").glob(name), None) for name in _GPUS):
        found = _torch(device, dtype)
        if found.device_kind != "cpu":
            return found
    if not graphs or not _has_openvino() or (dtype == "bfloat16" and not _computes_in_bfloat16()):
        return _torch("cpu", dtype)
    return _on_openvino(graphs, dtype)


def worker_computes(compute: Compute, workers: int | Literal["auto"], at_most: int) -> list[Compute]:
    """What each of so many workers computes on: a GPU each, or a share of the cores; `auto` is all GPUs, or one worker.

    They differ in nothing that a seal tells. There are no more than `at_most`, and one alone has what there is. Raises
    `UsageError` for more workers than GPUs.
    """
    if compute.device_kind == "cpu":
        count = min(1 if workers == "auto" else workers, at_most)
        if count > 1 and count > (cores := usable_cores()):
            log.warning("--workers %d, and cores are %d: each worker takes memory, and more do no more", count, cores)
        return [replace(compute, sharers=count)] * count
    from sentiment_batch.model.torch_engine import count_gpus

    gpus = 1 if compute.device != compute.device_kind else count_gpus()
    if workers != "auto" and workers > gpus:
        there = f"there are {gpus} GPUs" if gpus > 1 else "there is 1 GPU"
        named = f" with --device {compute.device}" if compute.device != compute.device_kind else ""
        raise UsageError(f"--workers {workers}: {there}{named}, and each worker needs one; give --workers auto")
    count = min(gpus if workers == "auto" else workers, at_most)
    return [compute] * count if count <= 1 else [replace(compute, device=f"cuda:{gpu}") for gpu in range(count)]


def load_engine(folder: ModelFolder, compute: Compute) -> Engine:
    """The engine of the folder's model, to be called in as many threads as `compute` has streams.

    Raises `ModelRefused` for a model that is not whole, or changed since it was looked at.
    """
    labels = len(folder.labels)
    if compute.graph:
        graph = read_graph(compute.graph.path, compute.graph.sha256)
        engine: Engine = _openvino_engine().load_engine(
            graph, labels, compute.dtype, compute.streams, folder.max_length
        )
    else:
        from sentiment_batch.model import torch_engine

        device = torch_engine.resolve_device(compute.device)
        threads = 1 if compute.device_kind == "cpu" else None
        precision = torch_engine.resolve_dtype(compute.dtype, device)
        engine = torch_engine.load_engine(folder, device, precision, threads, compute.streams)
    folder.check_unchanged()
    on_torch = compute.engine == "torch" and compute.device_kind == "cpu"
    slow = on_torch and not (Path(folder.path) / RECORD).exists()
    hint = f"; faster after: sentiment-batch optimize --model {folder.path}" if slow else ""
    log.info("the model runs on %s%s", compute, hint)
    return engine


def _torch(device: str, dtype: str) -> Compute:
    if dtype == INT8:
        raise UsageError("--dtype int8 is of the openvino engine, not of torch; give --engine auto or another --dtype")
    from sentiment_batch.model.torch_engine import resolve_device, resolve_dtype

    found = resolve_device(device)
    return Compute("torch", str(found), str(resolve_dtype(dtype, found)).removeprefix("torch."))


def _openvino(folder: ModelFolder, graphs: Graphs, device: str, dtype: str, asked: str) -> Compute:
    """What was asked for by this option; `UsageError` where it cannot be had."""
    if device not in ("auto", "cpu"):
        raise UsageError(f"{asked} is for a CPU, not for --device {device}; give --device cpu, or leave out {asked}")
    if dtype == "float16":
        raise UsageError(f"{asked} computes in float32, bfloat16 or int8, not in float16")
    if not _has_openvino():
        raise UsageError(f"{asked} needs OpenVINO: pip install 'sentiment-batch[cpu]'")
    if not graphs:
        raise UsageError(
            f"{asked}: {folder.path} has no OpenVINO graph; "
            f"make it with: sentiment-batch optimize --model {folder.path}"
        )
    if dtype == INT8 and INT8 not in graphs:
        raise UsageError(
            f"{asked}: {folder.path} has no int8 graph; make it with: sentiment-batch optimize --model {folder.path} "
            "--calibration FILE --valid FILE"
        )
    if dtype == "bfloat16" and not _computes_in_bfloat16():
        raise UsageError("--dtype bfloat16: this CPU does not compute in it; give --dtype auto or float32")
    return _on_openvino(graphs, dtype)


def _on_openvino(graphs: Graphs, dtype: str) -> Compute:
    if dtype == "auto":
        dtype = INT8 if INT8 in graphs else "bfloat16" if _computes_in_bfloat16() else "float32"
    return Compute("openvino", "cpu", dtype, graphs[INT8 if dtype == INT8 else FLOAT])


def _computes_in_bfloat16() -> bool:
    return bool(_openvino_engine().computes_in_bfloat16())


def _openvino_engine() -> Any:
    from sentiment_batch.model import openvino_engine

    return openvino_engine


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None
