"""What was published, read back with nothing taken on trust: the manifest, the metrics, a part's seal, its rejects.

`misfits` holds JSON against a shape: a dict of shapes by key, a list of one shape for each element, or a function that
says whether a value will do. Keys beside those of the shape are nobody's business here.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.logs import shown
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.inputs import FORMATS
from sentiment_batch.remote import is_url, split_url
from sentiment_batch.write.claim import CLAIM, JOB_ID, is_claim, job_id, turn_of
from sentiment_batch.write.manifest import MARKER, METRICS, SCHEMA_VERSION, is_whole
from sentiment_batch.write.part import part_name, rejects_name
from sentiment_batch.write.store import Store, read_json

Shape = dict[str, Any] | list[Any] | Callable[[Any], bool]

_LARGEST = 2**53  # a place in a file or a number of rows beyond it is none
_RANGE_NUMBERS = 4


def misfits(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """What the value lacks of the shape, or has otherwise."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where or 'it'} is no object"
            return
        for key, inner in shape.items():
            if key in value:
                yield from misfits(value[key], inner, f"{where}.{key}" if where else key)
            else:
                yield f"{where or 'it'} has no {key}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for number, each in enumerate(value):
            yield from misfits(each, shape[0], f"{where}[{number}]")
    elif not shape(value):
        yield f"{where} is {shown(repr(value))}"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_tally(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _RANGE_NUMBERS and all(map(_is_count, value))


def _is_format(value: Any) -> bool:
    return value in FORMATS.values()


def _is_path(value: Any) -> bool:
    if not _is_text(value) or "\0" in value:
        return False
    try:
        return not is_url(value) or bool(split_url(value))
    except UsageError:
        return False


def _may_be_null(shape: Shape) -> Shape:
    return lambda value: value is None or not any(misfits(value, shape))


_FILE: dict[str, Shape] = {"name": _is_text, "bytes": _is_count, "sha256": _is_text}
_ROWS = dict.fromkeys(("rows_in", "rows_out", "rejected"), _is_count)
_SHARD = {"file": _is_count, "range": _is_range, "input_sha256": _is_text, "rejects": _may_be_null(_FILE), **_ROWS}
_OPTIONS: dict[str, Shape] = {
    **dict.fromkeys(("text_column", "prefix"), _is_text),
    **dict.fromkeys(("columns", "keep_columns"), _are_names),
    "max_length": _is_count,
    "limit_rows": _may_be_null(_is_count),
}
_MANIFEST: Shape = {
    "job_id": _is_text,
    "identity": {"inputs": [{"name": _is_text, "format": _is_format, "size": _is_count}], "options": _OPTIONS},
    "inputs": [{"path": _is_path}],
    "rows": _ROWS,
    "parts": [{**_FILE, **_SHARD}],
    "metrics": _FILE,
}
_KINDS = ("scored", "empty", "null", "nonfinite", "truncated")
METRICS_SHAPE: Shape = {
    "model": {"labels": lambda value: bool(value) and _are_names(value)},
    "rows": dict.fromkeys(("in", "out", "rejected", *_KINDS), _is_count),
    "predictions": {"counts": _is_tally},
}
SEAL_SHAPE: Shape = {
    **_SHARD,
    "job_id": _is_text,
    "shard": _is_count,
    "counts": {
        **_ROWS,
        **dict.fromkeys((*_KINDS, "tokens", "confidence_millionths"), _is_count),
        "predicted": _is_tally,
    },
}
_REJECT: Shape = {"file": _is_text, "row": _is_count, "reason": _is_text, "detail": _is_text, "sha256": _is_text}


def read_manifest(store: Store) -> dict[str, Any]:
    """The manifest of the output. Raises `InputError` if there is none, or one that was not written by `score`.

    Also if another job has the claim: it is about to replace what the manifest tells of.
    """
    try:
        data = store.read(MARKER)
    except IsADirectoryError:
        data = None
    if data is None:
        raise InputError(f"{store.url} has no {MARKER}: it is not published; {_how_to_publish(store)}")
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        manifest = None
    where, again = f"{store.url}/{MARKER}", "remove the output and run its job again"
    if not isinstance(manifest, dict):
        raise InputError(f"{where} is damaged: it is no JSON object; {again}")
    if not is_whole(manifest, data):
        raise InputError(f"{where} is damaged: its bytes are not those of its own hash; {again}")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        version = shown(repr(manifest.get("schema_version")))
        raise InputError(f"{where} is of the schema version {version}; this program knows {SCHEMA_VERSION} alone")
    fault = next(misfits(manifest, _MANIFEST), None) or next(_contradictions(manifest), None)
    if fault:
        raise InputError(f"{where} is not one that `score` writes: {fault}; {again}")
    claimed = read_json(store, CLAIM)
    if is_claim(claimed) and claimed[JOB_ID] != manifest["job_id"]:
        raise InputError(f"{where} is of another job than {CLAIM}, which replaces it: run that one again to finish it")
    return manifest


def _how_to_publish(store: Store) -> str:
    """What helps: a job goes on with its own work, which has its claim, and with nothing else that it finds there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if (sizes := store.sizes()) and CLAIM not in sizes:
            return "remove what is there, or move it away, and run the job again"
    return "run the job again to finish it"


def _contradictions(manifest: dict[str, Any]) -> Iterator[str]:
    """What no manifest says, though its shape is right."""
    inputs, parts = manifest["identity"]["inputs"], manifest["parts"]
    if turn_of(manifest)[0] != job_id(manifest["identity"]):
        yield "job_id is not that of its identity"
    if not inputs or not parts:
        yield "there is no input or no part"
    names = [os.path.basename(file["path"]) for file in manifest["inputs"]]
    if names != [file["name"] for file in inputs]:
        yield "inputs are not those of its identity"
    if len({file["format"] for file in inputs}) > 1:
        yield "inputs are of several formats"
    if manifest["metrics"]["name"] != METRICS:
        yield f"metrics.name is {shown(manifest['metrics']['name'])}"
    for number, part in enumerate(parts):
        if part["name"] != part_name(number, turn_of(manifest)[1]):
            yield f"parts[{number}].name is {shown(part['name'])}, which does not number its parts from 0"
        rejects = part["rejects"]
        if rejects and rejects["name"] != rejects_name(part["name"], rejects["sha256"]):
            yield f"parts[{number}].rejects.name is {shown(rejects['name'])}"
        if part["file"] >= len(inputs):
            yield f"parts[{number}].file is {part['file']}, of {len(inputs)} inputs"
    for number, (before, after) in enumerate(pairwise(part["file"] for part in parts), 1):
        if after < before:
            yield f"parts[{number}].file is {after}, behind the input {before}"


def read_rejects(store: Store, part: dict[str, Any], input_name: str) -> tuple[set[int], list[str]]:
    """The rows that the rejects file of a part names, and what is wrong with it."""
    if not part["rejects"]:
        return set(), [f"{part['name']} has no rejects, {part['rejected']} are listed"] if part["rejected"] else []
    name, shard = part["rejects"]["name"], Shard(*part["range"])
    rows: list[int] = []
    for number, line in enumerate((store.read(name) or b"").splitlines()):
        try:
            reject = json.loads(line)
        except (ValueError, RecursionError):
            return set(rows), [f"{name}, line {number}: is no JSON"]
        if fault := next(misfits(reject, _REJECT), None):
            return set(rows), [f"{name}, line {number}: {fault}"]
        if os.path.basename(reject["file"]) != input_name:
            return set(rows), [f"{name}, line {number}: is of another input than {part['name']}"]
        rows.append(reject["row"])
    faults = []
    if rows != sorted(set(rows)):
        faults.append(f"{name} names rows twice or out of order")
    if len(rows) != part["rejected"]:
        faults.append(f"{name} has {len(rows)} rows, {part['rejected']} are listed")
    if any(not 0 <= row - shard.first_row < shard.rows for row in rows):
        faults.append(f"{name} names rows that are not of its shard")
    return set(rows), faults
