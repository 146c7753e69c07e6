"""measure/label_order.py: swapped labels are caught, models that are merely bad are not accused."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.measure.label_order import label_order_section

LABELS = ("positive", "neutral", "negative")
GOOD = np.array([[350, 20, 30], [15, 60, 25], [20, 10, 370]])


@pytest.mark.parametrize("order", list(permutations(range(3)))[1:], ids=str)
def test_every_other_order_of_a_good_model_is_caught(order: tuple[int, ...]) -> None:
    """The column of each label has what another one of the model's should have."""
    found = label_order_section(GOOD[:, order].tolist(), LABELS)
    assert found["suspicious"]
    assert found["reading"] == {LABELS[place]: LABELS[meaning] for place, meaning in enumerate(order)}
    assert found["accuracy"] == pytest.approx(np.trace(GOOD) / GOOD.sum())


@pytest.mark.parametrize(
    "matrix",
    [
        GOOD,
        [[0, 400, 0], [0, 100, 0], [0, 400, 0]],  # says the same of everything
        [[400, 0, 0], [100, 0, 0], [400, 0, 0]],
        [[130, 140, 130], [33, 33, 34], [140, 130, 130]],  # guesses
        [[0, 4, 0], [0, 0, 3], [3, 0, 0]],  # ten rows
        [[300, 10, 90], [90, 5, 5], [60, 10, 330]],  # does not know one of them
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 50, 0], [0, 0, 50]],  # has no rows of one
    ],
    ids=str,
)
def test_a_model_that_is_good_or_merely_bad_is_not_accused(matrix: Any) -> None:
    found = label_order_section(np.array(matrix).tolist(), LABELS)
    assert found == {"suspicious": False, "reading": None, "accuracy": None}


def test_labels_that_the_split_lacks_keep_their_names() -> None:
    matrix = np.zeros((5, 5), int)
    matrix[0, 3], matrix[3, 0], matrix[1, 1] = 80, 70, 90
    found = label_order_section(matrix.tolist(), tuple("abcde"))
    assert found["reading"] == {"a": "d", "d": "a", "b": "b", "c": "c", "e": "e"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.05, 1), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_a_model_that_guesses_is_hardly_ever_accused(shares: list[float], seed: int) -> None:
    chance = np.random.default_rng(seed)
    true = chance.choice(3, 1_000, p=np.array(shares) / sum(shares))
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (true, chance.integers(0, 3, 1_000)), 1)
    assert not label_order_section(matrix.tolist(), LABELS)["suspicious"]


def test_a_hundred_labels_take_no_time() -> None:
    order = np.roll(np.arange(100), 1)
    matrix = 20 * np.eye(100, dtype=int)[:, order] + 1
    found = label_order_section(matrix.tolist(), tuple(map(str, range(100))))
    assert found["suspicious"] is False, "most rows of a label are not the other's"
    assert label_order_section((200 * matrix).tolist(), tuple(map(str, range(100))))["suspicious"] is False
    sure = label_order_section((300 * np.eye(100, dtype=int)[:, order]).tolist(), tuple(map(str, range(100))))
    assert sure["suspicious"]
    assert sure["accuracy"] == 1
