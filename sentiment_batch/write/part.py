"""The labelled rows of one shard -> one sealed Parquet file that is created once and never changes."""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.write.store import create

SEAL = b"sentiment_batch.seal"
REJECTS = "_rejects"

Seal = dict[str, Any]


def part_name(shard: int) -> str:
    return f"part-{shard:05d}.parquet"


class PartWriter:
    """Builds one part in scratch. Left by an exception it leaves nothing behind.

    A `ParquetWriter` alone would not do: left by an exception it closes the file with a valid footer and rows missing,
    so nothing that it writes may have its final name before the rows are counted and the seal is in the footer.
    """

    def __init__(self, folder: Path, scratch: Path, name: str, schema: pa.Schema):
        self.folder, self.name = folder, name
        self.rows = 0
        self.rejects: list[dict[str, Any]] = []
        self._scratch = scratch / f"{name}.{os.getpid()}"
        self._scratch_rejects = scratch / f"{name}.{os.getpid()}.rejects"
        self._writer = pq.ParquetWriter(
            self._scratch, schema, compression="zstd", compression_level=1, write_page_checksum=True
        )

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer.is_open:
            self._writer.close()
        self._scratch.unlink(missing_ok=True)
        self._scratch_rejects.unlink(missing_ok=True)

    def write(self, batch: pa.RecordBatch, rejects: list[dict[str, Any]]) -> None:
        """Add a chunk: its labelled rows as one row group, and the rows that have no place there."""
        self._writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
        self.rows += batch.num_rows
        self.rejects += rejects

    def seal(self, account: Seal) -> Seal:
        """Give the part its name, with the account in its footer. The rejects get theirs first."""
        rejects = self._create_rejects() if self.rejects else None
        seal = {**account, "rows_out": self.rows, "rejected": len(self.rejects), "rejects": rejects}
        self._writer.add_key_value_metadata({SEAL: json.dumps(seal, sort_keys=True)})
        self._writer.close()
        if create(self._scratch, self.folder / self.name):
            return seal
        there = read_seal(self.folder / self.name)  # another run of the job was first: its seal is that of the file
        if there is None or there.get("job_id") != seal.get("job_id"):
            raise FileExistsError(f"{self.folder / self.name} is there and not of this job")
        return there

    def _create_rejects(self) -> dict[str, Any]:
        """Named by its content, so that doing it again after a kill makes the same file."""
        data = "".join(json.dumps(reject, ensure_ascii=False) + "\n" for reject in self.rejects).encode()
        digest = hashlib.sha256(data).hexdigest()
        name = f"{REJECTS}/_{self.name.removesuffix('.parquet')}-{digest[:8]}.jsonl"
        (self.folder / REJECTS).mkdir(exist_ok=True)
        self._scratch_rejects.write_bytes(data)
        create(self._scratch_rejects, self.folder / name)
        return {"name": name, "bytes": len(data), "sha256": digest}


def read_seal(path: Path) -> Seal | None:
    """The seal of a part, or None if the file is no whole part."""
    try:
        metadata = pq.read_metadata(path)
        seal = json.loads((metadata.metadata or {})[SEAL])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return seal if isinstance(seal, dict) and seal.get("rows_out") == metadata.num_rows else None
