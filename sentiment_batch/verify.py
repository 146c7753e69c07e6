"""The job that holds a published output against its manifest and its inputs, row by row.

It is slow and simple, and shares no counting code with `score`: rows are counted from footers, from the rows themselves
and from the inputs as recount.py reads them, and each kept value of each row is compared with the input's.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.config import VerifyOptions
from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.measure.metrics import Clock, Metrics, document, failure
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, shard_sha256
from sentiment_batch.recount import Row, plain_values, recount
from sentiment_batch.write.claim import CONTROL
from sentiment_batch.write.commit import open_store
from sentiment_batch.write.manifest import MARKER, METRICS, SCHEMA_VERSION
from sentiment_batch.write.part import SEAL, part_name
from sentiment_batch.write.store import Store, read_json

_BLOCK_BYTES = 2**20
_SHOWN = 20
_SEALED = ("file", "range", "input_sha256", "rows_in", "rows_out", "rejected", "rejects")

log = logging.getLogger(__name__)


def verify(options: VerifyOptions) -> Metrics:
    """Recount the output and return how many rows of each kind it has.

    Raises `InputError` if it is not published or if anything is wrong with it; its `metrics` list every finding.
    """
    clock = Clock()
    store = open_store(options.output)
    manifest = _manifest(store)
    findings = _wrong_files(store, manifest)
    counts: Counter[str] = Counter()
    if not findings:  # what is not the file that was published needs no further look
        inputs = None if options.skip_inputs else _inputs(manifest, options.input)
        findings = list(islice(_wrong_rows(store, manifest, inputs, counts), 1000))
    rows = {name: counts[name] for name in ("in", "out", "rejected", "empty", "null", "nonfinite")}
    if findings:
        for finding in findings[:_SHOWN]:
            log.error("%s", finding)
        count = f"{len(findings)} findings, first: " if len(findings) > 1 else ""
        error = InputError(f"{store.url} is not as it was published: {count}{findings[0]}")
        error.metrics = {**failure("verify", clock, error.exit_code, str(error)), "findings": findings}
        raise error
    return document("verify", clock, rows=rows, findings=[], inputs_checked=not options.skip_inputs)


def _manifest(store: Store) -> dict[str, Any]:
    found = read_json(store, MARKER)
    if found is None:
        raise InputError(f"{store.url} has no {MARKER}: it is not published; run the job again to finish it")
    try:
        if found["schema_version"] != SCHEMA_VERSION:
            raise InputError(f"{store.url}/{MARKER} is of schema version {found['schema_version']}, not known here")
        names = [part["name"] for part in found["parts"]]
        found["rows"]["rows_in"], found["identity"]["options"], found["metrics"]["name"], found["inputs"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{store.url}/{MARKER} is not a manifest: {error!r}") from None
    if names != [part_name(number) for number in range(len(names))]:
        raise InputError(f"{store.url}/{MARKER} does not number its parts from 0: it was not made by `score`")
    return dict(found)


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
    digest = hashlib.sha256()
    with store.open(name) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _inputs(manifest: dict[str, Any], moved: tuple[str, ...]) -> Inputs:
    """The inputs of the job, opened where they lie now. Raises `InputError` for one that is not there or another."""
    paths = moved or tuple(file["path"] for file in manifest["inputs"])
    if len(paths) != len(manifest["inputs"]):
        raise UsageError(f"--input is given for {len(paths)} files, the output has {len(manifest['inputs'])}")
    options, known = manifest["identity"]["options"], manifest["identity"]["inputs"]
    try:
        found = open_inputs(paths, known[0]["format"], tuple(options["columns"]), (options["text_column"],))
    except InputError as error:
        raise InputError(f"{error}; say where the inputs lie with --input, or --skip-inputs") from None
    for file, wanted in zip(found.files, known, strict=True):
        if {**file.identity(), "name": ""} != {**wanted, "name": ""}:
            raise InputError(f"{file.path} is not the file that was labelled: it was written again; see --skip-inputs")
    return found


def _wrong_rows(store: Store, manifest: dict[str, Any], inputs: Inputs | None, counts: Counter[str]) -> Iterator[str]:
    """What is wrong with the rows of the parts, shard by shard in their order; `counts` are filled on the way."""
    options = manifest["identity"]["options"]
    limit = options["limit_rows"]
    file, row, rows = -1, 0, iter(())  # type: tuple[int, int, Iterator[Row]]
    for part in manifest["parts"]:
        shard = Shard(*part["range"])
        if part["file"] != file:
            if inputs and file >= 0:
                yield from _left_over(rows, inputs, file, row)
            if part["file"] < file or part["file"] >= len(manifest["inputs"]):
                yield f"{part['name']} is of the input {part['file']}, which is out of order"
                return
            file, row = part["file"], 0
            rows = _input_rows(inputs, file, manifest) if inputs else iter(())
        if shard.first_row != row:
            yield f"{part['name']} begins at row {shard.first_row} of its input, the part before it ends at {row}"
        if inputs and shard_sha256(inputs, PlannedShard(0, file, shard)) != part["input_sha256"]:
            yield f"{inputs.files[file].path}: the bytes that {part['name']} was made from have changed"
        yield from _wrong_part(store, manifest, part, islice(rows, shard.rows) if inputs else None, counts)
        row += shard.rows
    if inputs and file >= 0 and not (limit and counts["in"] == limit):
        yield from _left_over(rows, inputs, file, row)
        for missed in range(file + 1, len(inputs.files)):
            yield from _left_over(_input_rows(inputs, missed, manifest), inputs, missed, 0)
    metrics = read_json(store, METRICS)["rows"]
    for name, counted in (("rows_in", counts["in"]), ("rows_out", counts["out"]), ("rejected", counts["rejected"])):
        for where, told in ((MARKER, manifest["rows"][name]), (METRICS, metrics[name.removeprefix("rows_")])):
            if told != counted:
                yield f"{where} says {told} {name}, {counted} were counted"


def _input_rows(inputs: Inputs, file: int, manifest: dict[str, Any]) -> Iterator[Row]:
    options = manifest["identity"]["options"]
    kept = _kept(inputs, options["keep_columns"])
    path, format = inputs.files[file].path, inputs.files[file].format
    return recount(path, format, tuple(options["columns"]), kept, options["text_column"])


def _kept(inputs: Inputs, keep_columns: list[str]) -> list[str]:
    if keep_columns == ["none"]:
        return []
    return [name for name in inputs.schema.names if keep_columns == ["all"] or name in keep_columns]


def _left_over(rows: Iterator[Row], inputs: Inputs, file: int, seen: int) -> Iterator[str]:
    if left := sum(1 for _ in rows):
        yield f"{inputs.files[file].path}: {left} rows from row {seen} on are in no part"


def _wrong_part(
    store: Store, manifest: dict[str, Any], part: dict[str, Any], rows: Iterator[Row] | None, counts: Counter[str]
) -> Iterator[str]:
    name, shard = part["name"], Shard(*part["range"])
    rejected, faults = _rejected(store, part, shard)
    yield from faults
    how = {"arrow_extensions_enabled": False}
    with store.open(name) as raw, pq.ParquetFile(pa.PythonFile(raw, mode="r"), **how) as parquet:
        seal = json.loads(parquet.metadata.metadata[SEAL])
        for key in _SEALED:
            if seal[key] != part[key]:
                yield f"{name}: its seal has {key} = {seal[key]}, {MARKER} has {part[key]}"
        if (seal["job_id"], seal["shard"]) != (manifest["job_id"], int(Path(name).stem.partition("-")[2])):
            yield f"{name}: its seal is of another job or shard"
        if not parquet.metadata.num_rows + len(rejected) == shard.rows == part["rows_in"]:
            yield (
                f"{name}: {parquet.metadata.num_rows} rows and {len(rejected)} rejects of a shard of {shard.rows}, "
                f"{part['rows_in']} are listed"
            )
        row, out = shard.first_row, 0
        for number in range(parquet.num_row_groups):
            group = parquet.read_row_group(number)
            yield from _wrong_labels(name, group, manifest["identity"]["options"]["prefix"], out, counts)
            if rows is not None:
                fault, row = _difference(group, rows, rejected, row, out)
                yield from (f"{name}, {each}" for each in fault)
            out += len(group)
    if rows is not None:
        for number, values in enumerate(rows, row):
            if values is not None or number not in rejected:
                yield f"{name}: row {number} of the input is neither in it nor among its rejects"
    counts.update({"in": shard.rows, "out": out, "rejected": len(rejected)})


def _rejected(store: Store, part: dict[str, Any], shard: Shard) -> tuple[set[int], list[str]]:
    """The rows that the rejects file of a part names, and what is wrong with it."""
    if not part["rejects"]:
        return set(), []
    lines = (store.read(part["rejects"]["name"]) or b"").splitlines()
    rows = [json.loads(line)["row"] for line in lines]
    known = set(rows)
    faults = [] if len(known) == len(rows) == part["rejected"] else ["names a row twice or not as many as listed"]
    if not known <= set(range(shard.first_row, shard.first_row + shard.rows)):
        faults.append("names rows that are not of its shard")
    return known, [f"{part['rejects']['name']} {fault}" for fault in faults]


def _difference(group: pa.Table, rows: Iterator[Row], rejected: set[int], row: int, out: int) -> tuple[list[str], int]:
    """What differs between a row group and the next rows of the input, and the row of the input behind them.

    `row` is the number of the next row of the input, `out` that of the group's first row in the part.
    """
    expected: list[list[Any]] = []
    while len(expected) < len(group):
        following = list(islice(rows, 1))
        if not following:
            return [f"row {out + len(expected)}: the input ends at row {row}"], row
        [values] = following
        if (values is None) != (row in rejected):
            what = "cannot be read, but is not" if values is None else "can be read, but is"
            return [f"row {out + len(expected)}: row {row} of the input {what} among the rejects"], row
        row += 1
        if values is not None:
            expected.append(values)
    for position in range(len(expected[0]) if expected else 0):
        found = plain_values(group.column(position))
        for number, values in enumerate(expected):
            if found[number] != values[position]:
                column = group.schema.names[position]
                return [f"row {out + number}: the column {column!r} is not that of the input's row"], row
    return [], row


def _wrong_labels(name: str, group: pa.Table, prefix: str, first: int, counts: Counter[str]) -> Iterator[str]:
    """Rows whose added columns contradict each other."""
    status = group.column(f"{prefix}status").to_pylist()
    for kind in status:
        counts[kind.removesuffix("_text").removesuffix("_score")] += 1
    start = group.schema.names.index(f"{prefix}confidence") + 1
    stop = group.schema.names.index(f"{prefix}n_tokens")
    probabilities = np.array(
        [group.column(position).to_numpy() for position in range(start, stop)], dtype=np.float64
    ).T.reshape(len(group), stop - start)
    confidence = group.column(start - 1).to_numpy().astype(np.float64)
    labels = [each.removeprefix(f"{prefix}prob_") for each in group.schema.names[start:stop]]
    for number, label in enumerate(group.column(f"{prefix}predicted_label").to_pylist()):
        if (status[number] == "ok") != (label is not None):
            yield f"{name}, row {first + number}: the status is {status[number]} and the label {label!r}"
        elif label is not None:
            row = probabilities[number]
            if label not in labels or row[labels.index(label)] != row.max() or confidence[number] != row.max():
                yield f"{name}, row {first + number}: the label {label!r} is not that of the highest probability"
            elif not abs(row.sum() - 1) < 1e-5:
                yield f"{name}, row {first + number}: the probabilities sum to {row.sum():.6f}"
