"""The files of a model folder, read by ourselves and found harmless before a library sees them.

Safetensors are safe; the JSON around them is what attacks come by: keys that name code, a repository or a file
elsewhere, and which libraries follow (CVE-2026-4372, CVE-2026-5241). Whatever is refused here, nothing of it was run.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Collection
from io import BufferedReader
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused

CONFIG_BYTES = 2**20
TOKENIZER_BYTES = 2**26  # a vocabulary of 250,000 tokens takes 17 MB
_DEPTH = 32
_CODE = (".py", ".pyc", ".pyd", ".so")
_ADAPTER = "adapter_config.json"
# Keys by which transformers has found code, repositories or other files to load, or will; refused at any depth.
_REFUSED_KEYS = {
    "attribute_map",  # by which any other key is one of these
    "auto_map",
    "configuration_files",
    "custom_pipelines",
    "distributed_config",
    "experts_implementation",
    "extra_files",
    "fast_tokenizer_files",
    "fusion_config",
    "gguf_file",
    "kernel_config",
    "per_layer_config",
    "quantization_config",
    "transformers_weights",
    "trust_remote_code",
    "use_kernels",
}
_REFUSED_BEGINNINGS = ("_attn_implementation", "attn_implementation", "__")
_REFUSED_END = "_internal"
_HARMLESS = "__type"  # transformers 4 wrote it into each token of a tokenizer_config.json


def read_json(path: Path, limit: int = CONFIG_BYTES, *, keys_are_ours: bool = True) -> dict[str, Any]:
    """As `parse_json`, of the bytes of a file."""
    return parse_json(read_bytes(path, limit), str(path), limit, keys_are_ours=keys_are_ours)


def read_bytes(path: Path, limit: int = CONFIG_BYTES) -> bytes:
    """The content of a file; one byte more than the limit where there is more. `ModelRefused` if it is unreadable."""
    try:
        with open_file(path) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read as JSON: {error}") from None


def read_again(path: Path, sha256: str | None) -> bytes:
    """The content of a file that was inspected: `ModelRefused` if its hash is another one now."""
    content = read_bytes(path, TOKENIZER_BYTES)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise changed(path)
    return content


def changed(path: Path) -> ModelRefused:
    return ModelRefused(f"{path} changed while it was loaded; run again when nobody writes to it")


def open_file(path: Path) -> BufferedReader:
    """A regular file, to read. Raises `ModelRefused` for another: a pipe would have us wait for ever."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ModelRefused(f"{path} is not an ordinary file")
    return file


def parse_json(text: bytes, where: str, limit: int = CONFIG_BYTES, *, keys_are_ours: bool = True) -> dict[str, Any]:
    """The JSON object of some bytes. Raises `ModelRefused` for anything else, and for keys that name what to run.

    Refused too: a key twice in one object (two readers may each take another), numbers that are not finite, and
    nesting deeper than 32. Keys that are tokens, as those of a vocabulary are, may be any: `keys_are_ours` is false.
    """
    if len(text) > limit:
        raise ModelRefused(f"{where} is not a JSON object of at most {limit >> 20} MiB")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{where} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelRefused(f"{where} is not a JSON object of at most {limit >> 20} MiB")
    _check_levels(value, where, keys_are_ours)
    return value


def check_entries(folder: Path) -> None:
    """Raise `ModelRefused` for code, for an adapter, and for a link to a file that is not the folder's own.

    A snapshot in a Hub cache is links into the `blobs` beside it. Pickles may lie there, unread.
    """
    root = folder.resolve()
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.endswith(_CODE):
            raise ModelRefused(f"{path} is code, which no model here needs; remove it, and ask who put it there")
        if name == _ADAPTER:
            raise ModelRefused(f"{path}: the folder is an adapter of another model; merge the two and save that")
        if path.is_symlink() and not any(_target(path).is_relative_to(each) for each in roots):
            raise ModelRefused(f"{path} is a link that leads out of the folder; copy the file in its place")


def _target(link: Path) -> Path:
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise ModelRefused(f"{link} is a link that leads nowhere: {error}") from None


def _check_levels(value: dict[str, Any], where: str, keys_are_ours: bool) -> None:
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        if keys_are_ours:
            for each in level:
                if isinstance(each, dict):
                    _check_keys(each, where)
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ModelRefused(f"{where} is nested deeper than {_DEPTH} levels")


def _check_keys(keys: Collection[str], where: str) -> None:
    for key in keys:
        if key == _HARMLESS:
            continue
        if key in _REFUSED_KEYS or key.startswith(_REFUSED_BEGINNINGS) or key.endswith(_REFUSED_END):
            raise ModelRefused(f"{where} has the key {key!r}, by which a model can have code run; remove it")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is in one object twice")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
