"""The job that holds a published output against its manifest and its inputs, row by row.

It is slow and simple, and shares no counting code with `score`: rows are counted from footers, from the rows themselves
and from the inputs as recount.py reads them, and each kept value of each row is compared with the input's. What it
cannot tell without the model is whether a label is the one that the model gives.
"""

import hashlib
import logging
import os
import zlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from stat import S_ISREG
from typing import Any, cast

import pyarrow as pa

from sentiment_batch.config import VerifyOptions
from sentiment_batch.errors import InputError, UsageError, is_passing
from sentiment_batch.measure.metrics import Clock, Metrics, document, failure
from sentiment_batch.part_findings import ROWS, Counts, Expected, wrong_counts, wrong_part
from sentiment_batch.published import METRICS_SHAPE, misfits, read_manifest
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, shard_sha256
from sentiment_batch.recount import Row, recount
from sentiment_batch.write.claim import CONTROL
from sentiment_batch.write.commit import open_store
from sentiment_batch.write.manifest import MARKER, METRICS
from sentiment_batch.write.store import Folder, Store, read_json

_SHOWN = 20
_LISTED = 1000
_LARGEST = 2**53
_KINDS = ("in", "out", "rejected", "scored", "empty", "null", "nonfinite", "truncated")

log = logging.getLogger(__name__)


def verify(options: VerifyOptions) -> Metrics:
    """Recount the output and return how many rows of each kind it has.

    Raises `InputError` if it is not published or if anything is wrong with it; its `metrics` list every finding, up to
    a thousand of the rows.
    """
    clock = Clock()
    store = open_store(options.output)
    findings = _no_files(store)
    counts = Counts()
    if not findings:
        manifest = read_manifest(store)
        findings = _wrong_files(store, manifest)
    if not findings:  # what is not the file that was published needs no further look
        inputs = None if options.skip_inputs else _inputs(manifest, options.input)
        findings = list(islice(_wrong_output(store, manifest, inputs, counts), _LISTED))
        findings = findings or list(_wrong_totals(store, manifest, counts))
    if findings:
        for finding in findings[:_SHOWN]:
            log.error("%s", finding)
        count = f"{len(findings)} findings, first: " if len(findings) > 1 else ""
        error = InputError(f"{store.url} is not as it was published: {count}{findings[0]}")
        error.metrics = {**failure("verify", clock, error.exit_code, str(error)), "findings": findings}
        raise error
    rows = _rows(counts)
    kept = {name: rows[name] for name in ("in", "out", "rejected", "empty", "null", "nonfinite")}
    return document("verify", clock, rows=kept, findings=[], inputs_checked=not options.skip_inputs)


def _no_files(store: Store) -> list[str]:
    """What is in a folder and is neither a file nor a folder that a reader would look into."""
    found = []
    for place, folders, files in os.walk(store.path) if isinstance(store, Folder) else ():
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            shown = os.path.relpath(path, store.url)
            if os.path.islink(path) or (name in files and not S_ISREG(os.lstat(path).st_mode)):
                found.append(f"{shown} is a link, or no file at all")
            elif name in folders and name.startswith(".") and shown not in CONTROL:
                found.append(f"{shown} is a hidden folder, which is not of the output")
    return sorted(found)


def _wrong_files(store: Store, manifest: dict[str, Any]) -> list[str]:
    """Files that are missing, changed, or there without being listed."""
    listed = [manifest["metrics"], *manifest["parts"], *(part["rejects"] for part in manifest["parts"])]
    expected = {file["name"]: file for file in listed if file}
    sizes, findings = store.sizes(), []
    for name, file in expected.items():
        if name not in sizes:
            findings.append(f"{name} is listed, but not there")
        elif sizes[name] != file["bytes"]:
            findings.append(f"{name} has {sizes[name]} bytes, {file['bytes']} are listed")
        elif (found := _sha256(store, name)) != file["sha256"]:
            findings.append(f"{name} has the SHA-256 {found}, {file['sha256']} is listed")
    strays = sizes.keys() - expected.keys() - {MARKER, *CONTROL}
    return findings + [f"{name} is there, but not listed" for name in sorted(strays)]


def _sha256(store: Store, name: str) -> str:
    with store.open(name) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def _inputs(manifest: dict[str, Any], moved: tuple[str, ...]) -> Inputs:
    """The inputs of the job, opened where they lie now. Raises `InputError` for one that is not there or another."""
    options, known = manifest["identity"]["options"], manifest["identity"]["inputs"]
    paths = moved or tuple(file["path"] for file in manifest["inputs"])
    try:
        found = open_inputs(paths, known[0]["format"], tuple(options["columns"]), (options["text_column"],))
    except InputError as error:
        raise InputError(f"{error}; say where the inputs lie with --input, or --skip-inputs") from None
    if len(found.files) != len(known):
        raise (UsageError if moved else InputError)(
            f"{len(found.files)} files are there as inputs, the output was made of {len(known)}: "
            "give --input once for each, in their order, or --skip-inputs"
        )
    for file, wanted in zip(found.files, known, strict=True):
        if {**file.identity(), "name": ""} != {**wanted, "name": ""}:
            raise InputError(
                f"{file.path} is not the file that was labelled: it was written again, or is another; "
                "say where the inputs lie with --input, or --skip-inputs"
            )
    return found


