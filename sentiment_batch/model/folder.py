"""A model folder on the disk -> what must be known of it before a tensor is read."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.configuration import labels_of, model_type, pad_token_id, position_limit, positive_number
from sentiment_batch.model.header import Tensor, read_header
from sentiment_batch.model.inspection import (
    CONFIG_BYTES,
    TOKENIZER_BYTES,
    check_entries,
    open_file,
    parse_json,
    read_bytes,
    read_json,
)
from sentiment_batch.model.settings import settings_of
from sentiment_batch.model.tokenizer_file import check_tokenizer, unknown_id
from sentiment_batch.model.vocabulary import MERGES, WORDS, check_lines, check_tokenizer_config, check_words
from sentiment_batch.remote import is_url

CONFIG, WEIGHTS, WEIGHTS_INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG, TRAINING = "tokenizer.json", "tokenizer_config.json", "training.json"
CARD = "README.md"
SAVED = (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG, CARD)  # what a training saves of a model
SPECIAL_TOKENS, ADDED_TOKENS, VOCABULARY = "special_tokens_map.json", "added_tokens.json", "vocab.json"

_PAGES = ("README.md", "report.html")  # what is in them is for people
_NAME = 4_096  # characters, as a path may have
_TEMPERATURES = (0.01, 100)  # what `train` finds is well between them


@dataclass(frozen=True)
class Inspected:
    """What was read of a folder, by us, before a library sees any of it."""

    folder: Path
    config: dict[str, Any]  # the settings that are known, and the labels
    weights: tuple[str, ...]  # the names of the files, the index among them
    tensors: dict[str, Tensor]  # of all of them, by name
    hashes: dict[str, str]  # SHA-256 of each file that was read, by name: what is loaded later must be the same
    unknown_id: int | None  # of the token for what the vocabulary does not know


@dataclass(frozen=True)
class ModelFolder:
    """A folder that can label: its labels by name, in the order of the logits."""

    path: str
    model_type: str
    labels: tuple[str, ...]
    max_length: int  # tokens, special ones included
    vocab_size: int
    pad_token_id: int
    unknown_id: int | None  # of the token for what the vocabulary does not know
    base_model: str | None
    temperature: float | None  # that its logits are divided by, if calibrated probabilities are asked for
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
    if is_url(path):
        raise ModelRefused(f"{path}: a model is read from a local folder; copy it there first")
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
        unknown_id=inspected.unknown_id,
        base_model=_base_model(training, path),
        temperature=_temperature(training, path),
        digest=_digest({name: inspected.hashes[name] for name in (CONFIG, TOKENIZER, *weights)}),
        stamps=stamps,
        inspected=inspected,
    )


def _base_model(training: dict[str, Any], path: str) -> str | None:
    """What the model was made from by its own account, which is repeated in metrics and manifests."""
    name = training.get("base_model")
    if name is not None and not (isinstance(name, str) and len(name) <= _NAME and name.isprintable()):
        raise ModelRefused(f"{path}: {TRAINING} has base_model = {name!a:.80}, which is not a plain name")
    return name


def _temperature(training: dict[str, Any], path: str) -> float | None:
    found, (lowest, highest) = training.get("temperature"), _TEMPERATURES
    if found is None:
        return None
    if type(found) not in (int, float) or not lowest <= found <= highest:
        raise ModelRefused(
            f"{path}: {TRAINING} has temperature = {found!a:.80}, which is not a number from {lowest} to {highest}"
        )
    return float(found)


def inspect_folder(folder: Path) -> Inspected:
    """What both a model that labels and a base model must be. Raises `ModelRefused`; reads no tensor.

    The names and links of the folder, every JSON file that a library would read, what the tokenizer is made of, and
    the headers of the weights.
    """
    check_entries(folder)
    hashes: dict[str, str] = {}
    config = settings_of(_json(folder, CONFIG, hashes), str(folder))
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        if (folder / name).is_file():
            check_tokenizer_config(_json(folder, name, hashes), str(folder / name))
    _check_vocabularies(folder, config, hashes)
    unknown = None
    if (folder / TOKENIZER).is_file():
        tokenizer = _json(folder, TOKENIZER, hashes)
        check_tokenizer(tokenizer, str(folder / TOKENIZER))
        unknown = unknown_id(tokenizer)
    weights = _weight_files(folder, hashes)
    return Inspected(folder, config, weights, _tensors(folder, weights, hashes), hashes, unknown)


def _json(folder: Path, name: str, hashes: dict[str, str]) -> dict[str, Any]:
    """The object in a JSON file of the folder; its hash is noted."""
    tokens = name in (TOKENIZER, ADDED_TOKENS, VOCABULARY)  # their keys are tokens
    limit = TOKENIZER_BYTES if tokens else CONFIG_BYTES
    content = read_bytes(folder / name, limit)
    hashes[name] = hashlib.sha256(content).hexdigest()
    return parse_json(content, str(folder / name), limit, keys_are_ours=not tokens)


def _check_vocabularies(folder: Path, config: dict[str, Any], hashes: dict[str, str]) -> None:
    most = positive_number({"vocab_size": TOKENIZER_BYTES, **config}, "vocab_size", str(folder))
    for name in (ADDED_TOKENS, VOCABULARY):
        if (folder / name).is_file():
            check_words(_json(folder, name, hashes), most, str(folder / name))
    for name in (WORDS, MERGES):
        if (folder / name).is_file():
            content = read_bytes(folder / name, TOKENIZER_BYTES)
            hashes[name] = hashlib.sha256(content).hexdigest()
            check_lines(content, most, str(folder / name))


def _tensors(folder: Path, weights: tuple[str, ...], hashes: dict[str, str]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in weights:
        if name == WEIGHTS_INDEX:
            continue
        with open_file(folder / name) as file:
            found = read_header(file, folder / name)
            file.seek(0)
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        if twice := sorted(tensors.keys() & found):
            raise ModelRefused(f"{folder / name} has the tensor {twice[0]!r}, which another weight file has too")
        tensors |= found
    return tensors


def _weight_files(folder: Path, hashes: dict[str, str]) -> tuple[str, ...]:
    """The names of the weight files. Pickled weights are never read: they can run code."""
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (folder / WEIGHTS_INDEX).is_file():
        pickled = sorted(file.name for file in folder.glob("*.bin"))
        instead = f" ({pickled[0]} is a pickle, which is not read)" if pickled else ""
        raise ModelRefused(f"{folder} has no {WEIGHTS}{instead}; save the model as safetensors")
    weight_map = _json(folder, WEIGHTS_INDEX, hashes).get("weight_map")
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
    """The SHA-256 over the names and contents of the files of a folder: those that are named, or all but its pages."""
    folder = Path(path)
    hashes = {}
    for name in names or sorted(each.name for each in folder.iterdir() if each.is_file() and each.name not in _PAGES):
        with open(folder / name, "rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digest(hashes)


def _digest(hashes: dict[str, str]) -> str:
    return hashlib.sha256(os.fsencode("".join(f"{name}\0{each}\0" for name, each in hashes.items()))).hexdigest()
