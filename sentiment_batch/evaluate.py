"""The job that measures a model on a labelled split, and says whether it is good enough."""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from sentiment_batch.config import EvaluateOptions
from sentiment_batch.errors import GateFailed, InputError, ModelRefused
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import (
    check_compute,
    compute_of,
    labelled_chunks,
    model_section,
    open_labeller,
)
from sentiment_batch.measure.counts import Counts, add, count_rows
from sentiment_batch.measure.evaluation import evaluation_section, intervals_section
from sentiment_batch.measure.gates import Gate, parse_gate
from sentiment_batch.measure.metrics import (
    Clock,
    Metrics,
    document,
    headline,
    performance_section,
    predictions_section,
    rows_section,
)
from sentiment_batch.measure.progress import Progress
from sentiment_batch.measure.summary import gate_figure
from sentiment_batch.model.compute import device_kind
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks, shard_sha256
from sentiment_batch.read.split import are_labels, describe, label_names, shown_label
from sentiment_batch.report import PREDICTIONS, REPORT, settle_report, texts_of_mistakes
from sentiment_batch.write.claim import Identity
from sentiment_batch.write.commit import Work, claim, settle_json
from sentiment_batch.write.part import PartWriter

MARKER = "metrics.json"
_MADE = "|".join(map(re.escape, (PREDICTIONS, REPORT)))
_CHUNK_ROWS = 32_768

log = logging.getLogger(__name__)


def evaluate(options: EvaluateOptions) -> Metrics:
    """Measure the model on the split and return the metrics; those of the finished job if it was done before.

    Raises `InputError` for a split that cannot measure a model, `GateFailed` when all is written and a gate did not
    hold, and what `score` raises.
    """
    clock = Clock()
    labeller = open_labeller(options, options.text_column)
    gates = [parse_gate(condition, labeller.labels) for condition in options.gate]
    inputs = open_inputs(options.data, options.format, options.columns, (options.text_column, options.label_column))
    labeller.check_columns(inputs.schema)
    claimed = claim(options.output, _identity(options, inputs, labeller), MARKER, options.overwrite, _MADE)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        if options.show_texts:
            log.info(
                "its report stays as it is; with texts: sentiment-batch report %s/%s --show-texts --output FILE.html",
                *(options.output.rstrip("/"), MARKER),
            )
        metrics = {**claimed, "already_done": True}
    else:
        try:
            metrics = _evaluate(options, labeller, inputs, gates, claimed, clock)
        finally:
            claimed.release()
    metrics["evaluation"].setdefault("intervals", _intervals(metrics["evaluation"]))  # of before there were any
    # The figures are those that are published; the gates are tonight's, and their verdict is returned alone.
    metrics |= _gated(metrics["evaluation"], gates, options.on_undecidable)
    _raise_for_gates(metrics, options.output)
    return metrics


def _evaluate(
    options: EvaluateOptions, labeller: Labeller, inputs: Inputs, gates: list[Gate], work: Work, clock: Clock
) -> Metrics:
    """The metrics that are published: this run's, or those that another run of the job wrote before it."""
    shards = plan(inputs, _CHUNK_ROWS, 2**30, options.limit_rows)
    _check_split(options, inputs, shards, labeller)
    load_seconds, started = labeller.load(), time.perf_counter()
    with Progress(sum(planned.shard.rows for planned in shards), options.progress) as progress:
        counts = _predicted(options, labeller, inputs, shards, work, progress)
    performance = performance_section(
        progress.done_here, asdict(labeller.effort), time.perf_counter() - started, load_seconds
    )
    rows = [0] * len(inputs.files)
    for planned in shards:
        rows[planned.file] += planned.shard.rows
    evaluation = evaluation_section(counts["confusion"], labeller.labels)
    metrics = document(
        "evaluate",
        clock,
        work.resumed,
        job_id=work.claim.job_id,
        identity=work.claim.identity,
        model=model_section(labeller),
        input=inputs.section(rows),
        rows=rows_section(counts),
        predictions=predictions_section(counts, labeller.labels),
        evaluation=evaluation | {"intervals": _intervals(evaluation)},
        performance=performance,
    )
    metrics = {**metrics, "headline": headline(metrics), **_gated(metrics["evaluation"], gates, options.on_undecidable)}
    settle_report(work, REPORT, metrics, texts_of_mistakes(work.store, metrics) if options.show_texts else None)
    published = settle_json(work, MARKER, metrics)
    work.publish()
    return published