def _wrong_output(store: Store, manifest: dict[str, Any], inputs: Inputs | None, counts: Counts) -> Iterator[str]:
    """What is wrong with the parts, input by input; `counts` are filled on the way."""
    metrics = read_json(store, METRICS)
    if fault := next(misfits(metrics, METRICS_SHAPE), None):
        yield f"{METRICS}: {fault}"
        return
    options, known = manifest["identity"]["options"], manifest["identity"]["inputs"]
    labels, limit = metrics["model"]["labels"], options["limit_rows"]
    total = sum(Shard(*part["range"]).rows for part in manifest["parts"])
    if limit is not None and total > limit:
        yield f"the parts are of {total} rows, --limit-rows was {limit}"
    expected = Expected(manifest["job_id"], options["prefix"], labels, options["max_length"])
    expected.kept = _kept(inputs, options["keep_columns"]) if inputs else None
    for file, wanted in enumerate(known):
        rows = _input_rows(inputs, file, expected.kept, options) if inputs else None
        row = stop = 0
        for part in (part for part in manifest["parts"] if part["file"] == file):
            shard = Shard(*part["range"])
            if shard.first_row != row:
                yield f"{part['name']} begins at row {shard.first_row} of its input, the part before it ends at {row}"
            if inputs and (fault := _wrong_bytes(inputs, part, stop)):
                yield fault
                rows = None  # what was read then is not there any more
            of_part = islice(rows, shard.rows) if rows else None
            yield from wrong_part(store, part, expected, wanted["name"], of_part, counts)
            deque(of_part or (), maxlen=0)  # wherever the look at the part ended
            row, stop = row + shard.rows, shard.stop
        if inputs and rows and (limit is None or total < limit):
            yield from _left_over(inputs, file, rows, row, stop)


def _wrong_bytes(inputs: Inputs, part: dict[str, Any], stop: int) -> str | None:
    """What is wrong with the range that the part was made from; `stop` is where that of the part before it ends."""
    file, shard = inputs.files[part["file"]], Shard(*part["range"])
    if not shard.rows:
        follows = part["range"] == [0, 0, 0, 0]  # the one part of an input without rows
    elif file.format == "parquet":
        follows = shard.start == shard.first_row and shard.stop - shard.start == shard.rows
    else:
        follows = shard.start == (stop or inputs.headers[part["file"]][1])
        follows = follows and shard.start <= shard.stop <= (_LARGEST if file.compression else file.size + 1)
    if not follows:
        return f"{part['name']}: its range {part['range']} is not what follows the part before it in {file.path}"
    if shard_sha256(inputs, PlannedShard(0, part["file"], shard)) != part["input_sha256"]:
        return f"{file.path}: the bytes that {part['name']} was made from have changed"
    return None


def _left_over(inputs: Inputs, number: int, rows: Iterator[Row], row: int, stop: int) -> Iterator[str]:
    """The rows and bytes of a file that are in no part, though none may be left."""
    file = inputs.files[number]
    if left := sum(1 for _ in rows):
        yield f"{file.path}: {left} rows from row {row} on are in no part"
    elif row and file.format != "parquet" and not file.compression and stop < file.size:
        yield f"{file.path}: the bytes from {stop} on are in the range of no part"


def _input_rows(inputs: Inputs, file: int, kept: pa.Schema | None, options: dict[str, Any]) -> Iterator[Row]:
    """The rows of an input, each with its text behind the kept columns. Raises `InputError` where it is damaged."""
    path, format, text = inputs.files[file].path, inputs.files[file].format, options["text_column"]
    columns = [*(kept.names if kept is not None else ()), text]
    try:
        yield from recount(path, format, tuple(options["columns"]), columns, text)
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        if is_passing(error):
            raise
        raise InputError(f"{path} cannot be read to its end: {error}; see --skip-inputs") from None


def _kept(inputs: Inputs, keep_columns: list[str]) -> pa.Schema:
    if keep_columns == ["none"]:
        return pa.schema([])
    return pa.schema([field for field in inputs.schema if keep_columns == ["all"] or field.name in keep_columns])


def _rows(counts: Counts) -> dict[str, int]:
    """The counts under the names that the metrics have."""
    return {name: counts.rows[f"rows_{name}" if name in ("in", "out") else name] for name in _KINDS}


def _wrong_totals(store: Store, manifest: dict[str, Any], counts: Counts) -> Iterator[str]:
    """What manifest and metrics say that is not the sum of what was counted of the parts."""
    metrics = read_json(store, METRICS)
    yield from wrong_counts(MARKER, manifest["rows"], counts.rows, ROWS)
    yield from wrong_counts(METRICS, metrics["rows"], _rows(counts), _KINDS)
    yield from wrong_counts(METRICS, metrics["predictions"]["counts"], counts.predicted, metrics["model"]["labels"])
