"""The job that holds a published output against its manifest and its inputs, row by row.

It is slow and simple, and shares no counting code with `score`: rows are counted from footers, from the rows themselves
and from the inputs as recount.py reads them, and each kept value of each row is compared with the input's. What it
cannot tell without the model is whether a label is the one that the model gives.
"""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from stat import S_ISREG
from typing import Any, cast

from sentiment_batch.config import VerifyOptions
from sentiment_batch.errors import InputError
from sentiment_batch.input_findings import (
    changed_inputs,
    input_rows,
    kept_schema,
    labelled_inputs,
    left_over,
    wrong_ranges,
)
from sentiment_batch.logs import one_line
from sentiment_batch.measure.metrics import Clock, Metrics, document, failure
from sentiment_batch.part_findings import ROWS, wrong_counts, wrong_part
from sentiment_batch.published import check_is_output, is_of_an_earlier_turn, read_manifest
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.plan import Inputs
from sentiment_batch.row_findings import Counts, Expected
from sentiment_batch.shapes import METRICS_SHAPE, misfits
from sentiment_batch.write.claim import CONTROL
from sentiment_batch.write.commit import open_store
from sentiment_batch.write.manifest import MARKER, METRICS
from sentiment_batch.write.store import Folder, Store, read_json

_SHOWN = 20
_LISTED = 1000
_KINDS = ("in", "out", "rejected", "scored", "empty", "null", "nonfinite", "truncated")
_COMPUTE = ("engine", "device", "dtype", "batch_tokens")

# What helps against the findings of each look. `score` makes nothing again of an output that it finds published.
_LINK = "put the file itself in its place, or take it away if it is none of the output's"
_DAMAGED = (
    "remove all of the output and run its job again to make it anew; while it is there, `score` makes nothing again, "
    'and says "done already" if the sizes are right'
)
_STRAY = "the output's own files are as they were published: take away what is named here, and nothing else"
_CHANGED = "the output's own files are as they were published: give the input as it was with --input, or --skip-inputs"

log = logging.getLogger(__name__)


def verify(options: VerifyOptions) -> Metrics:
    """Recount the output and return how many rows of each kind it has.

    Raises `InputError` if it is not published or if anything is wrong with it: the first look that finds something is
    the last. Its `metrics` list every finding of that look, up to a thousand of them.
    """
    clock, counts, store = Clock(), Counts(), open_store(options.output)

    def end_if(found: Iterable[str], what_helps: str) -> None:
        if findings := list(islice(found, _LISTED)):
            raise _refusal(store, clock, findings, what_helps)

    check_is_output(store)
    end_if(_no_files(store), _LINK)
    manifest = read_manifest(store)
    end_if(_wrong_files(store, manifest), _DAMAGED)
    end_if(_strays(store, manifest), _STRAY)
    inputs = None if options.skip_inputs else labelled_inputs(manifest, options.input)
    end_if(wrong_ranges(manifest, inputs), _DAMAGED)
    end_if(changed_inputs(manifest, inputs) if inputs else (), _CHANGED)
    end_if(_wrong_output(store, manifest, inputs, counts), _DAMAGED)
    end_if(_wrong_totals(store, manifest, counts), _DAMAGED)
    rows = _rows(counts)
    recounted = {
        "parts": len(manifest["parts"]),
        "rejects_files": sum(1 for part in manifest["parts"] if part["rejects"]),
        "bytes": sum(file["bytes"] for file in _listed(manifest).values()),
        "inputs": len(inputs.files) if inputs else 0,
    }
    kept = {name: rows[name] for name in ("in", "out", "rejected", "empty", "null", "nonfinite")}
    return document("verify", clock, rows=kept, recounted=recounted, findings=[], inputs_checked=inputs is not None)


def summary(metrics: Metrics, output: str | None) -> str:
    """What was recounted, in a few lines for a person."""
    rows, recounted = metrics["rows"], metrics["recounted"]
    files = f"{recounted['parts']:,} parts, {recounted['rejects_files']:,} files of rejects"
    inputs = f"{recounted['inputs']:,} read again, row by row"
    lines = {
        "verified": f"{output} is as it was published",
        "recounted": f"{files}, {recounted['bytes']:,} bytes",
        "rows": f"{rows['in']:,} in = {rows['out']:,} out + {rows['rejected']:,} rejected",
        "inputs": inputs if metrics["inputs_checked"] else "not looked at: the output alone was recounted",
    }
    return "\n".join(f"{name:<10}{one_line(text)}" for name, text in lines.items())


