"""Conditions on figures, such as `macro_f1>=0.85`, and whether so many rows say that they hold."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sentiment_batch.errors import GateFailed, UsageError

LEVEL = 0.95  # of the intervals of figures
IN_ORDER = "labels in order"  # the condition that nobody has to set (label_order.py)
_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
CONDITION = re.compile(r"\s*(?P<figure>\w+)(?:\[(?P<label>[^\]]+)\])?\s*(?P<comparison>>=|<=|>|<)\s*(?P<bound>\S+)\s*")


class Known(NamedTuple):
    """The figures of a command that gates may be on. One that ends on `_difference` is from -1 to 1, a share from 0."""

    overall: tuple[str, ...]
    by_class: tuple[str, ...]
    examples: tuple[str, str]  # of how to write a gate on the one and on the other, for the name of a label
    whose: str  # labels they are


EVALUATION = Known(
    ("accuracy", "macro_f1", "macro_precision", "macro_recall", "rows"),
    ("precision", "recall", "f1"),
    ("macro_f1>=0.85", "recall[{}]>=0.8"),
    "the model",
)
COMPARISON = Known(
    ("flip_rate", "accuracy_difference", "macro_f1_difference", "rows"),
    ("flip_rate",),
    ("flip_rate<=0.05", "flip_rate[{}]<=0.1"),
    "OLD",
)


@dataclass(frozen=True)
class Gate:
    """One condition: a figure, of one class if `label` is given, against a bound."""

    condition: str
    figure: str
    label: str | None
    comparison: str
    bound: float

    def outcome(self, evaluation: dict[str, Any], on_undecidable: str = "fail") -> dict[str, Any]:
        """{condition, value, interval, verdict, holds}.

        It `passes` if the whole interval of the figure meets the condition, `fails` if none of it does, and is
        `undecidable` by so many rows between: then it holds if `on_undecidable` is `pass`. A figure without an interval
        (`rows`) is as sure as it is. One that is undefined (None) fails.
        """
        value, interval = self._of(evaluation), None
        if self.figure != "rows" and evaluation.get("intervals"):
            interval = self._of(evaluation["intervals"])
        ends = [] if value is None else interval or [value]
        met = [bool(_COMPARISONS[self.comparison](end, self.bound)) for end in ends]
        verdict = "fails" if not any(met) else "passes" if all(met) else "undecidable"
        return {
            "condition": self.condition,
            "value": value,
            "interval": interval,
            "verdict": verdict,
            "holds": holds(verdict, on_undecidable),
        }

    def _of(self, figures: dict[str, Any]) -> Any:
        return (figures if self.label is None else figures["per_class"][self.label])[self.figure]


def parse_gate(condition: str, labels: tuple[str, ...] | None = None, known: Known = EVALUATION) -> Gate:
    """`FIGURE>=BOUND`, or `FIGURE[LABEL]>=BOUND` for one class; >, <= and < are taken, too.

    Raises `UsageError` for anything else, and for a label that is not of the model; without `labels` it may be any.
    """
    match = CONDITION.fullmatch(condition)
    overall, of_class = known.examples[0], known.examples[1].format(labels[-1] if labels else "LABEL")
    form = f'--gate {condition!r}: write it as "{overall}" or "{of_class}"'
    if match is None:
        raise UsageError(form)
    figure, label = match["figure"], match["label"]
    if figure not in (known.overall if label is None else known.by_class):
        raise UsageError(
            f"{form}; figures are {', '.join(known.overall)}, and of one class {', '.join(known.by_class)}"
        )
    if label is not None and labels is not None and label not in labels:
        raise UsageError(f"--gate {condition!r}: {known.whose} has no label {label!r}; it has {', '.join(labels)}")
    try:
        bound = float(match["bound"])
        if math.isnan(bound):
            raise ValueError
    except ValueError:
        raise UsageError(f"{form}; {match['bound']!r} is not a number") from None
    lowest = -1 if figure.endswith("_difference") else 0
    if figure != "rows" and not lowest <= bound <= 1:
        raise UsageError(
            f"--gate {condition!r}: {figure} is between {lowest} and 1, so {match['bound']} decides nothing"
        )
    return Gate(condition, figure, label, match["comparison"], bound)


def gated(
    figures: dict[str, Any], gates: list[Gate], on_undecidable: str, others: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The part of the metrics that the gates decide; `others` are outcomes that are known already."""
    return judged_by([*(gate.outcome(figures, on_undecidable) for gate in gates), *others])


def holds(verdict: str, on_undecidable: str) -> bool:
    """Whether a gate of this verdict holds."""
    return verdict == "passes" or (verdict == "undecidable" and on_undecidable == "pass")


def judged_by(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of the metrics that the outcomes of gates decide."""
    held = all(outcome["holds"] for outcome in outcomes)
    return {
        "gates": outcomes,
        "status": "done" if held else "gate_failed",
        "exit_code": 0 if held else GateFailed.exit_code,
    }
