"""A model folder -> an engine that runs on PyTorch, on a CPU or a GPU."""

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from sentiment_batch.errors import EnvironmentFailure, ModelRefused, UsageError
from sentiment_batch.model.classifier import Engine
from sentiment_batch.model.folder import ModelFolder

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
            f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that PyTorch sees"
        )
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, and on a GPU bfloat16 where it is native, else float16."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def load_engine(folder: ModelFolder, device: torch.device, dtype: torch.dtype) -> Engine:
    """Raises `ModelRefused` if the weights are not exactly those that the configuration asks for."""
    return engine_of(_load_model(folder, dtype).to(device).eval(), device)


def engine_of(model: torch.nn.Module, device: torch.device) -> Engine:
    """The engine of a model that is on the device already."""

    def engine(input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        try:
            with torch.inference_mode():
                ids = torch.from_numpy(input_ids).to(device, non_blocking=True)
                # transformers takes a missing mask to be all ones, and then skips the masking in attention
                mask = None if attention_mask is None else torch.from_numpy(attention_mask).to(device)
                logits: np.ndarray = model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
                return logits
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
                full = True
            else:
                raise EnvironmentFailure(f"the device failed: {_first_line(error)}; run again to go on") from error
        # Out of the except block, so that the failed batch's tensors are free before the cache is emptied.
        if full and device.type == "cuda":
            torch.cuda.empty_cache()
        raise MemoryError

    return engine


def _load_model(folder: ModelFolder, dtype: torch.dtype) -> torch.nn.Module:
    from transformers import AutoModelForSequenceClassification

    try:
        with quiet():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder.path,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises many kinds, for as many faults of a folder
        raise ModelRefused(f"{folder.path} cannot be loaded: {_first_line(error)}") from error
    wrong = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if wrong:
        kind, names = next(iter(wrong.items()))
        raise ModelRefused(f"{folder.path}: the weights have {kind.replace('_', ' ')}: {', '.join(names[:3])}")
    return model  # type: ignore[no-any-return]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the bars and reports that transformers prints: what matters of them is checked, and raised."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
