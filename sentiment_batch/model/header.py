"""A safetensors file -> the names, types and shapes of its tensors, from its header alone."""

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.inspection import CONFIG_BYTES, parse_json

_LENGTH_BYTES = 8
_AXES, _SIZE = 8, 2**50  # beyond any weights, and what torch can count with
# Bytes of a number, by type. Weights are floating point; old checkpoints have `position_ids` as int64 among them.
NUMBER_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8}


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]


def read_header(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    """Every tensor of the file by name, in the order of their places. No tensor is read: the file is left at the first.

    Raises `ModelRefused` if the header is no JSON object of at most 1 MiB, names an unknown type, or if the tensors
    do not fill the rest of the file one behind the other, without a gap.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if not 2 <= length <= min(CONFIG_BYTES, size - _LENGTH_BYTES):
        raise ModelRefused(f"{path} cannot be loaded: it does not begin as safetensors do, or is cut off")
    header = parse_json(file.read(length), f"the header of {path}", keys_are_ours=False)
    header.pop("__metadata__", None)
    place = 0
    tensors = {}
    for name, begin, end, tensor in sorted(
        (_entry(*each, path) for each in header.items()), key=lambda each: each[1:3]
    ):
        if begin != place or end - begin != prod(tensor.shape) * NUMBER_BYTES[tensor.dtype]:
            raise ModelRefused(f"{path} cannot be loaded: the place of the tensor {name!r} is not where it must be")
        place = end
        tensors[name] = tensor
    if place != size - _LENGTH_BYTES - length:
        raise ModelRefused(
            f"{path} cannot be loaded: its tensors take {place} bytes, and it has others; is it cut off?"
        )
    return tensors


def _entry(name: str, entry: Any, path: Path) -> tuple[str, int, int, Tensor]:
    """(name, begin, end, tensor), the places counted from the end of the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelRefused(f"the header of {path} does not describe the tensor {name!r}")
    dtype, shape, places = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in NUMBER_BYTES:
        raise ModelRefused(f"{path}: the tensor {name!r} has the dtype {dtype!r}; known: {', '.join(NUMBER_BYTES)}")
    if not _are_sizes(shape) or not _are_sizes(places) or len(places) != 2:
        raise ModelRefused(f"{path}: the tensor {name!r} has a shape or data_offsets that are no sizes")
    return name, places[0], places[1], Tensor(dtype, tuple(shape))


def _are_sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _AXES
        and all(type(each) is int and 0 <= each < _SIZE for each in value)
    )
