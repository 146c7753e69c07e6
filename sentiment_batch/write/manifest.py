"""The manifest of a published output: every file that belongs to it, and the rows that each accounts for."""

import hashlib
from pathlib import Path
from typing import Any

from sentiment_batch.write.part import Seal, part_name
from sentiment_batch.write.store import write_json

MARKER, METRICS = "_SUCCESS", "_metrics.json"
SCHEMA_VERSION = 1
_ROWS = ("rows_in", "rows_out", "rejected")


def write_manifest(folder: Path, made_by: str, job_id: str, identity: dict[str, Any], seals: list[Seal]) -> None:
    """Write `_SUCCESS` for the parts with these seals, in the order of the shards. The metrics are there already."""
    parts = [
        {
            **_listed(folder / part_name(number)),
            "file": seal["file"],
            "range": seal["range"],
            "input_sha256": seal["input_sha256"],
            **{name: seal[name] for name in _ROWS},
            "rejects": seal["rejects"],
        }
        for number, seal in enumerate(seals)
    ]
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "made_by": made_by,
        "job_id": job_id,
        "identity": identity,
        "rows": {name: sum(part[name] for part in parts) for name in _ROWS},
        "parts": parts,
        "metrics": _listed(folder / METRICS),
    }
    write_json(folder / MARKER, manifest)


def _listed(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}
