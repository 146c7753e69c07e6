"""A model folder on the disk -> what must be known of it before a tensor is read."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused

# One row for each kind of encoder that is known to work: how many positions its padding id takes from the table
# (RoBERTa numbers positions from padding_idx + 1, so 514 positions hold 512 tokens).
MODEL_TYPES = {
    "albert": 0,
    "bert": 0,
    "camembert": 1,
    "deberta-v2": 0,
    "distilbert": 0,
    "electra": 0,
    "modernbert": 0,
    "roberta": 1,
    "xlm-roberta": 1,
}
CONFIG, WEIGHTS, WEIGHTS_INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG, TRAINING = "tokenizer.json", "tokenizer_config.json", "training.json"
_CONFIG_BYTES = 2**20


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

    def check_unchanged(self) -> None:
        """Raise `ModelRefused` if a file is not the one that the digest is of."""
        if _stamps(self.path, [name for name, _, _ in self.stamps]) != self.stamps:
            raise ModelRefused(f"{self.path} changed while it was loaded; run again when nobody writes to it")


def read_model_folder(path: str) -> ModelFolder:
    """Raises `ModelRefused` for a folder that is not whole, not safetensors, or whose parts contradict each other."""
    folder = Path(path)
    if not folder.is_dir():
        raise ModelRefused(f"no model folder at {path}; make one with: sentiment-batch train --output {path} ...")
    for name in (CONFIG, TOKENIZER):
        if not (folder / name).is_file():
            raise ModelRefused(f"{path} has no {name}; is it a folder that `sentiment-batch train` wrote?")
    weights = weight_files(folder)
    stamps = _stamps(path, [CONFIG, TOKENIZER, *weights])
    config = read_config(folder / CONFIG)
    training = read_config(folder / TRAINING) if (folder / TRAINING).is_file() else {}
    limit = position_limit(config, path)
    return ModelFolder(
        path=path,
        model_type=model_type(config, path),
        labels=_labels(config, path),
        max_length=min(limit, _number({"max_length": limit, **training}, "max_length", path)),
        vocab_size=_number(config, "vocab_size", path),
        pad_token_id=_pad_token_id(config, path),
        base_model=training.get("base_model"),
        digest=files_digest(path, (CONFIG, TOKENIZER, *weights)),
        stamps=stamps,
    )


def weight_files(folder: Path) -> tuple[str, ...]:
    """The names of the weight files. Pickled weights are never read: they can run code."""
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (folder / WEIGHTS_INDEX).is_file():
        pickled = sorted(file.name for file in folder.glob("*.bin"))
        instead = f" ({pickled[0]} is a pickle, which is not read)" if pickled else ""
        raise ModelRefused(f"{folder} has no {WEIGHTS}{instead}; save the model as safetensors")
    weight_map = read_config(folder / WEIGHTS_INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelRefused(f"{folder / WEIGHTS_INDEX} names no weight files")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if os.path.basename(name) != name or not (folder / name).is_file():
            raise ModelRefused(f"{folder / WEIGHTS_INDEX} names {name!r}, which is not a file of the folder")
        if not name.endswith(".safetensors"):
            raise ModelRefused(f"{folder / WEIGHTS_INDEX} names {name!r}, which is not safetensors")
    return (WEIGHTS_INDEX, *names)


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object of at most 1 MiB. Raises `ModelRefused` for anything else."""
    try:
        with open(path, "rb") as file:
            text = file.read(_CONFIG_BYTES + 1)
        config = json.loads(text) if len(text) <= _CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelRefused(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(config, dict):
        raise ModelRefused(f"{path} is not a JSON object of at most 1 MiB")
    return config


def model_type(config: dict[str, Any], where: str) -> str:
    found = config.get("model_type")
    if not isinstance(found, str) or found not in MODEL_TYPES:
        raise ModelRefused(f"{where} is a model of type {found!r}; known: {', '.join(MODEL_TYPES)}")
    return str(found)


def position_limit(config: dict[str, Any], where: str) -> int:
    """The longest input in tokens. Never the tokenizer's `model_max_length`, which may be unset or 1e30."""
    positions = _number(config, "max_position_embeddings", where)
    if MODEL_TYPES[model_type(config, where)]:
        positions -= _pad_token_id(config, where) + 1
    return positions


def _pad_token_id(config: dict[str, Any], where: str) -> int:
    value = config.get("pad_token_id")
    if value is None:
        return MODEL_TYPES[model_type(config, where)]
    if not isinstance(value, int) or not 0 <= value < _number(config, "vocab_size", where):
        raise ModelRefused(f"{where}: {CONFIG} has pad_token_id = {value!r}, which is not in its vocabulary")
    return value


def _number(config: dict[str, Any], key: str, where: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelRefused(f"{where}: {CONFIG} has {key} = {value!r}, not a positive whole number")
    return value


def _labels(config: dict[str, Any], where: str) -> tuple[str, ...]:
    names = config.get("id2label")
    if not isinstance(names, dict) or sorted(names, key=str) != sorted(map(str, range(len(names))), key=str):
        raise ModelRefused(f"{where}: id2label in {CONFIG} does not number its labels from 0; train again or mend it")
    labels = tuple(names[str(number)] for number in range(len(names)))
    if len(labels) < 2 or not all(isinstance(label, str) and label for label in labels):
        raise ModelRefused(f"{where}: id2label in {CONFIG} must name at least two labels")
    if len(set(labels)) < len(labels):
        raise ModelRefused(f"{where}: id2label in {CONFIG} names a label twice")
    if config.get("label2id", dict(zip(labels, range(len(labels)), strict=True))) != {
        label: number for number, label in enumerate(labels)
    }:
        raise ModelRefused(f"{where}: label2id and id2label in {CONFIG} contradict each other")
    return labels


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
