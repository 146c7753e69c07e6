"""A graph in a model folder -> an engine that runs on OpenVINO, on a CPU, without PyTorch."""

from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from sentiment_batch.errors import EnvironmentFailure, ModelRefused
from sentiment_batch.model.classifier import Engine
from sentiment_batch.model.graph_file import INPUTS, Graph
from sentiment_batch.model.graph_sizes import check_sizes
from sentiment_batch.model.graphs import INT8
from sentiment_batch.model.openvino_runtime import openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# Attention as products, sums and a softmax, not as one kernel that on AMX is slow for all widths but multiples of 16: a
# batch of 63 tokens took 93 ms with it and takes 76 without, one of 64 tokens 73 and 69. In int8 without AMX the kernel
# is the faster.
_SEPARATE_ATTENTION = {"SNIPPETS_MODE": "DISABLE"}
_OUT_OF_MEMORY = ("bad_alloc", "out of memory", "Failed to allocate")


def computes_in_bfloat16() -> bool:
    """Whether this CPU does, by OpenVINO's account."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def float_dtype(dtype: str) -> str:
    """What is left in floating point is computed in `dtype`; that of int8 in bfloat16 where the CPU computes in it."""
    return dtype if dtype != INT8 else "bfloat16" if computes_in_bfloat16() else "float32"


def has_amx(root: Path = Path("/")) -> bool:
    """Whether this CPU multiplies matrices of int8 by tiles (AMX), of which OpenVINO says nothing.

    `root` is where the system's files are looked for.
    """
    try:
        return "amx_int8" in (root / "proc/cpuinfo").read_text(errors="replace").split()
    except OSError:
        return False


def load_engine(graph: Graph, labels: int, dtype: str, streams: int, longest: int | None = None) -> Engine:
    """An engine that as many threads as it has streams may call at a time; each stream computes on one core.

    `dtype` is float32 or bfloat16, or int8 for a graph that computes in it. `longest` is the most tokens that a text
    has, and may be left out for a graph that was made here. Raises `ModelRefused` if OpenVINO cannot compile the graph,
    if it needs more memory than an encoder, or if a text has not one logit for each label in it.
    """
    options = {
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(streams),
        "INFERENCE_PRECISION_HINT": _HINTS[float_dtype(dtype)],
        "ENABLE_CPU_PINNING": "NO",  # the core that a stream would be bound to may be another process's
    }
    try:
        core = openvino.Core()
        weights = openvino.Tensor(np.frombuffer(graph.weights, np.uint8), shared_memory=True)
        if longest:
            looked_at = core.read_model(graph.xml.decode(), weights)
            separate_attention(looked_at)  # which shows how many scores there are
            check_sizes(looked_at, longest, graph.path)
        model = core.read_model(graph.xml.decode(), weights)
        separate = dtype != INT8 or has_amx()
        if separate:
            separate_attention(model)
        compiled = _compiled(core, model, options, _SEPARATE_ATTENTION if separate else {})
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            requests.put(compiled.create_infer_request())
    except ModelRefused:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        raise ModelRefused(
            f"{graph.path} cannot be loaded: {_in_one_line(error)}; label with --engine torch"
        ) from error

    engine = partial(_logits, requests, graph)
    _try_out(engine, labels, graph.path)
    return engine


def separate_attention(model: Any) -> None:
    """Write each attention as what it is made of, in place. Not one whose width depends on its input.

    OpenVINO would do it too, and the results are the same to the last bit; but it would lay the keys out anew, column
    by column, which the product does anyway for its tiles: 5 % of a batch of MiniLM in int8.
    """
    ops, summands = openvino.opset13, {}
    for attention in model.get_ordered_ops():
        if attention.get_type_name() != "ScaledDotProductAttention" or attention.get_attributes()["causal"]:
            continue
        query, keys, values, *others = attention.input_values()
        shape, dtype = query.get_partial_shape(), query.get_element_type()
        if shape.rank.is_dynamic or shape[-1].is_dynamic:
            continue
        its_own = np.float32(1) / np.sqrt(np.float32(shape[-1].get_length()))  # as OpenVINO rounds it
        scale = others[1] if len(others) > 1 else ops.constant(its_own, dtype)
        scores = ops.multiply(ops.matmul(query, keys, False, True), scale)
        if others:
            mask = others[0]
            name = mask.get_node().get_name(), mask.get_index()
            if name not in summands:  # one for all layers
                nothing, never = ops.constant(0.0, dtype), ops.constant(-np.inf, dtype)
                is_flag = mask.get_element_type() == openvino.Type.boolean
                summands[name] = ops.select(mask, nothing, never) if is_flag else mask
            scores = ops.add(scores, summands[name])
        found = ops.matmul(ops.softmax(scores, -1), values, False, False)
        for taker in attention.output(0).get_target_inputs():
            taker.replace_source_output(found.output(0))


def _compiled(core: Any, model: Any, options: dict[str, str], internal: dict[str, str]) -> Any:
    """The model as it runs; without the internal options, which another OpenVINO may not have, if need be."""
    try:
        return core.compile_model(model, "CPU", {**options, **internal})
    except RuntimeError as error:
        if not any(name in str(error) for name in internal):
            raise
    return core.compile_model(model, "CPU", options)


def _logits(
    requests: "SimpleQueue[Any]", graph: Graph, input_ids: np.ndarray, attention_mask: np.ndarray | None
) -> np.ndarray:
    """An engine with its first two arguments. OpenVINO computes on the constants where they lie: it keeps the graph."""
    mask = np.ones_like(input_ids) if attention_mask is None else attention_mask
    request = requests.get()
    try:
        found = request.infer(dict(zip(INPUTS, (input_ids, mask), strict=True)), share_inputs=True)
        return np.array(found[0], np.float32)
    except Exception as error:
        if not is_out_of_memory(error):
            raise EnvironmentFailure(
                f"{graph.path}: OpenVINO failed: {_in_one_line(error)}; run again to go on"
            ) from error
    finally:
        requests.put(request)
    raise MemoryError


def _try_out(engine: Engine, labels: int, path: Path) -> None:
    ids = np.zeros((2, 4), np.int64)
    try:
        shape = engine(ids, np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int64)).shape
    except EnvironmentFailure as error:
        raise ModelRefused(
            f"{path} cannot label a text: {_in_one_line(error.__cause__)}; label with --engine torch"
        ) from error
    if shape != (2, labels):
        raise ModelRefused(
            f"{path} gives logits of {shape} for 2 texts, not {labels} for each; label with --engine torch"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether OpenVINO says with it that there is no memory."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def _in_one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:300]
