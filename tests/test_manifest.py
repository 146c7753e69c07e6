"""write/manifest.py: what `_SUCCESS` says of every file is true."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sentiment_batch.write.manifest import MARKER, METRICS, write_manifest
from sentiment_batch.write.part import PartWriter, part_name
from sentiment_batch.write.store import write_json

IDENTITY = {"command": "score", "options": {"prefix": "", "label_column": None}}
SCHEMA = pa.schema([("id", pa.int64())])
REJECT = {"file": "a.tsv", "row": 9, "reason": "fields"}


def make_parts(folder: Path) -> list[dict[str, Any]]:
    """Three parts: three rows, none but two rejects, one row and a reject."""
    seals = []
    for shard, (ids, rejects) in enumerate([([7, 3, 5], []), ([], [REJECT, REJECT]), ([1], [REJECT])]):
        with PartWriter(folder, folder, part_name(shard), SCHEMA) as part:
            part.write(pa.record_batch([pa.array(ids, pa.int64())], schema=SCHEMA), rejects)
            account = {
                "job_id": "abc",
                "shard": shard,
                "file": shard // 2,
                "range": [10 * shard, 10, len(ids) + len(rejects)],
                "input_sha256": f"{shard:064x}",
                "rows_in": len(ids) + len(rejects),
                "counts": {},
            }
            seals.append(part.seal(account))
    return seals


def actual(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_the_manifest_lists_files_and_rows_that_are_true(tmp_path: Path) -> None:
    seals = make_parts(tmp_path)
    write_json(tmp_path / METRICS, {"rows": 7})
    write_manifest(tmp_path, "sentiment-batch 9.9", "abc", IDENTITY, seals)
    manifest = json.loads((tmp_path / MARKER).read_text())
    assert manifest["schema_version"] == 1
    assert manifest["made_by"] == "sentiment-batch 9.9"
    assert manifest["job_id"] == "abc"
    assert manifest["identity"] == IDENTITY
    assert manifest["rows"] == {"rows_in": 7, "rows_out": 4, "rejected": 3}
    assert manifest["metrics"] == actual(tmp_path / METRICS)
    assert len(manifest["parts"]) == 3
    for number, (part, seal) in enumerate(zip(manifest["parts"], seals, strict=True)):
        assert part.items() >= actual(tmp_path / f"part-0000{number}.parquet").items()
        for name in ("file", "range", "input_sha256", "rows_in", "rows_out", "rejected", "rejects"):
            assert part[name] == seal[name]
    assert [part["rejects"] is None for part in manifest["parts"]] == [True, False, False]


def test_every_visible_file_is_in_the_manifest(tmp_path: Path) -> None:
    seals = make_parts(tmp_path)
    write_json(tmp_path / METRICS, {})
    write_manifest(tmp_path, "", "abc", IDENTITY, seals)
    manifest = json.loads((tmp_path / MARKER).read_text())
    listed = {MARKER, manifest["metrics"]["name"], *(part["name"] for part in manifest["parts"])}
    listed |= {part["rejects"]["name"] for part in manifest["parts"] if part["rejects"]}
    assert listed == {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("missing", [METRICS, part_name(1)])
def test_no_manifest_without_the_files_that_it_lists(tmp_path: Path, missing: str) -> None:
    seals = make_parts(tmp_path)
    write_json(tmp_path / METRICS, {})
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError):
        write_manifest(tmp_path, "", "abc", IDENTITY, seals)
    assert not (tmp_path / MARKER).exists()


def test_a_job_without_shards_has_a_manifest(tmp_path: Path) -> None:
    write_json(tmp_path / METRICS, {})
    write_manifest(tmp_path, "", "abc", IDENTITY, [])
    manifest = json.loads((tmp_path / MARKER).read_text())
    assert manifest["parts"] == []
    assert manifest["rows"] == {"rows_in": 0, "rows_out": 0, "rejected": 0}
