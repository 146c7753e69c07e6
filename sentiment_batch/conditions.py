"""What the gates make of an evaluation: its status, and the error that says which of them do not hold and why."""

from typing import NamedTuple

from sentiment_batch.baseline import baseline_section, drop_gate, open_baseline
from sentiment_batch.config import EvaluateOptions
from sentiment_batch.errors import GateFailed, UsageError
from sentiment_batch.finished import Finished
from sentiment_batch.measure.gates import IN_ORDER, Gate, gated, parse_gate
from sentiment_batch.measure.label_order import out_of_order
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.summary import figure, unheld
from sentiment_batch.read.split import are_labels
from sentiment_batch.remote import lies_in


class Conditions(NamedTuple):
    """What a model must keep to."""

    gates: list[Gate]
    baseline: Finished | None


def open_conditions(options: EvaluateOptions, labels: tuple[str, ...]) -> Conditions:
    """Raises `UsageError` for a gate that is none, and `InputError` for a baseline that is none."""
    path, baseline = options.gate_baseline, None
    if path is not None:
        if lies_in(path, options.output) or lies_in(options.output, path):
            raise UsageError(
                f"--gate-baseline {path} and --output {options.output} lie in each other; keep the earlier evaluation "
                "in a folder of its own"
            )
        baseline = open_baseline(path)
    return Conditions([parse_gate(condition, labels) for condition in options.gate], baseline)


def judged(ours: Finished, conditions: Conditions, options: EvaluateOptions) -> Metrics:
    """The part of the metrics that the conditions decide. Labels that look swapped fail one that nobody asks for."""
    evaluation = ours.metrics["evaluation"]
    others = [out_of_order()] if _are_swapped(evaluation) else []
    section = {}
    if conditions.baseline:
        section["baseline"] = baseline_section(conditions.baseline, ours, options.label_column)
        others.append(drop_gate(section["baseline"], options.max_drop, options.on_undecidable))
    return {**section, **gated(evaluation, conditions.gates, options.on_undecidable, others)}


def raise_for_gates(metrics: Metrics, output: str) -> None:
    """Raise `GateFailed`, with the metrics, if one of the gates does not hold."""
    gates = [gate for gate in metrics["gates"] if gate["condition"] != IN_ORDER]
    failed = unheld(gates, metrics["evaluation"]["rows"], "the model is not good enough")
    said = [_swapped(metrics["evaluation"])] if _are_swapped(metrics["evaluation"]) else []
    said += [failed] if failed else []
    if said:
        raise GateFailed(f"{'; '.join(said)}; all figures are in {output}", metrics)


def _are_swapped(evaluation: Metrics) -> bool:
    return bool(evaluation.get("label_order", {}).get("suspicious"))


def _swapped(evaluation: Metrics) -> str:
    order = evaluation["label_order"]
    moved = [f"{label} for {meaning}" for label, meaning in order["reading"].items() if label != meaning]
    shown = f" (it says {', '.join(moved)})" if are_labels(list(order["reading"])) else ""
    return (
        f"the labels of the model look swapped{shown}: its accuracy is {figure(evaluation['accuracy'])}, and "
        f"{figure(order['accuracy'])} if they are read so; mend id2label in its config.json, or the split's labels"
    )
