"""The labelled rows of one shard -> one sealed Parquet file that is created once and never changes.

The seal is the part's own account, in its footer. It holds the SHA-256 of all that lies before the footer, and that of
the footer (with zeros in its own place), so that a part that was damaged on the disk is told from a whole one.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.errors import is_passing
from sentiment_batch.write.scratch import ScratchFile, write_scratch
from sentiment_batch.write.settle import settle
from sentiment_batch.write.store import Store

SEAL = b"sentiment_batch.seal"
REJECTS = "_rejects"
_TAIL_BYTES = 64 * 1024
_BLOCK_BYTES = 2**20
_END_BYTES = 8  # of a Parquet file: the footer's length and the magic word
_UNSIGNED = b'"footer_sha256": "' + b"0" * 64 + b'"'

Seal = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part that is there: its file and its seal. `sha256` is that of the file, None if nobody has read it yet."""

    name: str
    bytes: int
    seal: Seal
    sha256: str | None = None

    def listed(self) -> dict[str, Any]:
        """The file, for the manifest."""
        assert self.sha256, f"{self.name} was not read"
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}

    def files(self) -> list[dict[str, Any]]:
        """What must be there for the part: the file itself and its rejects, each with its name and bytes."""
        own = {"name": self.name, "bytes": self.bytes}
        return [own, self.seal["rejects"]] if self.seal["rejects"] else [own]


def part_name(shard: int, turn: int = 0) -> str:
    """Each turn of an output that changed hands in place (in_place.py) has names of its own."""
    return f"part-{shard:05d}{f'-{turn}' if turn else ''}.parquet"


def rejects_name(part: str, sha256: str) -> str:
    return f"{REJECTS}/_{part.removesuffix('.parquet')}-{sha256[:8]}.jsonl"


def turn_in_name(name: str) -> int:
    """The turn of a part or of rejects, by their name."""
    found = re.match(rf"(?:{REJECTS}/_)?part-\d+-(\d+)(?:-[0-9a-f]{{8}}\.jsonl|\.parquet)", name)
    return int(found[1]) if found else 0


class PartWriter:
    """Builds one part in scratch. Left by an exception it leaves nothing behind.

    A `ParquetWriter` alone would not do: left by an exception it closes the file with a valid footer and rows missing,
    so nothing that it writes may have its final name before the rows are counted and the seal is in the footer.
    """

    def __init__(self, store: Store, scratch: Path, name: str, schema: pa.Schema):
        self.store, self.name = store, name
        self.rows = 0
        self.rejects: list[dict[str, Any]] = []
        self.made: list[str] = []  # the files that are this run's
        self._scratch_rejects = scratch / f"{name}.rejects"
        self._file = ScratchFile(scratch / name)
        others = {key: value for key, value in (schema.metadata or {}).items() if key != SEAL}  # an input may be a part
        self._writer = pq.ParquetWriter(
            self._file, schema.with_metadata(others), compression="zstd", compression_level=1, write_page_checksum=True
        )

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.discard()  # a sealed one has its name by now, or is not needed
        self._scratch_rejects.unlink(missing_ok=True)
        self._writer.close()
        self._file.close()

    @property
    def data_bytes(self) -> int:
        """What the rows take that were written so far."""
        return self._file.bytes

    def write(self, batch: pa.RecordBatch, rejects: list[dict[str, Any]]) -> None:
        """Add a chunk: its labelled rows as one row group, and the rows that have no place there."""
        rows = pa.Table.from_batches([batch]).replace_schema_metadata(self._writer.schema.metadata)
        self._writer.write_table(rows, row_group_size=max(1, batch.num_rows))
        self.rows += batch.num_rows
        self.rejects += rejects

    def seal(self, account: Seal, check_held: Callable[[], None]) -> Part:
        """Give the part its name, with the account in its footer. The rejects get theirs first.

        If another run of the job was first, the part is that run's. What is there and is damaged or of another job is
        replaced, unless `check_held` raises `OutputConflict`.
        """
        rejects = self._settle_rejects(check_held) if self.rejects else None
        data = {"data_bytes": self._file.bytes, "data_sha256": self._file.sha256.hexdigest()}
        seal = {**account, "rows_out": self.rows, "rejected": len(self.rejects), "rejects": rejects, **data}
        self._writer.add_key_value_metadata({SEAL: json.dumps({**seal, "footer_sha256": "0" * 64}, sort_keys=True)})
        self._file.hold()
        self._writer.close()
        footer = self._file.held()
        seal["footer_sha256"] = hashlib.sha256(footer).hexdigest()
        self._file.write(footer.replace(_UNSIGNED, _signed(seal["footer_sha256"])))
        self._file.close()
        there = settle(self.store, self.name, self._file.path, lambda: self._whole(account["job_id"]), check_held)
        self.made.append(self.name)
        return there or Part(self.name, self._file.bytes, seal, self._file.sha256.hexdigest())

    def _whole(self, job_id: str) -> Part | None:
        """The part that is there, if it is this job's and undamaged."""
        there = read_part(self.store, self.name)
        return hashed(self.store, there) if there and there.seal.get("job_id") == job_id else None

    def _settle_rejects(self, check_held: Callable[[], None]) -> dict[str, Any]:
        """Named by its content, so that doing it again after a kill makes the same file."""
        data = "".join(json.dumps(reject, ensure_ascii=False) + "\n" for reject in self.rejects)
        encoded = data.encode(errors="backslashreplace")
        digest = hashlib.sha256(encoded).hexdigest()
        name = rejects_name(self.name, digest)
        write_scratch(self._scratch_rejects, encoded)
        if not settle(
            self.store, name, self._scratch_rejects, lambda: self.store.read(name) == encoded or None, check_held
        ):
            self.made.append(name)  # one that was there may be of another job, if somebody emptied the output
        return {"name": name, "bytes": len(encoded), "sha256": digest}


def read_part(store: Store, name: str) -> Part | None:
    """The part of that name as its footer tells it, or None if it is no whole part or there is none.

    Raises what the disk or the memory has to say: a part that cannot be read just now is no damaged one.
    """
    try:
        with store.open(name) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
            footer = int.from_bytes(tail[-_END_BYTES:-4], "little") + _END_BYTES
            if footer > len(tail):
                file.seek(max(0, size - footer))
                tail = file.read()
        metadata = pq.read_metadata(pa.BufferReader(tail))
        seal = json.loads((metadata.metadata or {})[SEAL])
        unsigned = tail[-footer:].replace(_signed(seal["footer_sha256"]), _UNSIGNED)
        true = hashlib.sha256(unsigned).hexdigest() == seal["footer_sha256"]
        true = true and seal["data_bytes"] == size - footer and seal["rows_out"] == metadata.num_rows
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, RecursionError) as error:
        if is_passing(error):
            raise
        return None
    return Part(name, size, seal) if true else None


def _signed(sha256: str) -> bytes:
    return f'"footer_sha256": "{sha256}"'.encode()


def hashed(store: Store, part: Part) -> Part | None:
    """The part with the SHA-256 of its file; None if its data is not what the seal says, or it is gone."""
    digest, left = hashlib.sha256(), part.seal["data_bytes"]
    try:
        opened = store.open(part.name)
    except FileNotFoundError:  # another job took the output over since the part was found
        return None
    with opened as file:
        while left and (block := file.read(min(_BLOCK_BYTES, left))):
            digest.update(block)
            left -= len(block)
        data = digest.hexdigest()
        digest.update(file.read())
    return replace(part, sha256=digest.hexdigest()) if data == part.seal["data_sha256"] else None
