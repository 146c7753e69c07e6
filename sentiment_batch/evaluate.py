"""The job that measures a model on a labelled split, and says whether it is good enough."""

import logging
import re
import time
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from sentiment_batch.conditions import Conditions, judged, open_conditions, raise_for_gates
from sentiment_batch.config import EvaluateOptions
from sentiment_batch.errors import InputError, ModelRefused, OutputConflict
from sentiment_batch.finished import EVALUATION, PREDICTIONS, evaluated
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import (
    CHUNK_ROWS,
    calibration_of,
    check_compute,
    compute_of,
    labelled_chunks,
    model_section,
    open_labeller,
)
from sentiment_batch.measure.counts import Counts, add, confidence_of, count_rows, positions
from sentiment_batch.measure.evaluation import intervals_section, quality_section
from sentiment_batch.measure.label_order import label_order_section
from sentiment_batch.measure.metrics import (
    Clock,
    Metrics,
    document,
    headline,
    performance_section,
    predictions_section,
    rows_section,
)
from sentiment_batch.measure.mistakes import Mistake, mistakes_of, most_confident
from sentiment_batch.measure.profile import profile_section
from sentiment_batch.measure.progress import Progress
from sentiment_batch.measure.slices import OWN, count_slices, own_slices, slice_name, slices_section
from sentiment_batch.model.compute import device_kind
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks, rows_of, shard_sha256
from sentiment_batch.read.split import label_names
from sentiment_batch.report import REPORT, prepare_page, settle_report, texts_of_mistakes
from sentiment_batch.split_checks import check_split
from sentiment_batch.write.claim import Identity
from sentiment_batch.write.commit import Work, claim, open_store, settle_json
from sentiment_batch.write.part import PartWriter, Seal

_MADE = "|".join(map(re.escape, (PREDICTIONS, REPORT)))

log = logging.getLogger(__name__)


def evaluate(options: EvaluateOptions) -> Metrics:
    """Measure the model on the split and return the metrics; those of the finished job if it was done before.

    Raises `InputError` for a split that cannot measure a model, `GateFailed` when all is written and a gate did not
    hold, and what `score` raises.
    """
    clock = Clock()
    labeller = open_labeller(options, options.text_column)
    conditions = open_conditions(options, labeller.labels)
    needed = (options.text_column, options.label_column, *options.slice)
    inputs = open_inputs(options.data, options.format, options.columns, needed)
    labeller.check_columns(inputs.schema)
    claimed = claim(options.output, _identity(options, inputs, labeller), EVALUATION, options.overwrite, _MADE)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        if options.show_texts:
            log.info(
                "its report stays as it is; with texts: sentiment-batch report %s/%s --show-texts --output FILE.html",
                *(options.output.rstrip("/"), EVALUATION),
            )
        metrics = {**claimed, "already_done": True}
        metrics["evaluation"].setdefault("intervals", _intervals(metrics["evaluation"]))  # of before there were any
        # The figures are those that are published; the gates are tonight's, and their verdict is returned alone.
        metrics.pop("baseline", None)
        metrics |= judged(evaluated(options.output, open_store(options.output), metrics), conditions, options)
    else:
        try:
            metrics = _evaluate(options, labeller, inputs, conditions, claimed, clock)
        finally:
            claimed.release()
    raise_for_gates(metrics, options.output)
    return metrics


def _evaluate(
    options: EvaluateOptions, labeller: Labeller, inputs: Inputs, conditions: Conditions, work: Work, clock: Clock
) -> Metrics:
    """The metrics that are published, be they of another run of the job that wrote them first, with our verdict."""
    shards = plan(inputs, CHUNK_ROWS, 2**30, options.limit_rows)
    check_split(options, inputs, shards, labeller.labels)
    load_seconds, started = labeller.load(prepare_page), time.perf_counter()
    with Progress(rows_of(shards), options.progress) as progress:
        seal = _predicted(options, labeller, inputs, shards, work, progress)
    performance = performance_section(
        progress.done_here, asdict(labeller.effort), time.perf_counter() - started, load_seconds
    )
    counts = seal["counts"]
    predictions = predictions_section(counts, labeller.labels)
    metrics = document(
        "evaluate",
        clock,
        work.resumed,
        job_id=work.claim.job_id,
        identity=work.claim.identity,
        model=model_section(labeller),
        input=inputs.section(inputs.rows_of(shards)),
        rows=rows_section(counts),
        predictions=predictions,
        evaluation=_evaluation(seal, labeller),
        profile=profile_section(counts["profile"], predictions["counts"]),
        performance=performance,
    )
    metrics["headline"] = headline(metrics)
    verdict = judged(evaluated(options.output, work.store, metrics), conditions, options)
    metrics |= verdict
    settle_report(work, REPORT, metrics, texts_of_mistakes(work.store, metrics) if options.show_texts else None)
    published = settle_json(work, EVALUATION, metrics)
    work.publish()
    return {**published, **verdict}


