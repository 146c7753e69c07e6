"""A finished output of `score` or `evaluate`: what made it, of which inputs, and its rows once more, in order."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.errors import InputError, is_passing
from sentiment_batch.logs import shown
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.published import read_manifest, read_rejects
from sentiment_batch.read.chunk import Shard
from sentiment_batch.remote import is_url
from sentiment_batch.shapes import EVALUATION_SHAPE, METRICS_SHAPE, misfits
from sentiment_batch.write.commit import open_store
from sentiment_batch.write.manifest import MARKER, METRICS
from sentiment_batch.write.part import Part, read_part
from sentiment_batch.write.store import Store, parsed, read_json

EVALUATION, PREDICTIONS = "metrics.json", "predictions.parquet"
_ROWS_AT_ONCE = 32_768


@dataclass(frozen=True)
class Finished:
    """An output that was published whole."""

    path: str
    store: Store
    command: str
    sha256: str  # of its marker: what was made again is another output
    job_id: str
    identity: dict[str, Any]
    metrics: Metrics
    parts: tuple[dict[str, Any], ...]  # name, rows_in, rejected and, of `score`, all else that the manifest has of it

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.metrics["model"]["labels"])

    @property
    def prefix(self) -> str:
        return str(self.identity["options"]["prefix"])

    @property
    def text_column(self) -> str:
        return str(self.identity["options"]["text_column"])

    def rows(self) -> dict[str, int]:
        """How many rows it was made from, and how many of them were rejected."""
        return {name: sum(part[name] for part in self.parts) for name in ("rows_in", "rejected")}

    def input_sha256(self) -> Any:
        """Of an evaluation the hashes of what it read; None for labels, whose parts have theirs one by one."""
        if self.command != "evaluate":
            return None
        part = read_part(self.store, PREDICTIONS)
        return part.seal.get("input_sha256") if part else None

    def schema(self) -> pa.Schema:
        """The columns of its rows."""
        with self._opened(self.parts[0]) as file:
            return file.schema_arrow

    def added(self) -> list[str]:
        """The columns that say what the model says of a row."""
        return [f"{self.prefix}{name}" for name in result_names(self.labels)]

    def batches(self, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """The numbers of rows in the data, from 0 over all inputs with their rejects, and these columns of them.

        A row group at a time at most. Raises `InputError` for a part that is not as it was published.
        """
        first = 0
        for part in self.parts:
            gaps, done = self._gaps(part), 0
            with self._opened(part) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                    yield row_numbers(first, done, batch.num_rows, gaps), batch
                    done += batch.num_rows
            if done + len(gaps) != part["rows_in"]:
                raise InputError(f"{self.path}/{part['name']} has {done} rows; {_again(self)}")
            first += part["rows_in"]

    def section(self) -> Metrics:
        """What the metrics JSON says of it."""
        model = self.metrics["model"]
        names = ("digest", "base_model", "labels", "max_length", "engine", "device", "dtype")
        found = {"path": self.path, "kind": "output", "command": self.command, "job_id": self.job_id}
        return {**found, **{name: model.get(name) for name in names}}

    def _gaps(self, part: dict[str, Any]) -> np.ndarray:
        """int64: which rows of the part's shard were rejected, from 0, in order."""
        if not part["rejected"]:
            return np.zeros(0, np.int64)
        name = self.identity["inputs"][part["file"]]["name"]
        rejected, faults = read_rejects(self.store, part, name)
        if faults:
            raise InputError(f"{self.path}: {faults[0]}; {_again(self)}")
        return np.array(sorted(rejected), np.int64) - Shard(*part["range"]).first_row

    @contextmanager
    def _opened(self, part: dict[str, Any]) -> Iterator[pq.ParquetFile]:
        name = part["name"]
        whole = read_part(self.store, name)
        if whole is None or not _is_listed(whole, part, self.job_id):
            raise InputError(f"{self.path}/{name} is missing, or not as it was published; {_again(self)}")
        how: dict[str, Any] = {"page_checksum_verification": True, "arrow_extensions_enabled": False}
        try:
            with self.store.open(name) as raw, pq.ParquetFile(pa.PythonFile(raw, mode="r"), **how) as file:
                for added, kind in zip(self.added(), result_types(self.labels), strict=True):
                    if added not in file.schema_arrow.names or file.schema_arrow.field(added).type != kind:
                        raise InputError(f"{self.path}/{name} has no column {shown(added)!r} of {kind}; {_again(self)}")
                yield file
        except (pa.ArrowException, OSError, ValueError) as error:
            if is_passing(error):
                raise
            raise InputError(f"{self.path}/{name} cannot be read; {_again(self)}") from error


def result_names(labels: tuple[str, ...]) -> list[str]:
    """The columns without their prefix that hold a row's label and how sure the model is of it."""
    return ["predicted_label", "confidence", *(f"prob_{label}" for label in labels)]


def result_types(labels: tuple[str, ...]) -> list[pa.DataType]:
    """Of the same columns."""
    return [pa.string(), *[pa.float32()] * (1 + len(labels))]


def row_numbers(first: int, start: int, rows: int, gaps: np.ndarray) -> np.ndarray:
    """int64 [rows]: the numbers of kept rows, the first of which is the one behind `start` others.

    `gaps` are the places of those that were not kept, in order, from the row with the number `first` on.
    """
    places = np.arange(start, start + rows, dtype=np.int64)
    numbers: np.ndarray = first + places + np.searchsorted(gaps - np.arange(len(gaps)), places, side="right")
    return numbers


def open_finished(path: str) -> Finished | None:
    """The output, or None if it is none: no folder, or one with the files of something else.

    Raises `InputError` for one that is damaged.
    """
    if not is_url(path) and not os.path.isdir(path):
        return None
    store = open_store(path)
    if store.version(MARKER) is not None:
        return _scored(path, store)
    data = store.read(EVALUATION)
    metrics = parsed(data)
    if data is None or not isinstance(metrics, dict) or metrics.get("command") != "evaluate":
        return None
    if fault := next(misfits(metrics, EVALUATION_SHAPE), None):
        raise InputError(f"{path}/{EVALUATION} is not one that `evaluate` writes: {fault}; evaluate again")
    return evaluated(path, store, metrics, hashlib.sha256(data).hexdigest())


def evaluated(path: str, store: Store, metrics: Metrics, sha256: str = "") -> Finished:
    """An evaluation of these metrics, whose predictions are there already."""
    part = {"name": PREDICTIONS, "rows_in": metrics["rows"]["in"], "rejected": 0}
    return Finished(path, store, "evaluate", sha256, metrics["job_id"], metrics["identity"], metrics, (part,))


def _scored(path: str, store: Store) -> Finished:
    manifest, metrics = read_manifest(store), read_json(store, METRICS)
    if fault := next(misfits(metrics, METRICS_SHAPE), None):
        raise InputError(f"{path}/{METRICS} is not one that `score` writes: {fault}; see sentiment-batch verify")
    own = manifest["manifest_sha256"]
    return Finished(
        path, store, "score", own, manifest["job_id"], manifest["identity"], metrics, tuple(manifest["parts"])
    )


def _is_listed(whole: Part, part: dict[str, Any], job_id: str) -> bool:
    return whole.seal.get("job_id") == job_id and part.get("bytes", whole.bytes) == whole.bytes


def _again(output: Finished) -> str:
    return "see sentiment-batch verify" if output.command == "score" else "remove the evaluation and make it again"
