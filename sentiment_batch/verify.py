"""The job that holds a published output against its manifest and its inputs, row by row.

It is slow and simple, and shares no counting code with `score`: rows are counted from footers, from the rows themselves
and from the inputs as recount.py reads them, and each kept value of each row is compared with the input's. What it
cannot tell without the model is whether a label is the one that the model gives.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

from sentiment_batch.config import VerifyOptions
from sentiment_batch.errors import InputError
from sentiment_batch.file_findings import listed_files, no_files, strays, wrong_files
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
from sentiment_batch.measure.words import some
from sentiment_batch.part_findings import ROWS, wrong_counts, wrong_histograms, wrong_part
from sentiment_batch.published import check_is_output, read_manifest
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.plan import Inputs
from sentiment_batch.row_findings import Counts, Expected
from sentiment_batch.shapes import METRICS_SHAPE, misfits
from sentiment_batch.write.commit import open_store
from sentiment_batch.write.manifest import MARKER, METRICS
from sentiment_batch.write.store import Store, read_json

_SHOWN = 20
_LISTED = 1000
_KINDS = ("in", "out", "rejected", "scored", "empty", "null", "nonfinite", "truncated")
_COMPUTE = ("engine", "device", "dtype", "float_dtype", "batch_tokens")

# What helps against the findings of each look. `score` makes nothing again of an output that it finds published.
_LINK = "put the file itself in its place, or take it away if it is none of the output's"
_DAMAGED = (
    "remove the whole output and run its job again to make it anew; while it is there, `score` makes nothing again, "
    'and says "done already" if the sizes are right'
)
_STRAY = "the output's own files are as they were published: what is named here may be taken away, and nothing else"
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
    end_if(no_files(store), _LINK)
    manifest = read_manifest(store)
    end_if(wrong_files(store, manifest), _DAMAGED)
    end_if(strays(store, manifest), _STRAY)
    inputs = None if options.skip_inputs else labelled_inputs(manifest, options.input)
    end_if(wrong_ranges(manifest, inputs), _DAMAGED)
    end_if(changed_inputs(manifest, inputs) if inputs else (), _CHANGED)
    end_if(_wrong_output(store, manifest, inputs, counts), _DAMAGED)
    end_if(_wrong_totals(store, manifest, counts), _DAMAGED)
    rows = _rows(counts)
    recounted = {
        "parts": len(manifest["parts"]),
        "rejects_files": sum(1 for part in manifest["parts"] if part["rejects"]),
        "bytes": sum(file["bytes"] for file in listed_files(manifest).values()),
        "inputs": len(inputs.files) if inputs else 0,
    }
    kept = {name: rows[name] for name in ("in", "out", "rejected", "empty", "null", "nonfinite")}
    return document("verify", clock, rows=kept, recounted=recounted, findings=[], inputs_checked=inputs is not None)


def summary(metrics: Metrics, output: str | None) -> str:
    """What was recounted, in a few lines for a person."""
    rows, recounted = metrics["rows"], metrics["recounted"]
    files = f"{some(recounted['parts'], 'part')}, {some(recounted['rejects_files'], 'file')} of rejects"
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
    told = {name: metrics["profile"][name]["counts"] for name in ("tokens", "confidence")}
    yield from wrong_histograms(METRICS, told, counts)
    if "since" in manifest["identity"]["options"]:
        kept = counts.rows["rows_kept"]
        others = counts.rows["scored"] + counts.rows["nonfinite"] - kept
        since = metrics.get("since")
        told = since if isinstance(since, dict) else {}
        yield from wrong_counts(METRICS, told, {"rows_kept": kept, "rows_scored": others}, ("rows_kept", "rows_scored"))