def _predicted(
    options: EvaluateOptions,
    labeller: Labeller,
    inputs: Inputs,
    shards: list[PlannedShard],
    work: Work,
    progress: Progress,
) -> Seal:
    """Label the split into its file, and return the seal of the one that is there: another run may have made it."""
    columns = tuple(inputs.schema.names)
    counts: Counts = {}
    worst: list[Mistake] = []
    with PartWriter(work.store, work.scratch, PREDICTIONS, labeller.labelled_schema(inputs.schema)) as predictions:
        chunks = (
            chunk
            for planned in shards
            for chunk in read_chunks(inputs, planned, columns, options.text_column, CHUNK_ROWS)
        )
        for batch, rejects, texts, unknown in labelled_chunks(chunks, labeller, progress, options.cache_rows):
            found, mistakes = _measured(options, labeller.labels, batch, predictions.rows)
            counts = add(counts, found)
            counts = add(counts, count_rows(batch, unknown, labeller.labels, options.prefix, options.label_column))
            counts = add(counts, {"rows_in": batch.num_rows, "rejected": 0, **texts})
            worst = most_confident(worst, mistakes)
            predictions.write(batch, rejects)
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
            "mistakes": worst,
        }
        work.check_unannounced()
        sealed = predictions.seal(account, work.check_held)
    check_compute(sealed, compute_of(labeller), work.store.url)
    if sealed.seal["input_sha256"] != account["input_sha256"]:
        raise InputError(
            f"{', '.join(options.data)}: edited since {PREDICTIONS} was made from it, though size and time are the "
            f"same; nothing was published; remove {work.store.url} to begin again"
        )
    if sealed.seal["counts"].keys() != counts.keys() or "mistakes" not in sealed.seal:
        raise OutputConflict(
            f"{PREDICTIONS} was made by another version of the program, which counted otherwise; remove "
            f"{work.store.url} to begin again"
        )
    return sealed.seal


def _measured(
    options: EvaluateOptions, labels: tuple[str, ...], batch: pa.RecordBatch, first_row: int
) -> tuple[Counts, list[Mistake]]:
    """What `evaluate` alone counts of a labelled batch, the first row of which has that number."""
    true = positions(batch.column(options.label_column), labels)
    predicted = positions(batch.column(f"{options.prefix}predicted_label"), labels)
    both = np.flatnonzero(predicted >= 0)
    names = {f"{options.prefix}{name}": name for name in OWN}
    values = own_slices(*(batch.column(name).to_numpy(zero_copy_only=False)[both] for name in names))
    of_rows = dict(zip(names, values, strict=True))
    for column in options.slice:
        found = label_names(batch.column(column), PREDICTIONS, first_row, column)
        of_rows[column] = [slice_name(found[row]) for row in both]
    slices = count_slices(of_rows, true[both], predicted[both], len(labels))
    return {"slices": slices}, mistakes_of(first_row, true, predicted, confidence_of(batch, options.prefix), labels)


def _evaluation(seal: Seal, labeller: Labeller) -> Metrics:
    counts, labels = seal["counts"], labeller.labels
    return {
        **quality_section(counts, labels, labeller.temperature),
        "slices": slices_section(counts["slices"], labels),
        "mistakes": seal["mistakes"],
        "label_order": label_order_section(counts["confusion"], labels),
    }


def _intervals(evaluation: Metrics) -> Metrics | None:
    confusion = evaluation["confusion"]
    return intervals_section(confusion["matrix"], tuple(confusion["labels"]))


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
            **calibration_of(labeller),
            "max_length": labeller.max_length,
            "device": device_kind(options.device),
            **({"slice": options.slice} if options.slice else {}),
        },
    }
