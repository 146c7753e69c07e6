"""The manifest of a published output: every file that belongs to it, and the rows that each accounts for."""

import hashlib
import re
from pathlib import Path
from typing import Any

from sentiment_batch.errors import OutputConflict
from sentiment_batch.write.claim import CONTROL, JOB_ID
from sentiment_batch.write.part import REJECTS, Part
from sentiment_batch.write.store import Store, create_json, json_bytes, read_json

MARKER, METRICS = "_SUCCESS", "_metrics.json"
SCHEMA_VERSION = 1
OWN_SHA256 = "manifest_sha256"
_ZEROS = "0" * 64
_ROWS = ("rows_in", "rows_out", "rejected")
_OURS = re.compile(rf"part-\d{{5,}}\.parquet|{REJECTS}/_part-\d{{5,}}-[0-9a-f]{{8}}\.jsonl")


def missing(store: Store, parts: list[Part]) -> set[str]:
    """The parts that are not there whole, rejects included, though they were sealed: somebody took them away.

    What an earlier attempt left is removed. Raises `OutputConflict` for a file that is none of ours.
    """
    sizes = store.sizes()
    for name in sizes.keys() - {file["name"] for part in parts for file in _files(part)}:
        if _OURS.fullmatch(name):
            store.delete(name)
        elif name not in (*CONTROL, MARKER, METRICS):
            raise OutputConflict(f"{store.url}/{name} is not a file of this job; move it and run again")
    return {part.name for part in parts if any(sizes.get(file["name"]) != file["bytes"] for file in _files(part))}


def write_manifest(
    store: Store, scratch: Path, head: dict[str, Any], parts: list[Part], inputs: list[dict[str, str]]
) -> None:
    """Create `_SUCCESS` for the parts, in the order of the shards, with its own hash. The metrics are there already.

    `head` says who made it: made_by, job_id, identity. Raises `OutputConflict` if another job's manifest is there.
    """
    listed = [
        {
            **part.listed(),
            **{name: part.seal[name] for name in ("file", "range", "input_sha256", *_ROWS, "rejects")},
        }
        for part in parts
    ]
    metrics = store.read(METRICS) or b""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        **head,
        "inputs": inputs,
        "rows": {name: sum(part[name] for part in listed) for name in _ROWS},
        "parts": listed,
        "metrics": {"name": METRICS, "bytes": len(metrics), "sha256": hashlib.sha256(metrics).hexdigest()},
    }
    if not create_json(store, scratch, MARKER, _signed(manifest)):
        there = read_json(store, MARKER)
        if not isinstance(there, dict) or there.get(JOB_ID) != head[JOB_ID]:
            raise OutputConflict(f"{store.url} was published by another job")


def _signed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its own hash: the SHA-256 of its bytes with zeros in the place of the hash."""
    unsigned = {**manifest, OWN_SHA256: _ZEROS}
    return {**unsigned, OWN_SHA256: hashlib.sha256(json_bytes(unsigned)).hexdigest()}


def is_whole(manifest: dict[str, Any], data: bytes) -> bool:
    """Whether the manifest, as it was read from these bytes, has their hash: no bit of them is another."""
    own = manifest.get(OWN_SHA256)
    if not isinstance(own, str) or not re.fullmatch("[0-9a-f]{64}", own):
        return False
    return hashlib.sha256(data.replace(own.encode(), _ZEROS.encode())).hexdigest() == own


def _files(part: Part) -> list[dict[str, Any]]:
    """What must be there for a part: the file itself and its rejects, with their bytes."""
    own = {"name": part.name, "bytes": part.bytes}
    return [own, part.seal["rejects"]] if part.seal["rejects"] else [own]
