import errno
import json
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import save_random_model

from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import EnvironmentFailure, ModelRefused, UsageError
from sentiment_batch.model import compute, torch_engine
from sentiment_batch.model.base import load_base_model
from sentiment_batch.model.compute import Compute
from sentiment_batch.model.configuration import MODEL_TYPES
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.model.torch_engine import engine_of, load_engine, resolve_device, resolve_dtype, try_out

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


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_can(
    capabilities: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_dtype("auto", CPU) == dtype
    assert resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16


def test_this_cpu_is_asked_what_it_can() -> None:
    """The names of the capabilities are PyTorch's, and might change."""
    flags = Path("/proc/cpuinfo").read_text().split()
    assert (resolve_dtype("auto", CPU) == torch.bfloat16) == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_an_engine_computes_in_as_many_threads_as_it_is_told(tiny_model: Path) -> None:
    engine = load_engine(read_model_folder(str(tiny_model)), CPU, torch.float32, 1)
    seen = []

    def label() -> None:
        torch.set_num_threads(2)
        engine(np.array([[2, 10, 3]]), None)
        seen.append(torch.get_num_threads())

    ours = torch.get_num_threads()
    thread = threading.Thread(target=label)
    thread.start()
    thread.join()
    assert seen == [1]
    assert torch.get_num_threads() == ours, "other threads keep what they have"


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


class FakeGpu:
    """CUDA's streams and events on a machine without it: tensors stay where they are, and calls are noted."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, int]] = []  # what is done, and in which stream
        self.streams, self.of_thread = 0, threading.local()
        patch.setattr(torch.Tensor, "to", lambda tensor, _device, non_blocking: tensor)
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: self.note("pin") or tensor)
        for name in ("Stream", "Event", "stream", "default_stream", "synchronize", "empty_cache"):
            patch.setattr(torch.cuda, name, getattr(self, name))

    def note(self, what: str) -> None:
        self.calls.append((what, self.stream_of_thread()))

    def stream_of_thread(self) -> int:
        return getattr(self.of_thread, "stream", 0)

    def Stream(self, _device: torch.device) -> int:  # noqa: N802
        self.streams += 1
        return self.streams

    def default_stream(self, _device: torch.device) -> int:
        return 0

    @contextmanager
    def stream(self, stream: int) -> Iterator[None]:
        self.of_thread.stream = stream
        try:
            yield
        finally:
            self.of_thread.stream = 0

    def Event(self, *, blocking: bool) -> SimpleNamespace:  # noqa: N802
        assert blocking, "a core would be kept busy with waiting"
        return SimpleNamespace(record=lambda stream: self.calls.append(("record", stream)), synchronize=self.wait)

    def wait(self) -> None:
        self.note("wait")

    def synchronize(self, _device: torch.device) -> None:
        self.note("synchronize")

    def empty_cache(self) -> None:
        self.note("empty_cache")


CUDA = torch.device("cuda")


def test_a_gpu_is_waited_for_once_in_a_batch_and_for_its_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch)

    def answer(ids: torch.Tensor, mask: torch.Tensor | None) -> Any:
        gpu.note("compute")
        assert mask is not None
        return SimpleNamespace(logits=torch.stack([ids.sum(1), mask.sum(1)], 1).bfloat16())

    engine = engine_of(Giving(answer), CUDA, streams=2)
    assert gpu.calls == [("synchronize", 0)], "the weights are there before a stream computes with them"
    for stream in (1, 2, 1):
        del gpu.calls[:]
        logits = engine(np.array([[2, 9, 3], [2, 3, 0]]), np.array([[1, 1, 1], [1, 1, 0]]))
        assert (logits.dtype, logits.tolist()) == (np.float32, [[14, 3], [5, 2]])
        begun = [(what, stream) for what in ("pin", "pin", "compute", "pin", "record")]
        assert gpu.calls == [*begun, ("wait", 0)]


def test_one_stream_of_a_gpu_is_the_default_one_behind_the_steps_of_a_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = FakeGpu(monkeypatch)
    engine_of(Giving(lambda ids, mask: logits(2, 3)), CUDA)(np.zeros((2, 4), np.int64), None)
    assert gpu.streams == 0
    assert ("record", 0) in gpu.calls


def test_no_two_batches_share_a_stream_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch)
    together, seen = threading.Barrier(2, timeout=10), []

    def answer(ids: torch.Tensor, _mask: torch.Tensor | None) -> Any:
        together.wait()
        seen.append(gpu.stream_of_thread())
        together.wait()
        if ids.shape[1] == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(len(ids), 3)

    engine = engine_of(Giving(answer), CUDA, streams=2)
    for width in (5, 4, 3):  # a batch that failed gives its stream back
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(engine, np.zeros((2, width), np.int64), None) for _ in range(2)]
        assert [type(each.exception()) for each in both] == [MemoryError if width == 5 else type(None)] * 2
    assert [set(seen[at : at + 2]) for at in (0, 2, 4)] == [{1, 2}] * 3
    assert gpu.calls.count(("empty_cache", 0)) == 2


def test_what_a_failed_batch_held_is_free_before_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch)
    held: list[weakref.ref[torch.Tensor]] = []

    def answer(ids: torch.Tensor, _mask: torch.Tensor | None) -> Any:
        activations = torch.zeros(ids.shape)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: gpu.calls.append(("empty", held[0]() is not None)))
    with pytest.raises(MemoryError):
        engine_of(Giving(answer), CUDA, streams=2)(np.zeros((2, 4), np.int64), None)
    assert gpu.calls[-1] == ("empty", False)


def test_a_gpu_gets_two_batches_at_a_time(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, given = read_model_folder(str(tiny_model)), []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch_engine, "load_engine", lambda *arguments: given.append(arguments))
    for device in ("cuda", "cpu"):
        on_device = Compute("torch", device, "bfloat16")
        compute.load_engine(folder, on_device)
        streams = 2 if device == "cuda" else usable_cores()
        threads = None if device == "cuda" else 1
        assert given.pop() == (folder, torch.device(device), torch.bfloat16, threads, streams)
        assert on_device.streams == streams


class Giving(torch.nn.Module):
    """A model that answers in its own way."""

    def __init__(self, answer: Any):
        super().__init__()
        self.answer = answer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> Any:
        return self.answer(input_ids, attention_mask)


def logits(rows: int, labels: int) -> Any:
    return SimpleNamespace(logits=torch.zeros(rows, labels))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda ids, mask: (torch.zeros(2, 3),), "cannot label a text: 'tuple' object has no attribute 'logits'"),
        (lambda ids, mask: logits(2, 2), r"gives \(2, 2\) logits for 2 texts, not 3"),
        (lambda ids, mask: logits(*ids.shape), r"gives \(2, 4\) logits"),
        (lambda ids, mask: torch.zeros(3)[ids + 3], "cannot label a text: index 3 is out of bounds"),
        (lambda ids, mask: logits(2, 3) if mask is None else mask.nothing, "cannot label a text"),
        (lambda ids, mask: torch.zeros(2) @ torch.zeros(3), "cannot label a text: .*size"),
    ],
)
def test_a_model_that_cannot_label_is_refused_before_the_first_row(answer: Any, says: str) -> None:
    with pytest.raises(ModelRefused, match=f"m: a model of this config.json {says}"):
        try_out(Giving(answer), 3, "m")


def test_a_model_that_can_label_is_taken() -> None:
    try_out(Giving(lambda ids, mask: logits(2, 3)), 3, "m")
    try_out(Giving(lambda ids, mask: SimpleNamespace(logits=torch.full((2, 3), torch.nan))), 3, "m")


def test_no_memory_to_try_a_model_is_no_fault_of_the_model() -> None:
    with pytest.raises(MemoryError):
        try_out(Failing(torch.OutOfMemoryError("CUDA out of memory")), 3, "m")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_kind_of_model_can_be_tried_in_every_precision(kind: str, dtype: torch.dtype) -> None:
    """On the CPU, whatever the device of the job."""
    import transformers

    prefix = MODEL_TYPES[kind].prefix
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    config = getattr(transformers, f"{prefix}Config")(**sizes, vocab_size=9, pad_token_id=0, num_labels=3)
    try_out(getattr(transformers, f"{prefix}ForSequenceClassification")(config).to(dtype), 3, "m")


def test_settings_that_change_what_a_model_returns_are_left_out(tiny_model: Path, tmp_path: Path) -> None:
    odd = {"return_dict": False, "chunk_size_feed_forward": 3, "output_attentions": True, "to_dict": "x", "dtype": "os"}
    odd |= {"output_hidden_states": True, "use_cache": 1, "torchscript": True, "pruned_heads": {"0": [0]}}
    odd |= {"problem_type": "multi_label_classification", "gradient_checkpointing": True, "tie_word_embeddings": 3}
    shutil.copytree(tiny_model, tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps(config | odd))
    ids = np.array([[2, 10, 11, 3, 7]])
    expected = load_engine(read_model_folder(str(tiny_model)), CPU, torch.float32)(ids, None)
    found = load_engine(read_model_folder(str(tmp_path / "odd")), CPU, torch.float32)(ids, None)
    assert found.tolist() == expected.tolist()


def test_weights_that_are_swapped_after_they_were_inspected_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    """A link that leads to other weights while they are read, and back again before anybody looks."""
    shutil.copytree(tiny_model, tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.rename(weights.with_name("a.safetensors"))
    other = bytearray(weights.with_name("a.safetensors").read_bytes())
    other[-1] ^= 1
    weights.with_name("b.safetensors").write_bytes(other)
    weights.symlink_to("a.safetensors")
    folder = read_model_folder(str(tmp_path / "m"))
    weights.unlink()
    weights.symlink_to("b.safetensors")
    with pytest.raises(ModelRefused, match=r"model\.safetensors changed while it was loaded"):
        load_engine(folder, CPU, torch.float32)
    weights.unlink()
    weights.symlink_to("a.safetensors")
    load_engine(folder, CPU, torch.float32)


def test_a_model_is_tried_when_it_is_loaded(tmp_path: Path) -> None:
    """Without a padding id a RoBERTa is built, and cannot count positions."""
    from transformers import RobertaConfig

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    labels = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
    save_random_model(tmp_path, RobertaConfig(**sizes, **labels, max_position_embeddings=66, pad_token_id=None))
    with pytest.raises(ModelRefused, match="cannot label a text"):
        load_engine(read_model_folder(str(tmp_path)), CPU, torch.float32)
    with pytest.raises(ModelRefused, match="cannot label a text"):
        load_base_model(str(tmp_path), None, ("a", "b"))
