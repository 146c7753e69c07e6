"""A safetensors file that was inspected -> its tensors."""

import hashlib
from math import prod
from pathlib import Path

import torch

from sentiment_batch.model.header import NUMBER_BYTES, read_header
from sentiment_batch.model.inspection import changed, open_file

_DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}


def read_tensors(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """Every tensor of the file by name, in memory of its own, which nobody can write to through the file.

    The bytes are hashed as they are read: raises `ModelRefused` unless they are those that were inspected, whatever
    has become of the name meanwhile. Raises `MemoryError` where there is no room for them.
    """
    digest = hashlib.sha256()
    tensors = {}
    with open_file(path) as file:
        header = read_header(file, path)
        begin = file.tell()
        file.seek(0)
        digest.update(file.read(begin))
        for name, tensor in header.items():
            flat = _empty(prod(tensor.shape) * NUMBER_BYTES[tensor.dtype])
            content = memoryview(flat.numpy())  # type: ignore[arg-type]
            if file.readinto(content) != len(content):
                raise changed(path)
            digest.update(content)
            tensors[name] = flat.view(_DTYPES[tensor.dtype]).reshape(tensor.shape)
    if digest.hexdigest() != sha256:
        raise changed(path)
    return tensors


def _empty(size: int) -> torch.Tensor:
    try:
        return torch.empty(size, dtype=torch.uint8)
    except RuntimeError:
        raise MemoryError from None