def _refusal(store: Store, clock: Clock, findings: list[str], what_helps: str) -> InputError:
    for finding in findings[:_SHOWN]:
        log.error("%s", finding)
    count = f"{len(findings)} findings, first: " if len(findings) > 1 else ""
    error = InputError(f"{store.url} is not as it was published: {count}{findings[0]}; {what_helps}")
    error.metrics = {**failure("verify", clock, error.exit_code, str(error)), "findings": findings}
    return error


def _no_files(store: Store) -> Iterator[str]:
    """What is in a folder and is neither a file nor a folder."""
    for path in _paths(store):
        if os.path.islink(path) or not (os.path.isdir(path) or S_ISREG(os.lstat(path).st_mode)):
            yield f"{os.path.relpath(path, store.url)} is a link, or no file at all"


def _paths(store: Store) -> list[str]:
    """Every file and folder of an output that is a folder."""
    walked = os.walk(store.path) if isinstance(store, Folder) else ()
    return sorted(os.path.join(place, name) for place, folders, files in walked for name in [*folders, *files])


def _listed(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every file of the manifest by its name."""
    files = [manifest["metrics"], *manifest["parts"], *(part["rejects"] for part in manifest["parts"])]
    return {file["name"]: file for file in files if file}


def _wrong_files(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """Files of the manifest that are missing or changed."""
    sizes = store.sizes()
    for name, file in _listed(manifest).items():
        if name not in sizes:
            yield f"{name} is listed, but not there"
        elif sizes[name] != file["bytes"]:
            yield f"{name} has {sizes[name]} bytes, {file['bytes']} are listed"
        elif (found := _sha256(store, name)) != file["sha256"]:
            yield f"{name} has the SHA-256 {found}, {file['sha256']} is listed"


def _strays(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """What is there beside the files of the manifest: a reader of the whole folder would take it for the output's."""
    for name in sorted(store.sizes().keys() - _listed(manifest).keys() - {MARKER, *CONTROL}):
        if is_of_an_earlier_turn(name, manifest["job_id"]):
            yield f"{name} was left by an earlier job; the next run of `score` removes it"
        else:
            yield f"{name} is there, but not listed"
    for path in filter(os.path.isdir, _paths(store)):
        name = os.path.relpath(path, store.url)
        if os.path.basename(name).startswith(".") and name not in CONTROL:
            yield f"{name} is a hidden folder, which is not of the output"


def _sha256(store: Store, name: str) -> str:
    with store.open(name) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def _wrong_output(store: Store, manifest: dict[str, Any], inputs: Inputs | None, counts: Counts) -> Iterator[str]:
    """What is wrong with the parts, input by input; `counts` are filled on the way."""
    metrics = read_json(store, METRICS)
    if fault := next(misfits(metrics, METRICS_SHAPE), None):
        yield f"{METRICS}: {fault}"
        return
    options, model = manifest["identity"]["options"], metrics["model"]
    compute = {name: model.get(name) for name in _COMPUTE}
    expected = Expected(manifest["job_id"], options["prefix"], model["labels"], options["max_length"], compute)
    expected.kept = kept_schema(inputs, options["keep_columns"]) if inputs else None
    parts = {file: list(group) for file, group in groupby(manifest["parts"], lambda part: int(part["file"]))}
    total = sum(Shard(*part["range"]).rows for part in manifest["parts"])
    ends_early = max(parts) if total == options["limit_rows"] else len(manifest["inputs"])
    for file, wanted in enumerate(manifest["identity"]["inputs"]):
        rows = input_rows(inputs, file, expected.kept, options) if inputs else None
        for part in parts.get(file, ()):
            of_part = islice(rows, Shard(*part["range"]).rows) if rows else None
            yield from wrong_part(store, part, expected, wanted["name"], of_part, counts)
            deque(of_part or (), maxlen=0)  # wherever the look at the part ended
        if inputs and rows and file < ends_early:
            yield from left_over(inputs, file, rows, parts.get(file, []))


def _rows(counts: Counts) -> dict[str, int]:
    """The counts under the names that the metrics have."""
    return {name: counts.rows[f"rows_{name}" if name in ("in", "out") else name] for name in _KINDS}


def _wrong_totals(store: Store, manifest: dict[str, Any], counts: Counts) -> Iterator[str]:
    """What manifest and metrics say that is not the sum of what was counted of the parts."""
    metrics = read_json(store, METRICS)
    yield from wrong_counts(MARKER, manifest["rows"], counts.rows, ROWS)
    yield from wrong_counts(METRICS, metrics["rows"], _rows(counts), _KINDS)
    yield from wrong_counts(METRICS, metrics["predictions"]["counts"], counts.predicted, metrics["model"]["labels"])
