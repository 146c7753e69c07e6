"""Estimates: the truth is between their ends as often as they say."""

import math

import numpy as np
import pytest

from sentiment_batch.measure.estimate import Estimate, exactly, of_pieces, ratio, students_t


@pytest.mark.parametrize(("clusters", "least"), [(8, 0.9), (64, 0.92)])
def test_the_ratio_of_clusters_of_different_sizes_is_where_it_says(clusters: int, least: float) -> None:
    chance = np.random.default_rng(3)
    sizes = chance.integers(5, 60, 5_000)
    sums = sizes * chance.gamma(4, 5, 5_000)
    truth = sums.sum() / sizes.sum()
    held = 0
    for _ in range(400):
        drawn = chance.integers(0, 5_000, clusters)
        found = ratio(sums[drawn].tolist(), sizes[drawn].tolist())
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert least <= held / 400 <= 0.99, "neither too narrow nor too wide to say anything"


def test_what_was_not_drawn_is_sure() -> None:
    assert ratio([1, 2], [2, 4], drawn=False) == exactly(0.5)
    assert ratio([], []) == ratio([0.0], [0.0]) == exactly(0.0)


def test_of_one_cluster_nobody_knows() -> None:
    assert ratio([3], [2]) == Estimate(1.5, 0.0, math.inf)


@pytest.mark.parametrize(
    ("freedom", "true"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (15, 2.131), (63, 1.998)]
)
def test_the_quantiles_are_those_of_the_tables(freedom: int, true: float) -> None:
    assert students_t(freedom) == pytest.approx(true, rel=0.02)


def test_the_ends_of_a_pace_are_its_pieces() -> None:
    assert of_pieces([10, 30], [1, 2]) == Estimate(40 / 3, 10, 15)


def test_the_ends_of_a_product_are_the_products_of_the_ends() -> None:
    assert Estimate(2, 1, 3).times(Estimate(5, 4, math.inf)) == Estimate(10, 4, math.inf)
