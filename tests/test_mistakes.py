"""measure/mistakes.py: against a sort of all rows, however they come."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.measure.mistakes import MISTAKES, Mistake, mistakes_of, most_confident

LABELS = ("a", "b", "c")
some_rows = st.lists(
    st.tuples(st.integers(-1, 2), st.integers(-1, 2), st.sampled_from([0.4, 0.5, 0.75, 0.99])), max_size=150
)


@settings(max_examples=60, deadline=None)
@given(some_rows, st.integers(1, 60))
def test_the_most_confident_come_first_and_of_equal_ones_the_earlier_row(
    rows: list[tuple[int, int, float]], batch: int
) -> None:
    found: list[Mistake] = []
    for first in range(0, len(rows), batch):
        true, guess, confidence = map(np.array, zip(*rows[first : first + batch], strict=True))
        found = most_confident(found, mistakes_of(first, true, guess, confidence, LABELS))
    wrong = [
        {"row": row, "true": LABELS[true], "predicted": LABELS[guess], "confidence": confidence}
        for row, (true, guess, confidence) in enumerate(rows)
        if min(true, guess) >= 0 and true != guess
    ]
    assert found == sorted(wrong, key=lambda each: (-each["confidence"], each["row"]))[:MISTAKES]
