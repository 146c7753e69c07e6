"""A model folder -> an engine that runs on PyTorch, on a CPU or a GPU."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

from sentiment_batch.errors import EnvironmentFailure, ModelRefused, UsageError
from sentiment_batch.model.classifier import Engine
from sentiment_batch.model.configuration import MODEL_TYPES, model_type
from sentiment_batch.model.first_token import keep_first_token
from sentiment_batch.model.folder import WEIGHTS_INDEX, Inspected, ModelFolder
from sentiment_batch.model.tensors import read_tensors

_OLD_BUFFER = ".position_ids"  # 0, 1, 2 ...; old checkpoints have it among the weights
_OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU if there is one. Raises `EnvironmentFailure` for a GPU that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no such device: {name}; give auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"no such device: {name}; give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EnvironmentFailure(
            f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that PyTorch sees; "
            "give --device cpu or auto, or run it where the GPU is"
        )
    return device


def count_gpus() -> int:
    """Those that PyTorch sees."""
    return torch.cuda.device_count()


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device computes in it, else float32 on a CPU and float16 on a GPU."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def load_engine(
    folder: ModelFolder, device: torch.device, dtype: torch.dtype, threads: int | None = None, streams: int = 1
) -> Engine:
    """An engine that computes in so many threads, on a CPU, or in PyTorch's own number of them.

    As many threads as it has streams may call it at a time.

    Raises `ModelRefused` if the weights are not exactly those that the configuration asks for.

    Raises `EnvironmentFailure` if the device has no room for them or is another's.
    """
    model = load_model(folder, dtype)
    try_out(model, len(folder.labels), folder.path)
    try:
        model = model.to(device)
    except RuntimeError as error:
        raise EnvironmentFailure(
            f"the model cannot be moved to {device}: {_first_line(error)}; run again when the device is free"
        ) from error
    return engine_of(model.eval(), device, threads, streams)


def engine_of(model: torch.nn.Module, device: torch.device, threads: int | None = None, streams: int = 1) -> Engine:
    """The engine of a model that is on the device already.

    On a GPU each of several batches at a time has a CUDA stream for itself: while one is padded, begun or fetched, the
    kernels of the others run. With one stream it is the default one, behind whatever else was begun there.
    """
    free: SimpleQueue[torch.cuda.Stream] = SimpleQueue()
    if device.type == "cuda":
        for stream in _cuda_streams(device, streams):
            free.put(stream)

    def engine(input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        if threads and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)  # of this thread, and of those to come
        try:
            if device.type == "cuda":
                return _logits_of_stream(model, device, free, input_ids, attention_mask)
            return _logits(model, device, input_ids, attention_mask).numpy()
        except RuntimeError as error:
            if _is_out_of_memory(error):
                full = True
            else:
                raise EnvironmentFailure(f"the device failed: {_first_line(error)}; run again to go on") from error
        # Out of the except block, so that the failed batch's tensors are free before the cache is emptied.
        if full and device.type == "cuda":
            torch.cuda.empty_cache()
        raise MemoryError

    return engine


def _cuda_streams(device: torch.device, count: int) -> list[torch.cuda.Stream]:
    if count == 1:
        return [torch.cuda.default_stream(device)]
    torch.cuda.synchronize(device)  # new streams do not wait for the default one, which brought the weights
    return [torch.cuda.Stream(device) for _ in range(count)]  # type: ignore[no-untyped-call]


def _logits_of_stream(
    model: torch.nn.Module,
    device: torch.device,
    free: "SimpleQueue[torch.cuda.Stream]",
    input_ids: np.ndarray,
    attention_mask: np.ndarray | None,
) -> np.ndarray:
    """By a stream that no other batch has meanwhile; waits for that stream alone, and sleeps until it is done."""
    stream = free.get()
    try:
        with torch.cuda.stream(stream):
            found = _logits(model, device, input_ids, attention_mask)
            logits = torch.empty(found.shape).pin_memory()
            logits.copy_(found, non_blocking=True)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record(stream)
        done.synchronize()
        return logits.numpy()
    finally:
        free.put(stream)


def _logits(
    model: torch.nn.Module, device: torch.device, input_ids: np.ndarray, attention_mask: np.ndarray | None
) -> torch.Tensor:
    """float32 [rows, labels], on the device. On a GPU it is begun, not waited for."""
    with torch.inference_mode():
        # transformers takes a missing mask to be all ones, and then skips the masking in attention
        mask = None if attention_mask is None else _to(device, attention_mask)
        logits: torch.Tensor = model(input_ids=_to(device, input_ids), attention_mask=mask).logits
        return logits.float()


def _to(device: torch.device, array: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # a copy out of other memory would be waited for
    return tensor.to(device, non_blocking=True)


def load_model(folder: ModelFolder, dtype: torch.dtype) -> torch.nn.Module:
    """On the CPU, and without what the logits do not need. Raises as `load_engine` does."""
    inspected = folder.inspected
    config = model_config(inspected.config, folder.path)
    model, info = load_classifier(inspected, config, dtype)
    wrong = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if wrong:
        kind, names = next(iter(wrong.items()))
        raise ModelRefused(f"{folder.path}: the weights have {kind.replace('_', ' ')}: {', '.join(names[:3])}")
    keep_first_token(model)
    return model


def model_config(config: dict[str, Any], where: str) -> Any:
    """The transformers configuration, of the class that our own table has for the model type, of known settings.

    Raises `ModelRefused` for values that the class refuses.
    """
    import transformers

    config_class = getattr(transformers, f"{MODEL_TYPES[model_type(config, where)].prefix}Config")
    try:
        with quiet():
            return config_class.from_dict({key: value for key, value in config.items() if key != "_num_labels"})
    except Exception as error:  # the library raises many kinds, for as many faults of a configuration
        raise ModelRefused(f"{where}: config.json cannot be loaded: {_first_line(error)}") from error


def try_out(model: torch.nn.Module, labels: int, where: str) -> None:
    """Label two texts of a few tokens on the CPU, with and without padding; `ModelRefused` if that cannot be done.

    The settings of a configuration are each what they may be, and together may still be none that a model can run
    with. A job finds that here, and not at its first row.
    """
    ids = np.zeros((2, 4), np.int64)
    for mask in (None, np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int64)):
        try:
            shape = tuple(_logits(model.eval(), torch.device("cpu"), ids, mask).shape)
        except Exception as error:
            if isinstance(error, MemoryError) or _is_out_of_memory(error):
                raise MemoryError from error
            raise ModelRefused(
                f"{where}: a model of this config.json cannot label a text: {_first_line(error):.200}"
            ) from error
        if shape != (2, labels):
            raise ModelRefused(f"{where}: a model of this config.json gives {shape} logits for 2 texts, not {labels}")


def load_classifier(
    inspected: Inspected, config: Any, dtype: torch.dtype, *, new_head: bool = False
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """(the model with the weights of the folder, what transformers reports of their names and shapes).

    transformers is given tensors and a configuration, and never sees the folder: there is nothing that it could find
    in it. The attention is one of its own two implementations, whatever the folder says. Raises `ModelRefused`, before
    a tensor is read, unless the headers name the tensors of the model in its shapes: no more and no fewer, or, for
    `new_head`, those of the encoder under the head and its pooler.
    """
    _check_tensors(inspected, config, new_head)
    model_class = _class_of(config)
    tensors = _read_tensors(inspected)
    try:
        with quiet():
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype=dtype,
                attn_implementation="sdpa" if model_class._supports_sdpa else "eager",
                ignore_mismatched_sizes=new_head,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (MemoryError, OSError):
        raise
    except Exception as error:
        if _is_out_of_memory(error):
            raise MemoryError from error
        raise ModelRefused(f"{inspected.folder} cannot be loaded: {_first_line(error)}") from error
    return model, info


def _read_tensors(inspected: Inspected) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name in inspected.weights:
        if name != WEIGHTS_INDEX:
            tensors |= read_tensors(inspected.folder / name, inspected.hashes[name])
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(_OLD_BUFFER)}


def _check_tensors(inspected: Inspected, config: Any, new_head: bool) -> None:
    model_class = _class_of(config)
    try:
        with quiet(), torch.device("meta"):  # a model without memory: whatever size the configuration asks for
            skeleton = model_class(config).state_dict()
    except Exception as error:
        raise ModelRefused(f"{inspected.folder}: config.json cannot be loaded: {_first_line(error)}") from error
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.items()}
    found = {name: tensor.shape for name, tensor in inspected.tensors.items() if not name.endswith(_OLD_BUFFER)}
    if new_head:
        prefix = f"{model_class.base_model_prefix}."
        expected = {name: expected[name] for name in expected if name.startswith(prefix) and ".pooler." not in name}
        found = {new: shape for old, shape in found.items() if (new := _new_name(old, prefix)) in expected}
    for kind, names in (
        ("missing keys", expected.keys() - found),
        ("unexpected keys", found.keys() - expected),
        ("mismatched keys", {name for name in expected.keys() & found if expected[name] != found[name]}),
    ):
        if names:
            raise ModelRefused(f"{inspected.folder}: the weights have {kind}: {', '.join(sorted(names)[:3])}")


def _new_name(name: str, prefix: str) -> str:
    """What transformers makes of the names in old checkpoints, and in those of an encoder without any head."""
    name = name if name.startswith(prefix) else prefix + name
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def _class_of(config: Any) -> Any:
    import transformers

    return getattr(transformers, f"{MODEL_TYPES[config.model_type].prefix}ForSequenceClassification")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the bars and reports that transformers prints: what matters of them is checked, and raised."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
