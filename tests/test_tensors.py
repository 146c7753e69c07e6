"""model/tensors.py: the bytes that were inspected, and no others."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.tensors import read_tensors


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_every_type_and_shape(path: Path) -> None:
    tensors = {
        f"{dtype} {shape}": (torch.arange(6).to(dtype) / 3).to(dtype).reshape(6, 1).repeat(1, 4)[: shape[0], : shape[1]]
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)
        for shape in ((6, 4), (1, 1), (3, 2), (0, 4))
    }
    tensors["scalar"] = torch.tensor(1.5)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    found = read_tensors(path, sha256(path))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_tensors_are_not_the_file(path: Path) -> None:
    save_file({"a": torch.ones(4)}, path)
    found = read_tensors(path, sha256(path))
    with open(path, "r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert found["a"].tolist() == [1, 1, 1, 1]


def test_a_file_that_is_another_by_now_is_refused(path: Path) -> None:
    save_file({"a": torch.ones(4)}, path)
    inspected = sha256(path)
    save_file({"a": torch.zeros(4)}, path)
    with pytest.raises(ModelRefused, match="changed while it was loaded"):
        read_tensors(path, inspected)


def test_no_room_is_no_fault_of_the_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.ones(4)}, path)

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(MemoryError):
        read_tensors(path, sha256(path))
