"""The job that says what a new model would change, and whether it may take the old one's place."""

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sentiment_batch.config import CompareOptions
from sentiment_batch.errors import GateFailed, InputError, OutputConflict, UsageError
from sentiment_batch.finished import EVALUATION
from sentiment_batch.measure.changes import NEW, OLD, TEXT, TRUE, changes_schema, flips_of, largest
from sentiment_batch.measure.comparison import (
    SHOWN_CHANGES,
    Cells,
    comparison_headline,
    comparison_section,
    count_cells,
    gate_figures,
    labels_of_both,
    listed,
)
from sentiment_batch.measure.counts import positions
from sentiment_batch.measure.gates import COMPARISON, Gate, gated, parse_gate
from sentiment_batch.measure.metrics import Clock, Metrics, document, headline, performance_section
from sentiment_batch.measure.progress import Progress
from sentiment_batch.measure.summary import unheld
from sentiment_batch.model.compute import device_kind
from sentiment_batch.read.split import shown_label
from sentiment_batch.report import REPORT, prepare_page, settle_report
from sentiment_batch.sides import OF_MODELS, Sides, open_sides
from sentiment_batch.write.claim import Identity
from sentiment_batch.write.commit import Work, claim, settle_json
from sentiment_batch.write.part import PartWriter, Seal

CHANGES = "changes.parquet"
_MADE = "|".join(map(re.escape, (CHANGES, REPORT)))

log = logging.getLogger(__name__)


def compare(options: CompareOptions) -> Metrics:
    """Compare the two and return the metrics; those of the finished job if it was done before.

    Memory does not grow with the rows. Raises `InputError` for rows that cannot be compared, `GateFailed` when all is
    written and a gate did not hold, and what `score` raises.
    """
    clock = Clock()
    sides = open_sides(options)
    gates = [_gate(condition, sides.labels[0], options) for condition in options.gate]
    claimed = claim(options.output, _identity(options, sides), EVALUATION, options.overwrite, _MADE)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        metrics = {**claimed, "already_done": True}
    else:
        try:
            metrics = _compare(options, sides, gates, claimed, clock)
        finally:
            claimed.release()
    comparison = metrics["comparison"]
    # The figures are those that are published; the gates are tonight's, and their verdict is returned alone.
    metrics |= gated(gate_figures(comparison), gates, options.on_undecidable)
    if said := unheld(metrics["gates"], comparison["rows"], "NEW is not fit to take the place of OLD"):
        raise GateFailed(f"{said}; all figures are in {options.output}", metrics)
    return metrics


def _compare(options: CompareOptions, sides: Sides, gates: list[Gate], work: Work, clock: Clock) -> Metrics:
    """The metrics that are published: this run's, or those that another run of the job wrote before it."""
    labels = labels_of_both(*sides.labels)
    _say_other_labels(*map(set, sides.labels))
    if options.label_column:
        _check_classes(sides.true_labels(), labels, options)
    load_seconds, started = sides.load(prepare_page), time.perf_counter()
    with Progress(2 * sides.rows, options.progress, unit="label") as progress:
        seal = _compared(options, sides, labels, work, progress)
    performance = performance_section(sides.rows, sides.effort(), time.perf_counter() - started, load_seconds)
    comparison = comparison_section(seal["cells"], labels, options.label_column is not None)
    out = sum(rows for *_, rows in seal["cells"])
    metrics = document(
        "compare",
        clock,
        work.resumed,
        job_id=work.claim.job_id,
        identity=work.claim.identity,
        **sides.sections(),
        rows={"in": sides.rows, "out": out, "rejected": sides.rows - out},
        comparison={**comparison, "changed": seal["changed"]},
        performance=performance,
    )
    metrics["headline"] = {**headline(metrics), **comparison_headline(comparison)}
    metrics |= gated(gate_figures(comparison), gates, options.on_undecidable)
    settle_report(work, REPORT, metrics)
    published = settle_json(work, EVALUATION, metrics)
    work.publish()
    return published


