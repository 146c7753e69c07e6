"""How many numbers a graph holds in memory at a time, by OpenVINO's own account, before any is computed.

A graph of a kilobyte can ask for terabytes: by a shape in it, by sums of columns with rows, by doubling something 40
times. `graph_file.py` sees to it that no shape depends on what is in a tensor, and that finding it out takes no memory;
so the numbers of texts and of tokens alone decide all sizes, and here they are looked at for a few of both. What would
grow for others alone ends as any lack of memory does. How long a graph takes is not looked at: a model of many layers
may be as slow.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.openvino_runtime import openvino

_TOKENS = 2_048  # of a batch
_AXES = 8
# More than DeBERTa-v2-xxlarge takes by its sizes, and no encoder here needs more: its keys of 512 positions for each
# text, the states of each token, its scores of every token with every other.
_FOR_A_TEXT, _FOR_A_TOKEN, _FOR_A_PAIR = 2**21, 2**16, 256


def check_sizes(model: Any, longest: int, path: Path) -> None:
    """Raise `ModelRefused` for a model that needs more memory than the encoders here for batches of 2,048 tokens.

    `longest` is the most tokens that a text may have. The model is changed: it is one to be thrown away.
    """
    for width in sorted({1, min(64, longest), longest}):
        rows = max(1, _TOKENS // width)
        most = rows * (_FOR_A_TEXT + width * (_FOR_A_TOKEN + longest * _FOR_A_PAIR))
        model.reshape({each: openvino.PartialShape([rows, width]) for each in model.inputs})
        found = max(_held(model, path))
        if found > most:
            raise ModelRefused(
                f"{path} needs room for {found} numbers to label {rows} texts of {width} tokens, and gets {most}; "
                "label with --engine torch"
            )


def _held(model: Any, path: Path) -> Iterator[int]:
    """How many numbers are held while each operation runs, if each result is let go behind the last that takes it."""
    order = model.get_ordered_ops()
    last = {_key(given): place for place, op in enumerate(order) for given in op.input_values()}
    released = [0] * len(order)
    held = 0
    for place, op in enumerate(order):
        for result in op.outputs() if op.get_type_name() != "Constant" else ():
            size = _size(result.get_partial_shape(), path)
            held += size
            released[last.get(_key(result), place)] += size
        yield held
        held -= released[place]


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _size(shape: Any, path: Path) -> int:
    if shape.is_dynamic or len(shape) > _AXES:
        raise ModelRefused(
            f"{path} has a tensor of the shape {shape!s:.80}, which the size of its inputs does not decide; "
            "label with --engine torch"
        )
    return prod(each.get_length() for each in shape)
