import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sentiment_batch.errors import EnvironmentFailure, ModelRefused, UsageError
from sentiment_batch.model import torch_engine
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.model.torch_engine import engine_of, load_engine, resolve_device, resolve_dtype

CPU = torch.device("cpu")


def test_devices() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="no such device: tpu"):
        resolve_device("tpu")
    with pytest.raises(UsageError, match="no such device: meta"):
        resolve_device("meta")
    with pytest.raises(EnvironmentFailure, match="GPUs that PyTorch sees"):
        resolve_device("cuda:99")


def test_dtypes() -> None:
    assert resolve_dtype("auto", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_float32_whatever_the_weights_are(tiny_model: Path, dtype: torch.dtype) -> None:
    engine = load_engine(read_model_folder(str(tiny_model)), CPU, dtype)
    ids = np.array([[2, 10, 11, 3], [2, 12, 3, 0]])
    logits = engine(ids, np.array([[1, 1, 1, 1], [1, 1, 1, 0]]))
    assert logits.dtype == np.float32
    assert logits.shape == (2, 3)
    alone = engine(ids[1:, :3], None)
    np.testing.assert_allclose(logits[1:], alone, atol=1e-5 if dtype == torch.float32 else 0.2)


def test_weights_that_do_not_fit_the_configuration(tiny_model: Path, tmp_path: Path) -> None:
    for change, message in (
        ({"num_hidden_layers": 3}, "missing keys"),
        ({"num_hidden_layers": 1}, "unexpected keys"),
        ({"intermediate_size": 128}, "mismatched keys"),
    ):
        folder = tmp_path / str(change)
        shutil.copytree(tiny_model, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelRefused, match=message):
            load_engine(read_model_folder(str(folder)), CPU, torch.float32)


def test_damaged_weights(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelRefused, match="cannot be loaded: its tensors"):
        read_model_folder(str(folder))


class Failing(torch.nn.Module):
    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def forward(self, **_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_out_of_memory_in_every_form_is_a_memory_error(error: Exception) -> None:
    with pytest.raises(MemoryError):
        engine_of(Failing(error), CPU)(np.zeros((1, 1), np.int64), None)


def test_a_device_without_room_is_worth_a_retry(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(EnvironmentFailure, match="cannot be moved to cpu: CUDA out of memory; run again"):
        load_engine(read_model_folder(str(tiny_model)), CPU, torch.float32)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "Input/output error")])
def test_weights_that_cannot_be_read_just_now_do_not_make_the_model_bad(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch_engine, "read_tensors", fails)
    with pytest.raises(type(error)):
        load_engine(read_model_folder(str(tiny_model)), CPU, torch.float32)


def test_another_fault_of_the_device_is_worth_a_retry_of_the_job() -> None:
    engine = engine_of(Failing(RuntimeError("CUDA error: an illegal memory access\nmore")), CPU)
    with pytest.raises(EnvironmentFailure, match="illegal memory access; run again"):
        engine(np.zeros((1, 1), np.int64), None)
