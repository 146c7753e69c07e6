"""How much better or worse an evaluation is than an earlier one, and the gate on how much worse it may be."""

import logging
import os
from typing import Any

from sentiment_batch.errors import InputError
from sentiment_batch.finished import EVALUATION, Finished, open_finished
from sentiment_batch.measure.changes import NEW, OLD, TRUE
from sentiment_batch.measure.comparison import Cells, comparison_section, count_cells, labels_of_both, listed
from sentiment_batch.measure.counts import positions
from sentiment_batch.measure.gates import Gate
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.paired import unpaired_intervals
from sentiment_batch.measure.progress import Progress
from sentiment_batch.two_outputs import differing_inputs, open_outputs

_DECIDE_LABELS = ("digest", "labels", "max_length", "engine", "device", "dtype", "float_dtype", "batch_tokens")
_FIGURES = ("accuracy", "macro_f1")

log = logging.getLogger(__name__)


def open_baseline(path: str) -> Finished:
    """The evaluation to be held against: its folder or URL, or the `metrics.json` in it. Raises `InputError`."""
    folder = os.path.dirname(path) or "." if os.path.basename(path) == EVALUATION else path
    found = open_finished(folder)
    if found is None or found.command != "evaluate":
        raise InputError(
            f"--gate-baseline {path} is no finished evaluation; give the folder that `evaluate` wrote, or the "
            f"{EVALUATION} in it"
        )
    if not found.metrics["evaluation"].get("intervals"):
        raise InputError(f"--gate-baseline {path} was made by an older version; do that evaluation again")
    return found


def baseline_section(baseline: Finished, ours: Finished, label_column: str) -> Metrics:
    """{path, job_id, paired, accuracy, macro_f1, difference, intervals}: the earlier figures, and ours less these.

    Where both are of the same rows they are paired row by row, as `compare` does; if it is the same model, on the same
    engine, there is nothing between them that chance could have moved. Else what is between them is as sure
    as either figure is for itself, which is much less; a warning says so.
    """
    old, new = baseline.metrics["evaluation"], ours.metrics["evaluation"]
    reason = differing_inputs(baseline, ours)
    if reason is not None and set(baseline.labels) != set(ours.labels):
        raise InputError(
            f"--gate-baseline {baseline.path} has other labels, and was measured on other rows ({reason}): the two say "
            "nothing of each other; evaluate the earlier model on these rows"
        )
    if reason is None:
        quality = _quality(baseline, ours, label_column)
        figures, difference, intervals = quality["old"], quality["difference"], quality["intervals"]
        if intervals and _is_same_model(baseline, ours):
            intervals = {**intervals, **{name: [difference[name]] * 2 for name in _FIGURES}}
    else:
        log.warning(
            "%s was measured on other rows (%s): what is between the two is less sure than on the same ones",
            *(baseline.path, reason),
        )
        figures = {name: old[name] for name in _FIGURES}
        measured = bool(new["rows"])  # of the earlier one open_baseline has seen to it
        difference = {name: new[name] - old[name] if measured else None for name in _FIGURES}
        intervals = unpaired_intervals(old, new) if measured else None
    return {
        "path": baseline.path,
        "job_id": baseline.job_id,
        "paired": reason is None,
        **{name: figures[name] for name in _FIGURES},
        "difference": difference,
        "intervals": intervals,
    }


def _is_same_model(baseline: Finished, ours: Finished) -> bool:
    models = [each.metrics["model"] for each in (baseline, ours)]
    return all(models[0].get(name) == models[1].get(name) for name in _DECIDE_LABELS)


def drop_gate(section: Metrics, max_drop: float, on_undecidable: str) -> dict[str, Any]:
    """The outcome of the gate that macro F1 is not lower by more than that; its value is ours less the baseline's."""
    figure = "macro_f1_difference"
    gate = Gate(f"{figure}>={-max_drop or 0:g}", figure, None, ">=", -max_drop)
    difference, intervals = section["difference"]["macro_f1"], section["intervals"]
    ends = {figure: intervals["macro_f1"]} if intervals else None
    return gate.outcome({figure: difference, "intervals": ends}, on_undecidable)


def _quality(old: Finished, new: Finished, label_column: str) -> Metrics:
    """The `quality` of the comparison of two evaluations of the same rows."""
    sides, labels, cells = open_outputs(old, new, label_column, False), labels_of_both(old.labels, new.labels), Cells()
    for batch in sides.pairs(Progress(0, "none")):
        names = (TRUE, f"{OLD}predicted_label", f"{NEW}predicted_label")
        true, said, says = (positions(batch.column(name), labels) for name in names)
        cells.update(count_cells(true, said, says, len(labels)))
    quality: Metrics = comparison_section(listed(cells), labels, True)["quality"]
    return quality
