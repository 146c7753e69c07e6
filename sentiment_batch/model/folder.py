"""A model folder on the disk -> what must be known of it before a tensor is read."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.configuration import labels_of, model_type, pad_token_id, position_limit, positive_number
from sentiment_batch.model.header import Tensor, read_header
from sentiment_batch.model.inspection import TOKENIZER_BYTES, check_entries, read_json
from sentiment_batch.model.tokenizer_file import check_tokenizer

CONFIG, WEIGHTS, WEIGHTS_INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG, TRAINING = "tokenizer.json", "tokenizer_config.json", "training.json"
SPECIAL_TOKENS, ADDED_TOKENS, VOCABULARY = "special_tokens_map.json", "added_tokens.json", "vocab.json"
_TEMPLATE_NAME = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True)
class Inspected:
    """What was read of a folder, by us, before a library sees any of it."""

    folder: Path
    config: dict[str, Any]
    weights: tuple[str, ...]  # the names of the files, the index among them
    tensors: dict[str, Tensor]  # of all of them, by name


@dataclass(frozen=True)
class ModelFolder:
    """A folder that can label: its labels by name, in the order of the logits."""

    path: str
    model_type: str
    labels: tuple[str, ...]
    max_length: int  # tokens, special ones included
    vocab_size: int
    pad_token_id: int
    base_model: str | None
    digest: str  # SHA-256 over the names and contents of the files that decide a label
    stamps: tuple[tuple[str, int, int], ...]  # of the same files: name, bytes, time of change
    inspected: Inspected = field(repr=False)

    def check_unchanged(self) -> None:
        """Raise `ModelRefused` if a file is not the one that the digest is of."""
        if _stamps(self.path, [name for name, _, _ in self.stamps]) != self.stamps:
            raise ModelRefused(f"{self.path} changed while it was loaded; run again when nobody writes to it")


def read_model_folder(path: str) -> ModelFolder:
    """Raises `ModelRefused` for a folder that is not whole, not safetensors, or whose parts contradict each other.

    It is taken for hostile until this returns: nothing in it was given to a library, and no tensor was read.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelRefused(f"no model folder at {path}; make one with: sentiment-batch train --output {path} ...")
    for name in (CONFIG, TOKENIZER):
        if not (folder / name).is_file():
            raise ModelRefused(f"{path} has no {name}; is it a folder that `sentiment-batch train` wrote?")
    inspected = inspect_folder(folder)
    config, weights = inspected.config, inspected.weights
    stamps = _stamps(path, [CONFIG, TOKENIZER, *weights])
    training = read_json(folder / TRAINING) if (folder / TRAINING).is_file() else {}
    limit = position_limit(config, path)
    return ModelFolder(
        path=path,
        model_type=model_type(config, path),
        labels=labels_of(config, path),
        max_length=min(limit, positive_number({"max_length": limit, **training}, "max_length", path)),
        vocab_size=positive_number(config, "vocab_size", path),
        pad_token_id=pad_token_id(config, path),
        base_model=training.get("base_model"),
        digest=files_digest(path, (CONFIG, TOKENIZER, *weights)),
        stamps=stamps,
        inspected=inspected,
    )


def inspect_folder(folder: Path) -> Inspected:
    """What both a model that labels and a base model must be. Raises `ModelRefused`; reads no tensor.

    The names and links of the folder, every JSON file that a library would read, what the tokenizer is made of, and
    the headers of the weights.
    """
    check_entries(folder)
    config = read_json(folder / CONFIG)
    model_type(config, str(folder))
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        if (folder / name).is_file():
            _check_templates(read_json(folder / name), folder / name)
    for name in (ADDED_TOKENS, VOCABULARY):  # their keys are tokens
        if (folder / name).is_file():
            read_json(folder / name, TOKENIZER_BYTES, keys_are_ours=False)
    if (folder / TOKENIZER).is_file():
        check_tokenizer(folder / TOKENIZER)
    weights = weight_files(folder)
    return Inspected(folder, config, weights, _tensors(folder, weights))


def _check_templates(tokenizer_config: dict[str, Any], path: Path) -> None:
    """Chat templates are not used, but the names of some have been paths to write to (CVE-2026-9856)."""
    templates = tokenizer_config.get("chat_template")
    for template in templates if isinstance(templates, list) else []:
        name = template.get("name") if isinstance(template, dict) else None
        if not isinstance(name, str) or not _TEMPLATE_NAME.fullmatch(name):
            raise ModelRefused(f"{path} has a chat_template with the name {name!r:.80}, which is not a plain name")


def _tensors(folder: Path, weights: tuple[str, ...]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in weights:
        if name == WEIGHTS_INDEX:
            continue
        found = read_header(folder / name)
        if twice := sorted(tensors.keys() & found):
            raise ModelRefused(f"{folder / name} has the tensor {twice[0]!r}, which another weight file has too")
        tensors |= found
    return tensors


def weight_files(folder: Path) -> tuple[str, ...]:
    """The names of the weight files. Pickled weights are never read: they can run code."""
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (folder / WEIGHTS_INDEX).is_file():
        pickled = sorted(file.name for file in folder.glob("*.bin"))
        instead = f" ({pickled[0]} is a pickle, which is not read)" if pickled else ""
        raise ModelRefused(f"{folder} has no {WEIGHTS}{instead}; save the model as safetensors")
    weight_map = read_json(folder / WEIGHTS_INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelRefused(f"{folder / WEIGHTS_INDEX} names no weight files")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if os.path.basename(name) != name or not (folder / name).is_file():
            raise ModelRefused(f"{folder / WEIGHTS_INDEX} names {name!r}, which is not a file of the folder")
        if not name.endswith(".safetensors"):
            raise ModelRefused(f"{folder / WEIGHTS_INDEX} names {name!r}, which is not safetensors")
    return (WEIGHTS_INDEX, *names)


def _stamps(path: str, names: list[str]) -> tuple[tuple[str, int, int], ...]:
    try:
        stats = [(name, os.stat(Path(path) / name)) for name in names]
    except FileNotFoundError:
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def files_digest(path: str, names: tuple[str, ...] | None = None) -> str:
    """The SHA-256 over the names and contents of the files of a folder: those that are named, or all but the README."""
    folder = Path(path)
    digest = hashlib.sha256()
    for name in names or sorted(each.name for each in folder.iterdir() if each.is_file() and each.name != "README.md"):
        with open(folder / name, "rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()
