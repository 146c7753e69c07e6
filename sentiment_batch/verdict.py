"""What the gates make of an evaluation: its status, and the error that says which of them do not hold and why."""

from sentiment_batch.errors import GateFailed
from sentiment_batch.measure.gates import Gate
from sentiment_batch.measure.label_order import IN_ORDER, in_order
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.summary import figure, gate_figure
from sentiment_batch.read.split import are_labels


def gated(evaluation: Metrics, gates: list[Gate], on_undecidable: str) -> Metrics:
    """The part of the metrics that the gates decide. Labels that look swapped fail one that nobody has to ask for."""
    outcomes = [gate.outcome(evaluation, on_undecidable) for gate in gates]
    if _are_swapped(evaluation):
        outcomes.append(in_order(evaluation["label_order"]))
    held = all(outcome["holds"] for outcome in outcomes)
    return {
        "gates": outcomes,
        "status": "done" if held else "gate_failed",
        "exit_code": 0 if held else GateFailed.exit_code,
    }


def raise_for_gates(metrics: Metrics, output: str) -> None:
    """Raise `GateFailed`, with the metrics, if one of the gates does not hold."""
    held = [gate for gate in metrics["gates"] if not gate["holds"] and gate["condition"] != IN_ORDER]
    failed = [f"{gate['condition']} (it is {gate_figure(gate)})" for gate in held if gate["verdict"] == "fails"]
    unsure = [f"{gate['condition']} (it is {gate_figure(gate)})" for gate in held if gate["verdict"] != "fails"]
    said = [_swapped(metrics["evaluation"])] if _are_swapped(metrics["evaluation"]) else []
    if failed:
        said.append(f"the model is not good enough: {', '.join(failed)}")
    if unsure:
        said.append(
            f"{metrics['evaluation']['rows']:,} rows cannot decide {', '.join(unsure)}: measure on more of them (of "
            "the class, if it is one's figure), or give --on-undecidable pass"
        )
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