def _compared(options: CompareOptions, sides: Sides, labels: tuple[str, ...], work: Work, progress: Progress) -> Seal:
    """Write what changed most, and return the seal of the file that is there: another run may have made it."""
    found = _Found(Cells(), changes_schema(options.label_column is not None, options.show_texts).empty_table())
    shared = sides.labels[0] if set(sides.labels[0]) == set(sides.labels[1]) else ()
    for batch in sides.pairs(progress):
        found = _counted(found, batch, labels, shared, options.changes)
    cells = listed(found.cells)
    if not any(old >= 0 and new >= 0 for _, old, new, _ in cells):
        raise InputError(
            f"no rows to compare {options.old} and {options.new} on: there is none that both have labelled"
        )
    changed = found.changes.slice(0, SHOWN_CHANGES).drop_columns([TEXT] if options.show_texts else [])
    with PartWriter(work.store, work.scratch, CHANGES, found.changes.schema) as part:
        part.write(_one_batch(found.changes), [])
        account = {
            "job_id": work.claim.job_id,
            "sides": sides.account(),
            "cells": cells,
            "changed": changed.to_pylist(),
        }
        work.check_unannounced()
        sealed = part.seal(account, work.check_held)
    if sealed.seal["sides"] != account["sides"]:
        raise OutputConflict(
            f"{CHANGES} was made by a run on another device or precision, or of data that was edited since; remove "
            f"{work.store.url} to begin again"
        )
    return sealed.seal


class _Found(NamedTuple):
    """What is known of the rows so far."""

    cells: Cells
    changes: pa.Table


def _counted(
    found: _Found, batch: pa.RecordBatch, labels: tuple[str, ...], shared: tuple[str, ...], limit: int
) -> _Found:
    columns = {"old": f"{OLD}predicted_label", "new": f"{NEW}predicted_label"}
    numbers = {name: positions(batch.column(column), labels) for name, column in columns.items()}
    for name, column in columns.items():
        if int((numbers[name] < 0).sum()) != batch.column(column).null_count:
            raise InputError(f"the {name} labels have one that is not of their model; see sentiment-batch verify")
    true = np.full(batch.num_rows, -1)
    if TRUE in batch.schema.names:
        true = numbers[TRUE] = positions(batch.column(TRUE), labels)
    cells = count_cells(true, numbers["old"], numbers["new"], len(labels))
    found.cells.update(cells)
    return _Found(found.cells, largest(found.changes, flips_of(batch, numbers, labels, shared), limit))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _gate(condition: str, labels: tuple[str, ...], options: CompareOptions) -> Gate:
    gate = parse_gate(condition, labels, COMPARISON)
    if gate.figure.endswith("_difference") and options.label_column is None:
        raise UsageError(f"--gate {condition!r} needs the true labels: give --label-column")
    return gate


def _say_other_labels(old: set[str], new: set[str]) -> None:
    if not old & new:
        log.warning("OLD and NEW have no label in common: every row counts as flipped")
    elif old != new:
        log.warning(
            "OLD and NEW have other labels: %d of OLD's are not NEW's, %d of NEW's not OLD's; `change` is that of the "
            "confidence",
            len(old - new),
            len(new - old),
        )


def _check_classes(columns: Iterable[pa.Array], labels: tuple[str, ...], options: CompareOptions) -> None:
    """Refuse true labels whose figures would mean nothing, before a model runs; two classes are enough to look at."""
    found: set[int] = set()
    for column in columns:
        found |= set(np.unique(positions(column, labels)).tolist()) - {-1}
        if len(found) > 1:
            return
    what = f"is {shown_label(labels[found.pop()])} in all rows" if found else "has no label that OLD or NEW knows"
    raise InputError(
        f"the column {options.label_column!r} {what}; with it no quality can be measured (are the labels masked, as in "
        "the public SmSA test split?): leave --label-column out, or name the one with the true labels"
    )


def _identity(options: CompareOptions, sides: Sides) -> Identity:
    """All that can change a figure, and nothing else."""
    chosen = asdict(options)
    names = (*sorted(OF_MODELS - {"data", "format", "device"}), "label_column", "changes", "show_texts")
    return {
        "command": "compare",
        **sides.identity(),
        "options": {**{name: chosen[name] for name in names}, "device": device_kind(options.device)},
    }