def _predicted(
    options: EvaluateOptions,
    labeller: Labeller,
    inputs: Inputs,
    shards: list[PlannedShard],
    work: Work,
    progress: Progress,
) -> Counts:
    """Label the split into its file, and return the counts of the one that is there: another run may have made it."""
    columns = tuple(inputs.schema.names)
    counts: Counts = {}
    with PartWriter(work.store, work.scratch, PREDICTIONS, labeller.labelled_schema(inputs.schema)) as predictions:
        chunks = (
            chunk
            for planned in shards
            for chunk in read_chunks(inputs, planned, columns, options.text_column, _CHUNK_ROWS)
        )
        for batch, rejects, texts in labelled_chunks(chunks, labeller, progress, options.cache_rows):
            predictions.write(batch, rejects)
            counts = add(counts, count_rows(batch, labeller.labels, options.prefix, options.label_column))
            counts = add(counts, {"rows_in": batch.num_rows, "rejected": 0, **texts})
        if counts["nonfinite"]:
            raise ModelRefused(
                f"{options.model} gives no finite score for {counts['nonfinite']} of {counts['rows_out']} rows; "
                "the figures of the others would flatter it; give --dtype float32, or train it again"
            )
        account = {
            "job_id": work.claim.job_id,
            "input_sha256": [shard_sha256(inputs, planned) for planned in shards],
            "compute": compute_of(labeller),
            "counts": counts,
        }
        work.check_unannounced()
        sealed = predictions.seal(account, work.check_held)
    check_compute(sealed, labeller, work.store.url)
    if sealed.seal["input_sha256"] != account["input_sha256"]:
        raise InputError(
            f"{', '.join(options.data)}: edited since {PREDICTIONS} was made from it, though size and time are the "
            f"same; nothing was published; remove {work.store.url} to begin again"
        )
    found: Counts = sealed.seal["counts"]
    return found


def _check_split(options: EvaluateOptions, inputs: Inputs, shards: list[PlannedShard], labeller: Labeller) -> None:
    """Refuse a split whose figures would mean nothing, before the model runs."""
    found: Counter[str] = Counter()
    for planned in shards:
        found.update(_labels(options, inputs, planned, labeller.labels))
    where = ", ".join(options.data)
    if not found:
        raise InputError(f"{where}: no rows to measure the model on")
    if len(found) == 1:
        label, rows = next(iter(found.items()))
        raise InputError(
            f"{where}: all {rows} rows are labelled {shown_label(label)}; a split with one class cannot measure a "
            "model (are the labels masked, as in the public SmSA test split? take a split with its true labels)"
        )


def _labels(options: EvaluateOptions, inputs: Inputs, planned: PlannedShard, known: tuple[str, ...]) -> Iterator[str]:
    """The true label of every row of a shard. Raises `InputError` for a row that has none that the model knows."""
    column, path, row = options.label_column, inputs.files[planned.file].path, planned.shard.first_row
    for chunk in read_chunks(inputs, planned, (options.text_column, column), options.text_column, _CHUNK_ROWS):
        if chunk.rejects:
            raise InputError(f"{describe(chunk.rejects[0])}; mend it: a split is measured whole or not at all")
        names = label_names(chunk.batch.column(column), path, row, column)
        for number, name in enumerate(names, row):
            if name not in known:
                what = f"the label {shown_label(name)}" if name else "no label"
                ours = ", ".join(known) if are_labels(known) else f"{len(known)} others"
                raise InputError(f"{path}, row {number}: {what} in {column!r}; the model knows {ours}")
            yield name
        row += len(names)


def _intervals(evaluation: Metrics) -> Metrics | None:
    confusion = evaluation["confusion"]
    return intervals_section(confusion["matrix"], tuple(confusion["labels"]))


def _gated(evaluation: Metrics, gates: list[Gate], on_undecidable: str) -> Metrics:
    """The part of the metrics that the gates decide."""
    outcomes = [gate.outcome(evaluation, on_undecidable) for gate in gates]
    held = all(outcome["holds"] for outcome in outcomes)
    return {
        "gates": outcomes,
        "status": "done" if held else "gate_failed",
        "exit_code": 0 if held else GateFailed.exit_code,
    }


def _raise_for_gates(metrics: Metrics, output: str) -> None:
    held = [gate for gate in metrics["gates"] if not gate["holds"]]
    failed = [f"{gate['condition']} (it is {gate_figure(gate)})" for gate in held if gate["verdict"] == "fails"]
    unsure = [f"{gate['condition']} (it is {gate_figure(gate)})" for gate in held if gate["verdict"] != "fails"]
    said = [f"the model is not good enough: {', '.join(failed)}"] if failed else []
    if unsure:
        said.append(
            f"{metrics['evaluation']['rows']:,} rows cannot decide {', '.join(unsure)}: measure on more of them (of "
            "the class, if it is one's figure), or give --on-undecidable pass"
        )
    if said:
        raise GateFailed(f"{'; '.join(said)}; all figures are in {output}", metrics)


def _identity(options: EvaluateOptions, inputs: Inputs, labeller: Labeller) -> Identity:
    """All that can change a figure, and nothing else."""
    names = (
        *("text_column", "label_column", "columns", "limit_rows", "prefix"),
        *("batch_tokens", "cache_rows", "engine", "dtype"),
    )
    chosen = asdict(options)
    return {
        "command": "evaluate",
        "inputs": [file.identity() for file in inputs.files],
        "model": labeller.digest,
        "options": {
            **{name: chosen[name] for name in names},
            "max_length": labeller.max_length,
            "device": device_kind(options.device),
        },
    }
