"""A model folder -> OpenVINO graphs in files, as they are and in int8. Nothing of it goes through a network."""

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.folder import ModelFolder
from sentiment_batch.model.graph_file import INPUTS
from sentiment_batch.model.head import head_name
from sentiment_batch.model.openvino_runtime import openvino
from sentiment_batch.model.torch_engine import load_model


def convert(folder: ModelFolder) -> Any:
    """The openvino model of the folder's, in float32. Raises `ModelRefused` for one that OpenVINO cannot express."""
    model = load_model(folder, torch.float32).eval()
    example = torch.ones((2, 8), dtype=torch.int64)
    try:
        with _quiet():
            graph = openvino.convert_model(model, example_input=dict.fromkeys(INPUTS, example))
    except Exception as error:
        raise ModelRefused(
            f"{folder.path}: OpenVINO cannot express this {folder.model_type} model "
            f"({type(error).__name__}); label with --engine torch"
        ) from error
    for each in graph.inputs:
        each.get_node().set_friendly_name(each.get_any_name())
    return graph


def quantise(graph: Any, batches: Iterable[tuple[np.ndarray, np.ndarray]], symmetric: bool) -> Any:
    """The same in int8, by NNCF's post-training quantisation with SmoothQuant (arXiv:2211.10438).

    The ranges of the activations are those seen with the batches of calibration, (input_ids, attention_mask) each;
    symmetric ones lie around zero. On AMX these are the faster by a sixth, and what OpenVINO prepares for each shape of
    a batch it prepares in half the time; without AMX they are the slower. Attention is left as it is where
    it is one operation (not in DeBERTa and MPNet): three fourths of the error came of it, and it is a thirtieth of the
    products. So is the head, which sees one token of each text.
    """
    import nncf  # behind OpenVINO, whose import is ours

    seen = [dict(zip(INPUTS, batch, strict=True)) for batch in batches]
    with _quiet():
        return nncf.quantize(
            graph,
            nncf.Dataset(seen),
            subset_size=len(seen),
            ignored_scope=nncf.IgnoredScope(
                names=[head_name(graph)], types=["ScaledDotProductAttention"], validate=False
            ),
            preset=nncf.QuantizationPreset.PERFORMANCE if symmetric else nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
        )


def save(graph: Any, path: Path) -> tuple[str, str]:
    """Write an `.xml` and the `.bin` beside it; the SHA-256 of both."""
    for name in [*graph.get_rt_info()]:
        graph.set_rt_info("", name)  # how it was made, with paths of this machine
    openvino.save_model(graph, str(path), compress_to_fp16=False)
    xml, weights = (hashlib.sha256(each.read_bytes()).hexdigest() for each in (path, path.with_suffix(".bin")))
    return xml, weights


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars on standard output, which is the summary's, and the warnings of traced code."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
