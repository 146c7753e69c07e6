"""measure/slices.py: every slice against scikit-learn on its rows."""

import json
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from sentiment_batch.measure.counts import add
from sentiment_batch.measure.slices import count_slices, own_slices, slice_name, slices_section

LABELS = ("positif", "netral", "negatif")
ROWS = 900


def test_slices_are_scikit_learns_on_their_rows() -> None:
    chance = np.random.default_rng(0)
    true = chance.integers(0, 3, ROWS)
    guess = np.where(chance.random(ROWS) < 0.7, true, chance.integers(0, 3, ROWS))
    countries = chance.choice(["id", "my", "", "x" * 200, "<b>", "(none)"], ROWS)
    lengths, cut = chance.integers(2, 513, ROWS), chance.random(ROWS) < 0.1
    true[countries == "my"] %= 2  # never negative
    guess[countries == "my"] %= 2
    own = dict(zip(("n_tokens", "truncated"), own_slices(lengths, cut), strict=True))
    values = {**own, "country": countries.tolist()}
    parts = [
        count_slices({name: of[part] for name, of in values.items()}, true[part], guess[part], 3)
        for part in (slice(0, 100), slice(100, None))
    ]
    section = slices_section(add(*parts), LABELS)
    assert slices_section(count_slices(values, true, guess, 3), LABELS) == section
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    for each in section:
        rows = np.array([value == each["value"] for value in values[each["column"]]])
        assert each["rows"] == rows.sum() > 0
        assert np.isclose(each["accuracy"], accuracy_score(true[rows], guess[rows]))
        assert np.isclose(each["macro_f1"], f1_score(true[rows], guess[rows], average="macro"))
        for name in ("accuracy", "macro_f1"):
            low, high = each["intervals"][name]
            assert 0 <= low <= each[name] <= high <= 1
    order = [(each["column"], each["value"]) for each in section]
    lengths_in_order = ["1 to 7", "8 to 15", "16 to 31", "32 to 63", "64 to 127", "128 to 255", "256 up"]
    assert order[:9] == [*(("n_tokens", name) for name in lengths_in_order), ("truncated", "no"), ("truncated", "yes")]
    assert {value for _, value in order[9:]} == set(countries)


def test_lengths_are_told_by_their_edges() -> None:
    lengths, cut = own_slices(np.array([1, 7, 8, 255, 256, 9_999]), np.array([True] + [False] * 5))
    assert lengths == ["1 to 7", "1 to 7", "8 to 15", "128 to 255", "256 up", "256 up"]
    assert cut == ["yes", *["no"] * 5]


def test_no_rows_are_no_slice() -> None:
    none: Any = np.zeros(0, np.int64)
    assert slices_section(count_slices({"country": []}, none, none, 3), LABELS) == []


def test_a_value_that_is_missing_has_a_slice_of_its_own() -> None:
    assert [slice_name(value) for value in (None, "", "None")] == ["(none)", "", "None"]


def test_a_long_value_takes_no_more_memory_than_itself() -> None:
    rows = 32_768
    values = ["x" * 50_000, *["id"] * (rows - 2), "id\0"]
    ones = np.ones(rows, np.int64)
    found = count_slices({"country": values}, ones, ones, 3)["country"]
    assert {name: sum(cells.values()) for name, cells in found.items()} == {"x" * 50_000: 1, "id": rows - 2, "id\0": 1}
