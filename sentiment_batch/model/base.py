"""A Hub id or a folder -> a model to fine-tune, with a new head for our labels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sentiment_batch.errors import EnvironmentFailure, ModelRefused, UsageError
from sentiment_batch.model.folder import CONFIG, model_type, position_limit, read_config, weight_files
from sentiment_batch.model.torch_engine import quiet

_NETWORK_HINT = (
    "without a network, set HF_HOME to a cache that holds it, give --base-model a local folder, or --base-model scratch"
)


@dataclass(frozen=True)
class BaseModel:
    """A model that can be trained, and the tokenizer that it belongs to."""

    model: Any  # a transformers classifier in float32
    tokenizer: Any  # a transformers tokenizer with a `backend_tokenizer` of the `tokenizers` library
    max_length: int  # tokens, special ones included


def load_base_model(name: str, revision: str | None, labels: tuple[str, ...]) -> BaseModel:
    """The base model with a head for the labels: a new one, unless it has one for these very labels already.

    Raises `ModelRefused` for a model that is not a known encoder or has no safetensors, and `EnvironmentFailure` if
    it cannot be fetched.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    if not os.path.isdir(name) and name.startswith((".", "/", "~")):
        raise UsageError(f"--base-model {name}: no such folder")
    if os.path.isdir(name):
        model_type(read_config(Path(name) / CONFIG), name)
        weight_files(Path(name))
    where: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(name, **where)
            same_labels = tuple((config.id2label or {}).values()) == labels
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: number for number, label in enumerate(labels)}
            limit = position_limit(config.to_dict(), name)
            tokenizer = AutoTokenizer.from_pretrained(name, **where)
            model = AutoModelForSequenceClassification.from_pretrained(
                name, config=config, use_safetensors=True, ignore_mismatched_sizes=True, dtype=torch.float32, **where
            )
    except ModelRefused:
        raise
    except Exception as error:  # transformers raises OSError, ValueError and others for the same things
        raise _reason(name, error) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelRefused(f"{name} has no fast tokenizer; save one as tokenizer.json first")
    if not same_labels:
        _begin_head_anew(model)
    tokenizer.backend_tokenizer.no_truncation()  # cutting and padding are ours
    tokenizer.backend_tokenizer.no_padding()
    return BaseModel(model, tokenizer, limit)


def _begin_head_anew(model: Any) -> None:
    """Draw the head's weights as BERT does. A head for other labels, if there are as many, would be kept otherwise."""
    for module in model.classifier.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=getattr(model.config, "initializer_range", 0.02))
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)


def _reason(name: str, error: Exception) -> Exception:
    text = " ".join(str(error).split())
    if "safetensors" in text and not any(word in text for word in ("connect", "offline")):
        return ModelRefused(
            f"{name} has no safetensors weights, and pickled ones are not read: they can run code. "
            "Give a --revision that has them (the Hub's conversions are at refs/pr/N), or convert it"
        )
    if os.path.isdir(name):
        return ModelRefused(f"{name} cannot be loaded: {text:.200}")
    return EnvironmentFailure(f"the base model {name} cannot be fetched ({type(error).__name__}); {_NETWORK_HINT}")
