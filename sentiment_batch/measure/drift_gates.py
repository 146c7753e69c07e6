"""Conditions on how far a night may be from what it is compared with, such as `psi[tokens]<=0.2`."""

import math
import operator
import re
from dataclasses import dataclass
from typing import Any

from sentiment_batch.errors import UsageError
from sentiment_batch.measure.drift import HISTOGRAMS
from sentiment_batch.measure.gates import holds

_FIGURES = ("psi", "jensen_shannon")
_COMPARISONS = {"<=": operator.le, "<": operator.lt}
_CONDITION = re.compile(r"\s*(?P<figure>\w+)(?:\[(?P<histogram>\w+)\])?\s*(?P<comparison><=|<)\s*(?P<bound>\S+)\s*")
_VERDICTS = ("passes", "undecidable", "fails")  # the worse the later


@dataclass(frozen=True)
class DriftGate:
    """A figure of one histogram that has to stay below a bound, against every reference."""

    condition: str
    figure: str
    histogram: str
    comparison: str
    bound: float

    def outcome(self, references: list[dict[str, Any]], on_undecidable: str) -> dict[str, Any]:
        """{condition, value, interval, verdict, holds, reference}, of the reference against which it is worst.

        It `passes` if the figure meets the condition. If not, it `fails` if the histogram differs by more than chance
        alone would have it (its PSI is above `chance`), and is `undecidable` by so few rows if it does not: then it
        holds if `on_undecidable` is `pass`. A figure that there is none of (None) fails.
        """
        verdicts = [self._verdict(each) for each in references]
        values = [each[self.figure][self.histogram] for each in references]
        worst = max(
            range(len(references)),
            key=lambda place: (_VERDICTS.index(verdicts[place]), math.inf if values[place] is None else values[place]),
        )
        return {
            "condition": self.condition,
            "value": values[worst],
            "interval": None,
            "verdict": verdicts[worst],
            "holds": holds(verdicts[worst], on_undecidable),
            "reference": references[worst]["name"],
        }

    def _verdict(self, reference: dict[str, Any]) -> str:
        value = reference[self.figure][self.histogram]
        if value is None:
            return "fails"
        if _COMPARISONS[self.comparison](value, self.bound):
            return "passes"
        within = reference["psi"][self.histogram] <= reference["chance"][self.histogram]
        return "undecidable" if within else "fails"


def parse_drift_gate(condition: str) -> list[DriftGate]:
    """The gate of `psi[HISTOGRAM]<=BOUND` or `jensen_shannon[HISTOGRAM]<=BOUND`; without a histogram, one for each.

    Raises `UsageError` for anything else.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None or match["figure"] not in _FIGURES or match["histogram"] not in (None, *HISTOGRAMS):
        raise UsageError(
            f'--gate {condition!r}: write it as "psi[tokens]<=0.2", or "psi<=0.25" for all; figures are '
            f"{' and '.join(_FIGURES)}, of {', '.join(HISTOGRAMS)}, with <= or <"
        )
    figure, comparison = match["figure"], match["comparison"]
    try:
        bound = float(match["bound"])
    except ValueError:
        bound = math.nan
    largest = 1 if figure == "jensen_shannon" else math.inf
    if not 0 <= bound <= largest or math.isinf(bound):
        most = "from 0 to 1" if largest == 1 else "0 or more"
        raise UsageError(f"--gate {condition!r}: {figure} is {most}, so {match['bound']} decides nothing")
    if match["histogram"]:
        return [DriftGate(condition, figure, match["histogram"], comparison, bound)]
    of_all = ((f"{figure}[{name}]{comparison}{match['bound']}", name) for name in HISTOGRAMS)
    return [DriftGate(text, figure, name, comparison, bound) for text, name in of_all]
