"""measure/comparison.py: against pandas and scikit-learn on the rows that the cells count."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.proportion import proportion_confint

from sentiment_batch.measure.comparison import (
    comparison_headline,
    comparison_section,
    count_cells,
    gate_figures,
    labels_of_both,
    listed,
)
from sentiment_batch.measure.gates import COMPARISON, parse_gate

LABELS = ("positif", "netral", "negatif")

numbers = st.integers(-1, len(LABELS) - 1)
rows_of = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=80)


def section_of(rows: list[tuple[int, int, int]], is_labelled: bool = True) -> dict[str, Any]:
    true, old, new = np.array(rows).reshape(-1, 3).T
    return comparison_section(listed(count_cells(true, old, new, len(LABELS))), LABELS, is_labelled)


def test_labels_of_both_are_the_olds_in_their_order_and_then_the_news() -> None:
    assert labels_of_both(("b", "a"), ("c", "a", "d")) == ("b", "a", "c", "d")


@given(rows_of)
def test_cells_count_every_row_once_however_they_are_cut(rows: list[tuple[int, int, int]]) -> None:
    columns = np.array(rows).T
    whole = count_cells(*columns, len(LABELS))
    assert whole == Counter(rows)
    pieces = count_cells(*columns[:, :7], len(LABELS)) + count_cells(*columns[:, 7:], len(LABELS))
    assert pieces == whole
    assert json.loads(json.dumps(listed(whole))) == [[*row, count] for row, count in sorted(Counter(rows).items())]


@settings(max_examples=25, deadline=None)
@given(rows_of)
def test_figures_are_those_of_the_rows(rows: list[tuple[int, int, int]]) -> None:
    found, frame = section_of(rows), pd.DataFrame(rows, columns=["true", "old", "new"])
    both = frame[(frame["old"] >= 0) & (frame["new"] >= 0)]
    flipped = both["old"] != both["new"]
    assert (found["rows"], found["flips"]) == (len(both), int(flipped.sum()))
    assert found["without_label"] == {side: int((frame[side] < 0).sum()) for side in ("old", "new")}
    matrix = pd.crosstab(both["old"], both["new"]).reindex(index=range(3), columns=range(3), fill_value=0)
    assert found["matrix"] == matrix.to_numpy().tolist()
    assert found["labels"] == list(LABELS)
    for number, label in enumerate(LABELS):
        of_label, flips = both[both["old"] == number], flipped[both["old"] == number]
        by_label = found["by_label"][label]
        assert (by_label["rows"], by_label["flips"]) == (len(of_label), int(flips.sum()))
        assert by_label["flip_rate"] == (pytest.approx(flips.mean()) if len(of_label) else None)
        if len(of_label):
            ends = proportion_confint(by_label["flips"], by_label["rows"], method="wilson")
            assert by_label["interval"] == pytest.approx(ends, abs=1e-9)
    if not len(both):
        assert found["flip_rate"] is found["intervals"] is None
    else:
        assert found["flip_rate"] == pytest.approx(flipped.mean())
        ends = proportion_confint(found["flips"], found["rows"], method="wilson")
        assert found["intervals"]["flip_rate"] == pytest.approx(ends, abs=1e-9)
    known = both[both["true"] >= 0]
    quality = found["quality"]
    assert quality["rows"] == len(known)
    assert quality["rows_without_known_label"] == len(both) - len(known)
    if len(known):
        for side in ("old", "new"):
            f1 = f1_score(known["true"], known[side], labels=range(3), average="macro", zero_division=0)
            assert quality[side]["macro_f1"] == pytest.approx(f1, abs=1e-12)
            assert quality[side]["accuracy"] == pytest.approx(accuracy_score(known["true"], known[side]), abs=1e-12)
        right = [known[side] == known["true"] for side in ("old", "new")]
        assert quality["mcnemar"]["only_old_right"] == int((right[0] & ~right[1]).sum())
        assert quality["mcnemar"]["only_new_right"] == int((right[1] & ~right[0]).sum())
        assert quality["difference"]["accuracy"] == pytest.approx(right[1].mean() - right[0].mean())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_without_true_labels_there_is_no_quality() -> None:
    found = section_of([(-1, 0, 0), (-1, 0, 2)], is_labelled=False)
    assert found["quality"] is None
    assert found["matrix"] == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    figures = gate_figures(found)
    assert figures["accuracy_difference"] is figures["intervals"]["macro_f1_difference"] is None
    assert comparison_headline(found) == {
        **{"rows": 2, "flips": 1, "flip_rate": 0.5},
        **{"accuracy_difference": None, "macro_f1_difference": None, "mcnemar_p_value": None},
    }


def test_counts_beyond_32_bits_are_exact() -> None:
    many = 3_000_000_000
    found = comparison_section([[0, 0, 0, many], [0, 0, 1, 1], [1, 1, 1, many]], LABELS, True)
    assert (found["rows"], found["flips"]) == (2 * many + 1, 1)
    assert found["by_label"]["positif"]["flip_rate"] == 1 / (many + 1)
    assert found["quality"]["difference"]["accuracy"] == pytest.approx(-1 / (2 * many + 1))


def test_a_thousand_labels_take_the_memory_of_their_cells() -> None:
    """Not of 1,001 x 1,001 x 1,001."""
    true, old, new = np.random.default_rng(0).integers(-1, 1_000, (3, 5_000))
    cells = count_cells(true, old, new, 1_000)
    assert sum(cells.values()) == 5_000
    assert comparison_section(listed(cells), tuple(map(str, range(1_000))), False)["rows"] > 4_900


ROWS = [(0, 0, 0)] * 60 + [(2, 2, 2)] * 30 + [(0, 2, 0)] * 8 + [(2, 2, 0)] * 2


@pytest.mark.parametrize(
    ("condition", "value", "verdict"),
    [
        ("flip_rate<=0.2", 0.1, "passes"),
        ("flip_rate<=0.05", 0.1, "fails"),
        ("flip_rate<=0.1", 0.1, "undecidable"),
        ("flip_rate[negatif]<=0.5", 0.25, "passes"),
        ("flip_rate[negatif]<=0.3", 0.25, "undecidable"),
        ("flip_rate[positif]<=0.1", 0, "passes"),
        ("flip_rate[netral]<=0.1", None, "fails"),
        ("accuracy_difference>=-0.01", 0.06, "passes"),
        ("accuracy_difference>=0.06", 0.06, "undecidable"),
        ("accuracy_difference>0.2", 0.06, "fails"),
        ("macro_f1_difference>=-0.9", None, "passes"),
        ("rows>=100", 100, "passes"),
        ("rows>=101", 100, "fails"),
    ],
)
def test_gates(condition: str, value: float | None, verdict: str) -> None:
    outcome = parse_gate(condition, LABELS, COMPARISON).outcome(gate_figures(section_of(ROWS)))
    assert outcome["verdict"] == verdict
    if not condition.startswith("macro_f1"):
        assert outcome["value"] == (None if value is None else pytest.approx(value))
