"""known.py: what was said of a row is found again by its hash, in little memory, however many rows there are."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_batch import known
from sentiment_batch.errors import EnvironmentFailure
from sentiment_batch.known import Known, Rows, build
from sentiment_batch.model.cache import said_type
from sentiment_batch.pair_hashes import HASH

LABELS = 3


@contextmanager
def small(range_bytes: int, buffer_bytes: int) -> Iterator[None]:
    """Ranges and a buffer of that size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "_RANGE_BYTES", range_bytes)
        patch.setattr(known, "_BUFFER_BYTES", buffer_bytes)
        yield


def rows_of(hashes: list[bytes], first: int = 0) -> Rows:
    """What is said of each tells of its place."""
    said = np.empty(len(hashes), said_type(LABELS))
    said["label"] = np.arange(first, first + len(hashes))
    said["probabilities"] = said["label"][:, None] + np.arange(LABELS) / 4
    return Rows(whole(hashes), said)


def random_hashes(count: int, seed: int = 0) -> list[bytes]:
    return [each.tobytes() for each in np.random.default_rng(seed).integers(0, 256, (count, HASH.itemsize), np.uint8)]


def whole(hashes: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(hashes), HASH)


some_hashes = st.lists(
    st.sampled_from([bytes([head, *[0] * 14, tail]) for head in (0, 1, 127, 128, 255) for tail in (0, 1, 255)]),
    max_size=25,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(some_hashes, max_size=4), asked=some_hashes, range_bytes=st.sampled_from([40, 300, 10**6]))
def test_of_equal_hashes_the_first_is_found_and_of_others_none(
    pieces: list[list[bytes]], asked: list[bytes], range_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    total = sum(map(len, pieces))
    firsts: dict[bytes, int] = {}
    batches, place = [], 0
    for piece in pieces:
        for number, each in enumerate(piece):
            firsts.setdefault(each, place + number)
        batches.append(rows_of(piece, place))
        place += len(piece)
    with small(range_bytes, 400):
        index = build(tmp_path_factory.mktemp("known"), iter(batches), total, LABELS)
        places, said = index.find(whole(asked))
    assert places.tolist() == [place for place, each in enumerate(asked) if each in firsts]
    assert said["label"].tolist() == [firsts[asked[place]] for place in places]
    assert (said["probabilities"] == said["label"][:, None] + np.arange(LABELS) / 4).all()


def test_many_rows_in_many_ranges(tmp_path: Path) -> None:
    hashes = random_hashes(20_000)
    with small(16_384, 50_000):
        pieces = (rows_of(hashes[first : first + 700], first) for first in range(0, len(hashes), 700))
        index = build(tmp_path, pieces, len(hashes), LABELS)
    assert len(list(tmp_path.iterdir())) == 2**index.bits > 16
    asked = [*random_hashes(500, seed=1), *hashes[5_000:9_000], *random_hashes(500, seed=2)]
    places, said = index.find(whole(asked))
    assert places.tolist() == list(range(500, 4_500))
    assert said["label"].tolist() == list(range(5_000, 9_000))
    rows = sum(path.stat().st_size for path in tmp_path.iterdir()) / (20 + 4 * LABELS)
    assert rows == len(hashes), "as the docstring says"


def test_an_index_of_nothing(tmp_path: Path) -> None:
    index = build(tmp_path, iter(()), 0, LABELS)
    places, said = index.find(whole(random_hashes(3)))
    assert (len(places), len(said)) == (0, 0)
    assert len(Known(tmp_path, LABELS, 0).find(whole([]))[0]) == 0


def test_a_full_disk_is_said_with_what_it_would_take(tmp_path: Path) -> None:
    hashes = random_hashes(5_000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        with pytest.raises(EnvironmentFailure, match="160000 bytes were to be written"):
            build(tmp_path, iter([rows_of(hashes)]), len(hashes), LABELS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


PEAK = """
import resource, sys, tempfile
from pathlib import Path
import numpy as np
from sentiment_batch import known
from sentiment_batch.model.cache import said_type
from sentiment_batch.pair_hashes import HASH

known._RANGE_BYTES, known._BUFFER_BYTES = 2**20, 2**21
rows, at_once = int(sys.argv[1]), 20_000

def hashes(number):
    return np.random.default_rng(number).bytes(at_once * 16)

def batches():
    for number in range(rows // at_once):
        yield known.Rows(np.frombuffer(hashes(number), HASH), np.zeros(at_once, said_type(3)))

index = known.build(Path(sys.argv[2]), batches(), rows, 3)
for number in range(0, rows // at_once, rows // at_once // 10):
    assert len(index.find(np.frombuffer(hashes(number), HASH))[0]) == at_once
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (200_000, 2_000_000):
        (tmp_path / str(rows)).mkdir()
        command = [sys.executable, "-c", PEAK, str(rows), str(tmp_path / str(rows))]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert (peaks[1] - peaks[0]) / 2**10 < 12, "MiB; the index grows by 58"
