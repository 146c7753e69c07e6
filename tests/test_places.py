"""Places: one in each stretch, by size, always the same ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.read.places import places


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=8), st.integers(0, 50), st.integers(0, 3))
def test_each_stretch_of_the_whole_has_one(sizes: list[int], count: int, seed: int) -> None:
    found = places(sizes, count, seed)
    total = sum(sizes)
    assert len(found) == min(count, total)
    assert all(0 <= offset < sizes[piece] for piece, offset in found)
    for number, (piece, offset) in enumerate(found):
        at = sum(sizes[:piece]) + offset
        assert total * number // count <= at < max(total * number // count + 1, total * (number + 1) // count)
    assert places(sizes, count, seed) == found


def test_a_piece_gets_as_many_as_its_share() -> None:
    pieces = [piece for piece, _ in places([100, 0, 300], 40)]
    assert [pieces.count(piece) for piece in range(3)] == [10, 0, 30]


def test_they_are_by_chance() -> None:
    assert len({tuple(places([1000], 10, seed)) for seed in range(20)}) == 20
    offsets = [places([1000], 1, seed)[0].offset for seed in range(400)]
    assert sum(offsets) / len(offsets) == pytest.approx(500, abs=60)
