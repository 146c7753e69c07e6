"""The manifest of a published output: every file that belongs to it, and the rows that each accounts for."""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from sentiment_batch.errors import OutputConflict
from sentiment_batch.write.claim import CONTROL
from sentiment_batch.write.part import REJECTS, Part, turn_in_name
from sentiment_batch.write.store import Store, json_bytes

MARKER, METRICS, REPORT = "_SUCCESS", "_metrics.json", "_report.html"
SCHEMA_VERSION = 1
OWN_SHA256 = "manifest_sha256"
_ZEROS = "0" * 64
_ROWS = ("rows_in", "rows_out", "rejected")
_SHARDS = rf"part-\d{{5,}}(-\d+)?\.parquet|{REJECTS}/_part-\d{{5,}}(-\d+)?-[0-9a-f]{{8}}\.jsonl"
MADE = rf"{_SHARDS}|{re.escape(METRICS)}|{re.escape(REPORT)}"  # the names of what a job makes before its manifest


def missing(store: Store, parts: list[Part], check_held: Callable[[], None]) -> set[str]:
    """The parts that are not there whole, rejects included, though they were sealed: somebody took them away.

    What an earlier attempt or another job left is removed; no run of this turn makes a file of such a name, so none can
    lose one by it. Raises `OutputConflict` for a file that is none of ours, and what `check_held` raises.
    """
    sizes = store.sizes()
    check_held()  # behind the listing: what it shows is of no turn to come
    for name in sizes.keys() - {file["name"] for part in parts for file in part.files()}:
        if re.fullmatch(_SHARDS, name):
            store.delete(name)
        elif name not in (*CONTROL, MARKER, METRICS, REPORT):
            raise OutputConflict(f"{store.url}/{name} is not a file of this job; move it and run again")
    return {part.name for part in parts if any(sizes.get(file["name"]) != file["bytes"] for file in part.files())}


def remove_earlier(store: Store, names: Iterable[str], turn: int) -> list[str]:
    """Delete those that are of an earlier turn than the output's, whose runs were killed behind them; give the others.

    No turn comes again, so nobody makes a file of such a name any more.
    """
    others = []
    for name in names:
        if re.fullmatch(_SHARDS, name) and turn_in_name(name) < turn:
            store.delete(name)
        else:
            others.append(name)
    return others


def manifest(store: Store, head: dict[str, Any], parts: list[Part], inputs: list[dict[str, str]]) -> dict[str, Any]:
    """What `_SUCCESS` says, with its own hash: the parts, in the order of the shards, the metrics, which are there, and
    the report, if it is.

    `head` says who made it: made_by, job_id, identity.
    """
    listed = [
        {
            **part.listed(),
            **{name: part.seal[name] for name in ("file", "range", "input_sha256", *_ROWS, "rejects")},
        }
        for part in parts
    ]
    unsigned = {
        "schema_version": SCHEMA_VERSION,
        **head,
        "inputs": inputs,
        "rows": {name: sum(part[name] for part in listed) for name in _ROWS},
        "parts": listed,
        "metrics": _file(METRICS, store.read(METRICS) or b""),
        "report": None if (report := store.read(REPORT)) is None else _file(REPORT, report),
        OWN_SHA256: _ZEROS,
    }
    return {**unsigned, OWN_SHA256: hashlib.sha256(json_bytes(unsigned)).hexdigest()}


def _file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def is_whole(manifest: dict[str, Any], data: bytes) -> bool:
    """Whether the manifest, as it was read from these bytes, has their hash: no bit of them is another."""
    own = manifest.get(OWN_SHA256)
    if not isinstance(own, str) or not re.fullmatch("[0-9a-f]{64}", own):
        return False
    return hashlib.sha256(data.replace(own.encode(), _ZEROS.encode())).hexdigest() == own
