"""Conditions on the figures of an evaluation, such as `macro_f1>=0.85`, and whether a split says that they hold."""

import math
import operator
import re
from dataclasses import dataclass
from typing import Any

from sentiment_batch.errors import UsageError

LEVEL = 0.95  # of the intervals of figures
_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_OVERALL = ("accuracy", "macro_f1", "macro_precision", "macro_recall", "rows")
_BY_CLASS = ("precision", "recall", "f1")
_CONDITION = re.compile(r"\s*(?P<figure>\w+)(?:\[(?P<label>[^\]]+)\])?\s*(?P<comparison>>=|<=|>|<)\s*(?P<bound>\S+)\s*")


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
            "holds": verdict == "passes" or (verdict == "undecidable" and on_undecidable == "pass"),
        }

    def _of(self, figures: dict[str, Any]) -> Any:
        return (figures if self.label is None else figures["per_class"][self.label])[self.figure]


def parse_gate(condition: str, labels: tuple[str, ...] | None = None) -> Gate:
    """`FIGURE>=BOUND`, or `FIGURE[LABEL]>=BOUND` for one class; >, <= and < are taken, too.

    Raises `UsageError` for anything else, and for a label that is not of the model; without `labels` it may be any.
    """
    match = _CONDITION.fullmatch(condition)
    label_of_form = labels[-1] if labels else "LABEL"
    form = f'--gate {condition!r}: write it as "macro_f1>=0.85" or "recall[{label_of_form}]>=0.8"'
    if match is None:
        raise UsageError(form)
    figure, label = match["figure"], match["label"]
    if figure not in (_OVERALL if label is None else _BY_CLASS):
        raise UsageError(f"{form}; figures are {', '.join(_OVERALL)}, and of one class {', '.join(_BY_CLASS)}")
    if label is not None and labels is not None and label not in labels:
        raise UsageError(f"--gate {condition!r}: the model has no label {label!r}; it has {', '.join(labels)}")
    try:
        bound = float(match["bound"])
        if math.isnan(bound):
            raise ValueError
    except ValueError:
        raise UsageError(f"{form}; {match['bound']!r} is not a number") from None
    if figure != "rows" and not 0 <= bound <= 1:
        raise UsageError(f"--gate {condition!r}: {figure} is between 0 and 1, so {match['bound']} decides nothing")
    return Gate(condition, figure, label, match["comparison"], bound)
