"""Where to look into many files, so that what is found there is like all of it, however they are sorted."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple


class Place(NamedTuple):
    """A place in one of several pieces: `offset` rows or bytes behind its beginning."""

    piece: int
    offset: int


def places(sizes: Sequence[int], count: int, seed: int = 0) -> list[Place]:
    """A place by chance in each of `count` equal stretches of all pieces together, in order, and always the same ones.

    So a piece gets as many as its share of the whole, and a dump that is sorted by length is met at every length.
    There is none in pieces without a size.
    """
    ends = list(accumulate(sizes))
    total = ends[-1] if ends else 0
    chance = random.Random(seed)  # noqa: S311 - no secret
    found = []
    for number in range(min(count, total)):
        first, last = total * number // count, max(total * number // count + 1, total * (number + 1) // count)
        at = chance.randrange(first, last)
        piece = bisect_right(ends, at)
        found.append(Place(piece, at - (ends[piece] - sizes[piece])))
    return found
